"""L2Rec learns the walks, where the next item follows from the last one alone; see ``support.backbones``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from l2rec.conftest import TrainedL2Rec
from support.backbones import write_backbone
from support.l2rec import USER_SIZE, random_cf, silent

from models.contract.cf import CFModel
from models.contract.errors import ConfigError, DataError
from models.data.splits import VALID
from models.evaluation.metrics import mean_ndcg
from models.llm.training import TARGETS
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.scoring import Reader
from models.papers.l2rec.task import L2RecTask
from models.papers.l2rec.training import begin_with, fit_l2rec, new_reader, read_description, train_l2rec
from models.types import by_history


def reader_of(trained: TrainedL2Rec, **changed: Any) -> Reader:
    """An untrained one."""
    torch.manual_seed(1)
    config = replace(trained.config, **changed)
    return new_reader(config, trained.data.dataset.catalogue.items, USER_SIZE)


def task_of(trained: TrainedL2Rec, data: L2RecData | None = None, **changed: Any) -> L2RecTask:
    return L2RecTask(replace(trained.config, **changed), reader_of(trained), data or trained.data)


def test_the_walks_are_learned(trained: TrainedL2Rec) -> None:
    test = trained.data.dataset.examples("test")
    untrained = task_of(trained, valid_cutoff=10).validate()
    assert trained.model.state.best > max(0.8, untrained)
    assert mean_ndcg(by_history(trained.model), test, 10) > 0.8
    assert read_description(trained.directory).valid_ndcg == trained.model.state.best


def test_all_that_is_trained_moves_and_the_backbone_does_not(trained: TrainedL2Rec) -> None:
    torch.manual_seed(trained.config.seed)
    before = new_reader(trained.config, trained.data.dataset.catalogue.items, USER_SIZE).network
    after = trained.model.scorer.reader.network
    still = [name for name, p in before.named_parameters() if torch.equal(p, after.get_parameter(name))]
    assert still == []
    for name, parameter in before.decoder.named_parameters():
        assert torch.equal(parameter, after.decoder.get_parameter(name)), name


def test_a_batch_shows_what_came_before_the_targets_and_its_user_alone(trained: TrainedL2Rec) -> None:
    batch = task_of(trained).batches(0)[0]
    titles, train = reader_of(trained).prompts, trained.data.dataset.train
    items = batch["items"][batch[TARGETS]].tolist()
    for row, (user, target) in enumerate(zip(batch["owners"].tolist(), items, strict=True)):
        sequence = train[user].tolist()
        shown = sequence[: sequence.index(target)]
        assert batch["tokens"][row, : batch["lengths"][row]].tolist() == titles.prompt(shown)
        expected = trained.data.cf.fold_in(np.asarray(shown)).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(batch["users"][row].numpy(), expected)
        assert {i for i in batch["own"][row].tolist() if i >= 0} == set(sequence)


def test_each_item_of_a_batch_is_read_once_of_nobody(trained: TrainedL2Rec) -> None:
    prompts = reader_of(trained).prompts
    for batch in task_of(trained, negatives=10).batches(0):
        items = batch["items"].tolist()
        assert items == sorted(set(items))
        assert len(batch["tokens"]) == trained.config.batch_size
        for row, item in enumerate(items):
            assert batch["item_tokens"][row, : batch["item_lengths"][row]].tolist() == prompts.prompt([item])
        assert batch["nobody"].shape == (len(items), USER_SIZE)
        assert not batch["nobody"].any()


def test_batches_do_not_depend_on_where_a_call_begins(trained: TrainedL2Rec) -> None:
    whole = task_of(trained, steps=30, evaluate_every=30).batches(0)
    parts = task_of(trained, steps=30, evaluate_every=7)
    pieces = [batch for epoch in range(5) for batch in parts.batches(epoch)]
    assert len(whole) == len(pieces) == 30
    for one, other in zip(whole, pieces, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(whole[0]["items"], whole[-1]["items"])


@pytest.mark.parametrize("without", ["bpc_weight", "balance_weight"])
def test_each_loss_counts(trained: TrainedL2Rec, without: str) -> None:
    batch = task_of(trained).batches(0)[0]
    weighed = [task_of(trained, **{without: weight}).loss(batch).item() for weight in (0.0, 1.0, 2.0)]
    assert weighed[1] - weighed[0] > 0.05
    assert weighed[2] - weighed[1] == pytest.approx(weighed[1] - weighed[0], rel=1e-3)


def test_the_untrained_network_answers_like_the_backbone(trained: TrainedL2Rec) -> None:
    reader = replace(reader_of(trained), exact=True)
    np.testing.assert_allclose(reader.item_rows(), reader.base_item_rows(), atol=1e-5)


def test_one_view_alone_is_trained(trained: TrainedL2Rec, tmp_path: Path) -> None:
    config = replace(trained.config, views=("behavioural",), steps=2, evaluate_every=2)
    network = fit_l2rec(config, trained.data, tmp_path, silent).scorer.reader.network
    assert network.config.views == ("behavioural",)


def test_an_interrupted_training_ends_where_another_one_does(trained: TrainedL2Rec, tmp_path: Path) -> None:
    config = replace(trained.config, steps=4, evaluate_every=2, valid_cutoff=0)

    def interrupt(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = fit_l2rec(config, trained.data, tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        fit_l2rec(config, trained.data, tmp_path / "broken", interrupt)
    resumed = fit_l2rec(config, trained.data, tmp_path / "broken", silent)
    assert resumed.state == whole.state
    np.testing.assert_array_equal(resumed.scorer.item_rows, whole.scorer.item_rows)


def test_only_the_files_of_the_result_are_left(trained: TrainedL2Rec, tmp_path: Path) -> None:
    config = replace(trained.config, steps=1, evaluate_every=1)
    train_l2rec(config, trained.data, tmp_path, silent)
    assert {path.name for path in tmp_path.iterdir()} == {
        "cf.safetensors",
        "experts.json",
        "experts.safetensors",
        "l2rec.json",
        "title_tokens.safetensors",
    }


@pytest.mark.parametrize("same_users", [True, False])
def test_a_second_phase_begins_with_the_first_ones_weights(trained: TrainedL2Rec, same_users: bool) -> None:
    network = reader_of(trained).network
    untrained = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    cf: CFModel = trained.data.cf if same_users else random_cf(20, seed=1)

    begin_with(network, cf, trained.directory)

    first = trained.model.scorer.reader.network.state_dict()
    other = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, first[name])}
    of_users = {name for name in first if name.endswith(("user_in.weight", "both_in.weight"))}
    assert other == (set() if same_users else of_users)
    if not same_users:
        name = next(name for name in of_users if name.endswith("both_in.weight"))
        now = network.state_dict()[name]
        assert torch.equal(now[:, :-USER_SIZE], first[name][:, :-USER_SIZE])
        assert torch.equal(now[:, -USER_SIZE:], untrained[name][:, -USER_SIZE:])


def test_a_second_phase_is_trained_from_there(trained: TrainedL2Rec, tmp_path: Path) -> None:
    config: L2RecConfig = replace(trained.config, initial=str(trained.directory), steps=1, evaluate_every=1)
    lines: list[str] = []
    fit_l2rec(config, trained.data, tmp_path, lines.append)
    assert float(lines[0].split()[-1]) == pytest.approx(trained.model.state.best, abs=0.02)
    assert read_description(tmp_path).initial == str(trained.directory)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lora_rank": 2}, "initial: .* is a network of .*expected"),
        ({"layers": 1}, "initial: .*"),
        ({"backbone": "other"}, "initial: .* was trained on .*; expected the same backbone"),
    ],
)
def test_another_network_does_not_begin_with_it(
    trained: TrainedL2Rec, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    if "backbone" in changed:
        changed = {"backbone": str(write_other(tmp_path))}
    with pytest.raises(ConfigError, match=message):
        begin_with(reader_of(trained, **changed).network, trained.data.cf, trained.directory)


def write_other(directory: Path) -> Path:
    """The same backbone, trained a little differently."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(write_backbone(directory))
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.mul_(1.01)
    model.save_pretrained(directory)
    return directory


def test_where_there_is_no_training_none_is_begun_with(trained: TrainedL2Rec, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"initial: .*no L2Rec that is trained"):
        begin_with(reader_of(trained).network, trained.data.cf, tmp_path)


def test_users_of_one_item_are_nothing_to_train_on(trained: TrainedL2Rec) -> None:
    dataset = trained.data.dataset
    first = np.isin(np.arange(len(dataset.labels)), dataset.full.offsets[:-1])
    short = replace(dataset, labels=np.where(first, dataset.labels, VALID).astype(np.int8))
    with pytest.raises(DataError, match="no user has two items in the train part"):
        task_of(trained, replace(trained.data, dataset=short))
