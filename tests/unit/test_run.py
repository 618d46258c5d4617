"""A run's settings: from TOML or from what the run directory remembers."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.cf.multvae import MultVAEConfig
from models.contract.errors import ConfigError
from models.papers.collm.config import CoLLMConfig
from models.papers.hatllm.config import HatLLMConfig
from models.run import SETTINGS, RunConfig, load_config, load_run, make_run, save_run, with_flags

TOML = """
name = "ml-100k"

[data]
source = "movielens-csv"
interactions = "ratings.csv"
min_rating = 4

[cf]
epochs = 5

[ease]
regs = [10, 20.5]
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A TOML file with some keys of some sections."""
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    return path


def test_sections_of_a_file(config_file: Path) -> None:
    config = load_config(config_file)

    assert config.name == "ml-100k"
    assert (config.data.source, config.data.min_rating) == ("movielens-csv", 4.0)
    assert config.cf == MultVAEConfig(epochs=5)
    assert config.ease.regs == (10.0, 20.5)
    assert config.sasrec == RunConfig("x").sasrec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name: ''; expected up to 40 of a-z"),
        ("name = 3", "name: 3; expected up to 40 of a-z"),
        ('name = "Demo"', "name: 'Demo'; expected up to 40 of a-z"),
        ('name = "../x"', "name: '../x'; expected up to 40 of a-z"),
        ('name = "a"\n[cfs]', "cfs: unknown section; expected name, task, data, cf, communities"),
        ('name = "a"\ncf = 3', "cf: 3; expected a section of keys and values"),
        ('name = "a"\n[cf]\nepochs = 0', "cf.epochs: 0 is out of range; expected at least 1"),
        ('name = "a"\n[cf]\nepoch = 1', "cf.epoch: unknown key"),
        ('name = "a"\n[cf]\nepochs = 2020-01-01', "cf.epochs: "),
        ("name = ", "run.toml: Invalid value"),
        ('name = "\udcff"', "run.toml: "),
    ],
)
def test_a_file_that_cannot_be_used(config_file: Path, text: str, message: str) -> None:
    config_file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(config_file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("sasrec_text", {"heads": 3}, "sasrec_text.heads: 3; expected a divisor of embedding_size, 128"),
        ("ease", {"regs": []}, "ease.regs: (); expected one or more numbers above 0"),
        ("ease", {"regs": [10, 0]}, "ease.regs: (10.0, 0.0); expected one or more numbers above 0"),
        ("communities", {"max_candidates": 9}, "communities.n_communities: 10 is out of range; expected at most max_"),
        (
            "local",
            {"lora_targets": ["q_proj", "lm_head"]},
            "local.lora_targets: ('q_proj', 'lm_head'); expected one or",
        ),
        ("local", {"lora_targets": ""}, "local.lora_targets: ('',); expected one or more of q_proj, k_proj"),
        ("local", {"lora_targets": []}, "local.lora_targets: (); expected one or more of q_proj, k_proj"),
        (
            "local",
            {"top_layers": 2, "adapted_layers": 3},
            "local.adapted_layers: 3 is out of range; expected at most top_layers, 2",
        ),
        ("data", {"split": "time", "test_from": 0.8}, "data.valid_from: 0.8; expected less than test_from, 0.8"),
    ],
)
def test_values_of_a_section_that_do_not_go_together(section: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_run({"name": "a", section: values}, "test")


def test_the_bounds_of_a_split_by_time_matter_to_it_alone() -> None:
    assert make_run({"name": "a", "data": {"valid_from": 0.9, "test_from": 0.8}}, "test").data.valid_from == 0.9


class TestTask:
    def test_is_sequential_unless_told_otherwise(self) -> None:
        assert make_run({"name": "a"}, "test").task == "sequential"
        assert make_run({"name": "a", "task": "top-n"}, "test").task == "top-n"

    @pytest.mark.parametrize("task", ["topn", "", 3, ["top-n"]])
    def test_an_unknown_one_is_named(self, task: object) -> None:
        with pytest.raises(ConfigError, match=re.escape(f"task: {task!r}; expected one of sequential, top-n")):
            make_run({"name": "a", "task": task}, "test")

    def test_communities_of_items_need_the_top_n_task(self) -> None:
        document = {"name": "a", "communities": {"assignment": "user-item"}}

        with pytest.raises(ConfigError, match=r"communities\.assignment: 'user-item' .* task 'sequential'"):
            make_run(document, "test")

        config = make_run(document | {"task": "top-n"}, "test")
        assert config.communities.assignment == "user-item"
        with pytest.raises(ConfigError, match=r"communities\.assignment: 'user-item'"):
            dataclasses.replace(config, task="sequential")

    @pytest.mark.parametrize("other", [{"task": "top-n"}, {"local": {"form": "title", "local_start": "scratch"}}])
    def test_the_title_form_knows_sequences_and_the_global_start_only(self, other: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=r"local\.form: 'title' does not go with"):
            make_run({"name": "a", "local": {"form": "title"}} | other, "test")

    def test_a_table_in_an_adapter_has_a_rank_that_can_be_served(self) -> None:
        wide = {"embedding_size": 513}
        assert make_run({"name": "a", "local": wide}, "test").local.embedding_size == 513
        with pytest.raises(ConfigError, match=r"local\.embedding_size: 513 .* at most 512"):
            make_run({"name": "a", "local": wide | {"local_start": "scratch"}}, "test")


class TestFurtherModels:
    def test_a_run_has_none_unless_its_sections_are_there(self) -> None:
        config = make_run({"name": "a"}, "test")
        assert (config.collm, config.hatllm) == (None, None)

        config = make_run({"name": "a", "collm": {}, "hatllm": {"lora_rank": 4}}, "test")
        assert config.collm == CoLLMConfig()
        assert config.hatllm == HatLLMConfig(lora_rank=4)

    @pytest.mark.parametrize(
        ("section", "values", "message"),
        [
            ("collm", {"layer": 3}, "collm.layer: unknown key; expected one of backbone"),
            ("collm", {"lora_rank": 0}, "collm.lora_rank: 0 is out of range; expected at least 1"),
            ("collm", 3, "collm: 3; expected a section of keys and values"),
            ("hatllm", {"intra_layers": "many"}, "hatllm.intra_layers: 'many'"),
            ("hatllm", {"order": ["IN", "IN", "CR"]}, "hatllm.order: IN, IN, CR; expected IN, OR, CR, each once"),
        ],
    )
    def test_a_section_that_cannot_be_used(self, section: str, values: object, message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            make_run({"name": "a", section: values}, "test")

    @pytest.mark.parametrize("part", ["hatllm", "l2rec"])
    def test_some_models_read_sequences(self, part: str) -> None:
        with pytest.raises(ConfigError, match=f"{part}: does not go with task 'top-n'; expected 'sequential'"):
            make_run({"name": "a", "task": "top-n", part: {}}, "test")

    def test_flags_begin_a_section_and_change_it_afterwards(self) -> None:
        begun = with_flags(RunConfig("a"), "collm", {"lora_rank": "4"})
        assert begun.collm == CoLLMConfig(lora_rank=4)
        assert with_flags(begun, "collm", {"seed": "3"}).collm == CoLLMConfig(lora_rank=4, seed=3)
        assert begun.hatllm is None

    def test_a_run_from_before_there_were_such_models_is_read(self, tmp_path: Path) -> None:
        save_run(tmp_path, RunConfig("a"))
        document = json.loads((tmp_path / SETTINGS).read_text())
        assert document.pop("collm") is document.pop("hatllm") is None
        (tmp_path / SETTINGS).write_text(json.dumps(document))
        assert load_run(tmp_path) == RunConfig("a")

    def test_what_was_kept_is_what_comes_back(self, tmp_path: Path) -> None:
        config = make_run({"name": "a", "collm": {"lora_rank": 4}}, "test")
        save_run(tmp_path, config)
        assert load_run(tmp_path) == config


class TestRunDirectory:
    def test_what_was_kept_is_what_comes_back(self, config_file: Path, tmp_path: Path) -> None:
        config = load_config(config_file)

        save_run(tmp_path / "new" / "run", config)

        assert load_run(tmp_path / "new" / "run") == config

    def test_a_new_directory_has_none(self, tmp_path: Path) -> None:
        assert load_run(tmp_path) is None

    @pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"name": "a", "other": {}}', '{"name": "A"}'])
    def test_an_altered_file_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / SETTINGS).write_text(content)

        with pytest.raises(ConfigError):
            load_run(tmp_path)


class TestWithFlags:
    def test_given_keys_replace_and_others_stay(self) -> None:
        config = make_run({"name": "a", "cf": {"epochs": 5, "dropout": 0.3}}, "test")

        changed = with_flags(config, "cf", {"epochs": "9"})

        assert changed.cf == MultVAEConfig(epochs=9, dropout=0.3)
        assert dataclasses.replace(changed, cf=config.cf) == config

    def test_lists_survive(self) -> None:
        config = with_flags(RunConfig("a"), "ease", {"regs": "1,2"})

        assert with_flags(config, "ease", {}).ease.regs == (1.0, 2.0)

    def test_values_are_checked(self) -> None:
        with pytest.raises(ConfigError, match=r"communities\.bandwidth: 2\.5 is out of range; .* at most 2"):
            with_flags(RunConfig("a"), "communities", {"bandwidth": "2.5"})


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a b", "a/b", "a\n", "a" * 41])
def test_a_name_that_cannot_begin_a_bundles_id(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^name: "):
        dataclasses.replace(RunConfig("a"), name=name)
