"""The flags of a stock vLLM server, from the manifest alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT

from models.contract.bundle import SCHEMA_VERSION, Bundle, Manifest, ModelSpec, ServingSpec, write_manifest
from models.contract.errors import BundleError
from models.contract.fusion import FusionMethod
from models.contract.vllm import server_arguments, server_environment


def bundle(directory: Path, *, n_items: int = 5000, rank: int = 16, table_rank: int = 0) -> Bundle:
    adapters = ("global", "c00", "c01")
    model = ModelSpec("item-token", 20, n_items, rank, adapters, "random", table_rank=table_rank)
    serving = ServingSpec(FusionMethod.RRF, 0.0, 100)
    described = (SCHEMA_VERSION, "b-1", "", 8, 1.0, "epanechnikov", model, serving, (), {}, {}, {}, {})
    return write_manifest(directory, Manifest(*described))


def flag(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_flags_follow_the_manifest(tmp_path: Path) -> None:
    described = bundle(tmp_path)
    arguments = server_arguments(described, device="cuda", port=8001)
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
    arguments = server_arguments(bundle(tmp_path), device="cpu", port=1, max_loras=max_loras)
    assert flag(arguments, "--max-loras") == str(max_loras)
    assert flag(arguments, "--max-cpu-loras") == cached


def test_logprobs_never_exceed_the_vocabulary(tmp_path: Path) -> None:
    assert flag(server_arguments(bundle(tmp_path, n_items=60), device="cpu", port=1), "--max-logprobs") == "60"


@pytest.mark.parametrize(("rank", "expected"), [(1, "1"), (4, "8"), (16, "16"), (17, "32")])
def test_rank_is_rounded_up_to_one_that_vllm_knows(tmp_path: Path, rank: int, expected: str) -> None:
    assert flag(server_arguments(bundle(tmp_path, rank=rank), device="cpu", port=1), "--max-lora-rank") == expected


@pytest.mark.parametrize(("rank", "table_rank", "expected"), [(16, 100, "128"), (64, 8, "64")])
def test_the_larger_rank_counts(tmp_path: Path, rank: int, table_rank: int, expected: str) -> None:
    described = bundle(tmp_path, rank=rank, table_rank=table_rank)
    assert flag(server_arguments(described, device="cpu", port=1), "--max-lora-rank") == expected


def test_rank_beyond_what_vllm_serves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="rank is 600, vLLM serves 512 at most"):
        server_arguments(bundle(tmp_path, table_rank=600), device="cuda", port=1)


def test_devices_differ_in_little(tmp_path: Path) -> None:
    cuda, cpu = (server_arguments(bundle(tmp_path), device=device, port=1) for device in ("cuda", "cpu"))
    assert (flag(cpu, "--dtype"), flag(cuda, "--dtype")) == ("float32", "bfloat16")
    assert [*cuda, "--enforce-eager"] == ["bfloat16" if argument == "float32" else argument for argument in cpu]
    assert server_environment("cpu").items() - server_environment("cuda").items() == {("VLLM_CPU_KVCACHE_SPACE", "2")}


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "models.contract.vllm", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_module_prints_one_argument_a_line(tmp_path: Path) -> None:
    result = run(str(bundle(tmp_path).directory), "--device", "cpu", "--port", "8123", "--dtype", "auto")
    expected = server_arguments(bundle(tmp_path), device="cpu", port=8123, dtype="auto")
    assert result.stdout.splitlines() == expected
    few = run(str(bundle(tmp_path).directory), "--max-loras", "2").stdout.splitlines()
    assert flag(few, "--max-loras") == "2"
    assert run("--environment", "--device", "cuda").stdout.splitlines() == [
        f"{name}={value}" for name, value in server_environment("cuda").items()
    ]


def test_module_names_what_is_wrong(tmp_path: Path) -> None:
    result = run(str(tmp_path))
    assert result.returncode == 2
    assert "not a bundle" in result.stderr
    assert "Traceback" not in result.stderr
