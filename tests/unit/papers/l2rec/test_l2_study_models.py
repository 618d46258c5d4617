"""What a study tells of its language models; see ``conftest``."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from l2rec.conftest import TrainedL2Rec
from support.l2rec import USER_SIZE

from models.papers.l2rec.scoring import L2RecScorer
from models.papers.l2rec.study_config import single_pathway
from models.papers.l2rec.study_models import routing_of, unadapted_model
from models.papers.l2rec.training import new_reader


def test_the_unadapted_model_is_what_training_begins_with(trained: TrainedL2Rec) -> None:
    score, facts = unadapted_model(trained.config, trained.data)
    examples = trained.data.dataset.examples("test")
    reader = new_reader(trained.config, trained.data.dataset.catalogue.items, USER_SIZE)
    untrained = L2RecScorer(reader, reader.item_rows(), trained.data.cf)
    np.testing.assert_allclose(score(examples), untrained.scores(examples.histories), atol=0.02)
    assert not np.allclose(score(examples), trained.model.scores(examples.histories), atol=0.02)
    assert (facts.parameters, facts.routing) == (0, ())


def test_routers_are_judged_by_every_view(trained: TrainedL2Rec) -> None:
    histories = trained.data.dataset.examples("valid").histories
    found = {routing.view: routing for routing in routing_of(trained.model.scorer, histories)}
    assert set(found) == {"semantic", "behavioural"}
    for routing in found.values():
        assert sum(routing.utilisation) == pytest.approx(1)
        assert 0 < routing.token_entropy <= 1


def test_experts_that_never_fire_are_named(trained: TrainedL2Rec) -> None:
    config = replace(trained.config, top_k=1, personal=False)
    reader = new_reader(config, trained.data.dataset.catalogue.items, USER_SIZE)
    with torch.no_grad():
        for block in reader.network.blocks:  # all scores equal: the first expert is always among the best
            torch.nn.init.zeros_(block.routers["semantic"].context_out.weight)
    scorer = L2RecScorer(reader, reader.item_rows(), trained.data.cf)
    histories = trained.data.dataset.examples("valid").histories
    semantic = next(found for found in routing_of(scorer, histories) if found.view == "semantic")
    assert sorted(semantic.utilisation) == [0, 0, 1]
    assert semantic.load_entropy == pytest.approx(0)
    assert semantic.token_entropy == pytest.approx(1)
    assert len(semantic.silent) == 2 * len(reader.network.blocks)
    assert all(name.startswith("block ") for name in semantic.silent)


def test_one_plain_lora_has_no_router_and_adapts_with_as_many_numbers(trained: TrainedL2Rec) -> None:
    items = trained.data.dataset.catalogue.items
    whole, single = (new_reader(c, items, USER_SIZE) for c in (trained.config, single_pathway(trained.config)))
    experts = [
        sum(p.numel() for name, p in reader.network.named_parameters() if name.rsplit(".", 1)[-1] in ("a", "b"))
        for reader in (whole, single)
    ]
    assert experts[0] == experts[1]
    scorer = L2RecScorer(single, single.item_rows(), trained.data.cf)
    assert routing_of(scorer, trained.data.dataset.examples("valid").histories) == ()
