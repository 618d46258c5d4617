"""The flags of a vLLM server, from the manifest alone, and for HatLLM from the checkpoint's architecture."""

import configparser
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.servers import ROOT

from models.contract.bundle import SCHEMA_VERSION, Bundle, Manifest, ServingSpec, hash_files, write_manifest
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.specs import CoLLMSpec, FurtherPart, HatLLMSpec, L2RecSpec, ModelSpec, ULMRecSpec
from models.contract.vllm import PLUGIN_PATH, Device, server_arguments, server_environment


def bundle(directory: Path, *, n_items: int = 5000, rank: int = 16, table_rank: int = 0) -> Bundle:
    adapters = ("global", "c00", "c01")
    model = ModelSpec("item-token", 20, n_items, rank, adapters, "random", table_rank=table_rank)
    serving = ServingSpec(FusionMethod.RRF, 0.0, 100)
    described = (SCHEMA_VERSION, "b-1", "", 8, 1.0, "epanechnikov", model, serving, (), {}, {}, {}, {})
    return write_manifest(directory, Manifest(*described))


def bundle_with_parts(directory: Path, architecture: str = "Qwen2ForCausalLM") -> Bundle:
    checkpoint = directory / "hatllm" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    local = bundle(directory)
    parts = {
        "collm": CoLLMSpec("random", "mf", 8, 900, "ĠYes", 7566),
        "hatllm": HatLLMSpec("random", 10, 8, 400),
        "ulmrec": ULMRecSpec("random", 20, 8, 1300),
        "l2rec": L2RecSpec("random", 20, 64, 8, 700),
    }
    manifest = msgspec.structs.replace(local.manifest, files=hash_files(directory), **parts)
    return write_manifest(directory, manifest)


def flag(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_flags_follow_the_manifest(tmp_path: Path) -> None:
    described = bundle(tmp_path)
    arguments = server_arguments(described.local, device="cuda", port=8001)
    assert flag(arguments, "--model") == str(tmp_path / "checkpoint")
    assert flag(arguments, "--served-model-name") == described.base_id
    assert flag(arguments, "--max-model-len") == "22"  # start token, 20 items, one generated
    assert flag(arguments, "--max-loras") == "3"
    assert flag(arguments, "--max-cpu-loras") == "6"
    assert flag(arguments, "--max-logprobs") == "1024"
    assert flag(arguments, "--logprobs-mode") == "processed_logprobs"
    assert "--enable-lora" in arguments


@pytest.mark.parametrize(("max_loras", "cached"), [(2, "6"), (3, "6"), (8, "16")])
def test_two_bundles_fit_into_the_cpus_memory(tmp_path: Path, max_loras: int, cached: str) -> None:
    arguments = server_arguments(bundle(tmp_path).local, device="cpu", port=1, max_loras=max_loras)
    assert flag(arguments, "--max-loras") == str(max_loras)
    assert flag(arguments, "--max-cpu-loras") == cached


def test_logprobs_never_exceed_the_vocabulary(tmp_path: Path) -> None:
    assert flag(server_arguments(bundle(tmp_path, n_items=60).local, device="cpu", port=1), "--max-logprobs") == "60"


@pytest.mark.parametrize(("rank", "expected"), [(1, "1"), (4, "8"), (16, "16"), (17, "32")])
def test_rank_is_rounded_up_to_one_that_vllm_knows(tmp_path: Path, rank: int, expected: str) -> None:
    assert (
        flag(server_arguments(bundle(tmp_path, rank=rank).local, device="cpu", port=1), "--max-lora-rank") == expected
    )


@pytest.mark.parametrize(("rank", "table_rank", "expected"), [(16, 100, "128"), (64, 8, "64")])
def test_the_larger_rank_counts(tmp_path: Path, rank: int, table_rank: int, expected: str) -> None:
    described = bundle(tmp_path, rank=rank, table_rank=table_rank)
    assert flag(server_arguments(described.local, device="cpu", port=1), "--max-lora-rank") == expected


def test_rank_beyond_what_vllm_serves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="rank is 600, vLLM serves 512 at most"):
        server_arguments(bundle(tmp_path, table_rank=600).local, device="cuda", port=1)


def test_devices_differ_in_little(tmp_path: Path) -> None:
    cuda, cpu = (server_arguments(bundle(tmp_path).local, device=device, port=1) for device in ("cuda", "cpu"))
    assert (flag(cpu, "--dtype"), flag(cuda, "--dtype")) == ("float32", "bfloat16")
    assert [*cuda, "--enforce-eager"] == ["bfloat16" if argument == "float32" else argument for argument in cpu]
    of_cpus = {("VLLM_CPU_KVCACHE_SPACE", "2"), ("TORCHDYNAMO_DISABLE", "1")}
    assert server_environment("cpu").items() - server_environment("cuda").items() == of_cpus


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_collm_is_a_classifier_of_its_answer(tmp_path: Path, device: Device) -> None:
    model = bundle_with_parts(tmp_path).served("collm")
    arguments = server_arguments(model, device=device, port=1)
    assert flag(arguments, "--model") == str(tmp_path / "collm/checkpoint")
    assert flag(arguments, "--served-model-name") == model.base_id
    assert flag(arguments, "--max-model-len") == "901"
    assert flag(arguments, "--max-lora-rank") == "8"
    assert (flag(arguments, "--max-loras"), flag(arguments, "--max-cpu-loras")) == ("1", "2")
    assert (flag(arguments, "--runner"), flag(arguments, "--convert")) == ("pooling", "classify")
    classifier = {"classifier_from_token": ["ĠYes"], "method": "no_post_processing"}
    assert json.loads(flag(arguments, "--hf-overrides")) == classifier
    assert "--enable-prefix-caching" in arguments
    assert ("--block-size" in arguments, "--enforce-eager" in arguments) == (device == "cpu", device == "cpu")
    assert "--max-logprobs" not in arguments


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_hatllm_is_the_plugins_model(tmp_path: Path, device: Device) -> None:
    arguments = server_arguments(bundle_with_parts(tmp_path).served("hatllm"), device=device, port=1)
    assert flag(arguments, "--model") == str(tmp_path / "hatllm/checkpoint")
    assert json.loads(flag(arguments, "--hf-overrides")) == {"architectures": ["HatQwen2ForEmbedding"]}
    assert (flag(arguments, "--runner"), flag(arguments, "--convert")) == ("pooling", "embed")
    assert {"--enforce-eager", "--no-enable-prefix-caching", "--no-enable-chunked-prefill"} <= set(arguments)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_ulmrec_gives_its_letters_log_probabilities(tmp_path: Path, device: Device) -> None:
    arguments = server_arguments(bundle_with_parts(tmp_path).served("ulmrec"), device=device, port=1)
    assert flag(arguments, "--model") == str(tmp_path / "ulmrec/checkpoint")
    assert (flag(arguments, "--max-model-len"), flag(arguments, "--max-logprobs")) == ("1301", "20")
    assert flag(arguments, "--logprobs-mode") == "processed_logprobs"
    assert {"--return-tokens-as-token-ids", "--enable-prefix-caching"} <= set(arguments)
    assert ("--block-size" in arguments) == (device == "cpu")
    assert "--runner" not in arguments


def test_l2rec_is_no_model_of_vllms(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="our engine serves l2rec"):
        server_arguments(bundle_with_parts(tmp_path).served("l2rec"), device="cuda", port=1)


@pytest.mark.parametrize("config", ['{"architectures": ["GPT2LMHeadModel"]}', "{}", "[", "[]"])
def test_a_backbone_that_the_plugin_does_not_know_is_refused(tmp_path: Path, config: str) -> None:
    model = bundle_with_parts(tmp_path).served("hatllm")
    (model.checkpoint / "config.json").write_text(config)
    with pytest.raises(BundleError, match=r"vLLM serves LlamaForCausalLM, |names no architecture"):
        server_arguments(model, device="cuda", port=1)


def test_the_plugin_is_on_the_path_of_hatllm_alone() -> None:
    stock, plugged = server_environment("cuda", "collm"), server_environment("cuda", "hatllm")
    assert stock == server_environment("cuda")
    assert plugged == stock | {"PYTHONPATH": f"{ROOT}:{ROOT}/service/vllm_plugin/metadata"}


def test_vllm_finds_the_plugin_as_an_installed_package_names_it() -> None:
    (described,) = PLUGIN_PATH[1].glob("*.dist-info")
    found = configparser.ConfigParser()
    found.read(described / "entry_points.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {group: dict(found[group]) for group in found.sections()} == project["entry-points"]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "models.contract.vllm", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_module_prints_one_argument_a_line(tmp_path: Path) -> None:
    result = run(str(bundle(tmp_path).directory), "--device", "cpu", "--port", "8123", "--dtype", "auto")
    expected = server_arguments(bundle(tmp_path).local, device="cpu", port=8123, dtype="auto")
    assert result.stdout.splitlines() == expected
    few = run(str(bundle(tmp_path).directory), "--max-loras", "2").stdout.splitlines()
    assert flag(few, "--max-loras") == "2"
    assert run("--environment", "--device", "cuda").stdout.splitlines() == [
        f"{name}={value}" for name, value in server_environment("cuda").items()
    ]


def test_module_prints_the_flags_of_a_part(tmp_path: Path) -> None:
    described = bundle_with_parts(tmp_path)
    result = run(str(tmp_path), "--model", "hatllm", "--device", "cpu")
    assert result.stdout.splitlines() == server_arguments(described.served("hatllm"), device="cpu", port=8001)
    variables = run("--environment", "--device", "cpu", "--model", "hatllm").stdout
    assert f"PYTHONPATH={ROOT}:" in variables


def test_module_says_that_a_bundle_has_no_such_part(tmp_path: Path) -> None:
    result = run(str(bundle(tmp_path).directory), "--model", "collm")
    assert result.returncode == 2
    assert "has no collm model; expected one of local" in result.stderr


def test_module_names_what_is_wrong(tmp_path: Path) -> None:
    result = run(str(tmp_path))
    assert result.returncode == 2
    assert "not a bundle" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("part", "change", "differs"),
    [
        ("collm", {"answer": "ĠNo", "answer_token": 2_308}, True),
        ("hatllm", {"lora_rank": 16}, True),
        ("ulmrec", {"candidates": 10}, True),
        ("l2rec", {"user_size": 32}, True),
        ("l2rec", {"lora_rank": 16}, False),  # our engine takes experts of any rank
    ],
)
def test_workers_that_are_told_something_else_are_of_another_base_model(
    tmp_path: Path, part: FurtherPart, change: dict[str, Any], differs: bool
) -> None:
    described = bundle_with_parts(tmp_path)
    other = msgspec.structs.replace(described.manifest.further[part], **change)
    told = Bundle(tmp_path, msgspec.structs.replace(described.manifest, **{part: other}))
    changed = {each for each in described.manifest.parts if told.served(each).base_id != described.served(each).base_id}
    assert changed == ({part} if differs else set())
