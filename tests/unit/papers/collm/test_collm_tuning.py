"""What each step tunes, and that it goes on after an interruption."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.collm import colour_data, tiny_collm, write_reader
from torch import Tensor

from models.papers.collm.config import CoLLMConfig, Tuning
from models.papers.collm.model import CoLLM
from models.papers.collm.tuning import TUNED, Inputs, feature_model, pretrain, text_model, tune

DATA = colour_data()
MOVES: dict[Tuning, set[str]] = {
    "mapping": {"mapping"},
    "T1": {"mapping", "cf"},
    "T2": {"mapping", "cf"},
    "T3": {"mapping", "lora"},
    "UI-token": {"tokens"},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CoLLMConfig:
    return tiny_collm(write_reader(tmp_path_factory.mktemp("reader")))


@pytest.fixture(scope="module")
def steps(config: CoLLMConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("steps")
    pretrain(config, DATA, directory / "cf")
    inputs = Inputs.read(config, DATA)
    tune(config, inputs, text_model(config, inputs), directory / "text", print)
    return directory


def test_the_first_step_moves_the_adapter_alone(config: CoLLMConfig, tmp_path: Path) -> None:
    inputs = Inputs.read(config, DATA)
    model = text_model(config, inputs)
    before = _copied(model)
    tune(config, inputs, model, tmp_path, print)
    assert _moved(before, model) == {"lora"}


@pytest.mark.parametrize("tuning", list(MOVES))
def test_the_second_step_moves_what_its_variant_says(
    tuning: Tuning, config: CoLLMConfig, steps: Path, tmp_path: Path
) -> None:
    config = replace(config, tuning=tuning)
    inputs = Inputs.read(config, DATA)
    model = feature_model(config, inputs, steps / "cf", steps / "text")
    before = _copied(model)
    tune(config, inputs, model, tmp_path, print)
    assert _moved(before, model) == MOVES[tuning]


def test_the_second_step_begins_with_the_first_ones_adapter(config: CoLLMConfig, steps: Path) -> None:
    inputs = Inputs.read(config, DATA)
    text = _copied(text_model(config, inputs, steps / "text"))
    for tuning, same in (("mapping", True), ("T3", False)):
        chosen = replace(config, tuning=tuning)
        model = _copied(feature_model(chosen, inputs, steps / "cf", steps / "text"))
        lora = [name for name in text if "lora_B" in name]
        assert all(torch.equal(text[name], model[name]) for name in lora) is same


@pytest.mark.parametrize("tuning", ["T1", "T2"])
def test_the_collaborative_model_is_pretrained_or_new(tuning: Tuning, config: CoLLMConfig, steps: Path) -> None:
    inputs = Inputs.read(config, DATA)
    pretrained = _copied(feature_model(config, inputs, steps / "cf", None))
    model = _copied(feature_model(replace(config, tuning=tuning), inputs, steps / "cf", None))
    assert torch.equal(pretrained["features.cf.users.weight"], model["features.cf.users.weight"]) is (tuning == "T1")


def test_an_interrupted_step_ends_like_one_that_was_not(config: CoLLMConfig, tmp_path: Path) -> None:
    inputs = Inputs.read(config, DATA)
    whole = text_model(config, inputs)
    tune(config, inputs, whole, tmp_path / "whole", print)

    def interrupt(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(config, inputs, text_model(config, inputs), tmp_path / "cut", interrupt)
    resumed = text_model(config, inputs)
    tune(config, inputs, resumed, tmp_path / "cut", print)
    assert not _differing(_copied(whole), resumed)
    assert (tmp_path / "cut" / TUNED).read_bytes() == (tmp_path / "whole" / TUNED).read_bytes()


def test_a_step_that_was_stopped_before_its_result_was_written_is_not_done_again(
    config: CoLLMConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs.read(config, DATA)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.papers.collm.tuning._keep", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(config, inputs, text_model(config, inputs), tmp_path, print)
    said: list[str] = []
    tune(config, inputs, text_model(config, inputs), tmp_path, said.append)
    assert not said
    assert {path.name for path in tmp_path.iterdir()} == {TUNED, "state.json"}


def test_a_finished_step_is_read_not_done_again(config: CoLLMConfig, steps: Path) -> None:
    inputs = Inputs.read(config, DATA)
    said: list[str] = []
    model = text_model(config, inputs)
    state = tune(config, inputs, model, steps / "text", said.append)
    assert not said
    assert state.epoch == 2
    assert not _differing(_copied(text_model(config, inputs, steps / "text")), model)


def test_what_is_frozen_drops_nothing_out(config: CoLLMConfig, steps: Path) -> None:
    inputs = Inputs.read(config, DATA)
    text = text_model(config, inputs).train()
    assert any(module.training for module in text.modules() if isinstance(module, torch.nn.Dropout))
    mapped = feature_model(config, inputs, steps / "cf", steps / "text").train()
    assert not mapped.language_model.training
    assert not any(module.training for module in mapped.modules() if isinstance(module, torch.nn.Dropout))
    assert mapped.features.mapping.training


def _copied(model: CoLLM) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _differing(before: dict[str, Tensor], model: CoLLM) -> set[str]:
    return {name for name, value in _copied(model).items() if not torch.equal(before[name], value)}


def _moved(before: dict[str, Tensor], model: CoLLM) -> set[str]:
    """Kinds of parameters that differ; each kind's parameters moved all, or the kind is named "some of" it."""
    differing = _differing(before, model)
    kinds: dict[str, set[str]] = {}
    for name in before:
        kinds.setdefault(_kind(name), set()).add(name)
    return {kind if names <= differing else f"some of {kind}" for kind, names in kinds.items() if names & differing}


def _kind(name: str) -> str:
    if "lora_" in name:
        return "lora"
    if name.startswith("features.mapping."):
        return "mapping"
    if name.startswith("features.cf."):
        return "cf"
    return "tokens" if name.startswith("features.") and "scales" not in name else "frozen"
