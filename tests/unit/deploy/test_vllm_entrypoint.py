"""The real entrypoint, with a stand-in for the image's python3 that knows the contract and prints what it would run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PYTHON3 = """#!/usr/bin/env bash
case "$2" in
  models.contract.vllm)
    echo "contract: PYTHONPATH=$PYTHONPATH $*" >&2
    if [[ "$3" == --environment ]]; then echo A=1; echo "B=two words"
    elif [[ "$3" == */missing ]]; then echo "no manifest.json" >&2; exit 3
    else printf '%s\\n' --model "$3/check point" --enable-lora; fi ;;
  *) printf '<%s>' "PYTHONPATH=${PYTHONPATH-unset}" "$A" "$B" "$@" ;;
esac
"""


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    """Environment of a container: only the stand-in and the system's tools on the PATH."""
    python = tmp_path / "python3"
    python.write_text(PYTHON3)
    python.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.defpath}"}


def start(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "deploy/vllm-entrypoint"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_server_gets_the_contracts_flags_and_environment(image: dict[str, str]) -> None:
    result = start(image | {"LOCALREC_BUNDLE": "b1"}, "--max-num-seqs", "64")
    assert result.returncode == 0
    assert result.stdout == (
        "<PYTHONPATH=unset><1><two words><-m><vllm.entrypoints.openai.api_server>"
        "<--model></bundles/b1/check point><--enable-lora><--max-num-seqs><64>"
    )
    asked = "PYTHONPATH=/opt/localrec -m models.contract.vllm"
    assert f"{asked} --environment --model local --device cuda" in result.stderr
    assert f"{asked} /bundles/b1 --host 0.0.0.0 --port 8001 --model local --device cuda" in result.stderr


def test_server_of_another_model(image: dict[str, str]) -> None:
    result = start(image | {"LOCALREC_BUNDLE": "b1", "LOCALREC_MODEL": "collm"})
    assert result.returncode == 0
    assert "--environment --model collm" in result.stderr
    assert "--port 8001 --model collm" in result.stderr


@pytest.mark.parametrize("bundle", [{}, {"LOCALREC_BUNDLE": ""}, {"LOCALREC_BUNDLE": "missing"}])
def test_server_does_not_start_without_a_bundle(image: dict[str, str], bundle: dict[str, str]) -> None:
    result = start(image | bundle)
    assert result.returncode != 0
    assert result.stdout == ""
    assert "LOCALREC_BUNDLE" in result.stderr or "no manifest.json" in result.stderr
