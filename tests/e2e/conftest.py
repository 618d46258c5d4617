import json
import os
from pathlib import Path

import pytest
from support.backbones import write_backbone
from support.runs import LONG_CONTEXT, FinishedRun, finish_run

from localrec.stack import ROOT
from models.contract.bundle import verify_bundle
from models.run import load_run

HERE = Path(__file__).parent
VLLM_READY = ROOT / ".venv-vllm" / ".complete"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is here is ``e2e``, but for what is left out by default.

    vLLM's environment takes minutes to install: a script does that, not a test.
    """
    missing = pytest.mark.skip(reason="no vLLM environment: run scripts/vllm --install")
    for item in items:
        if item.get_closest_marker("vllm") and not VLLM_READY.exists():
            item.add_marker(missing)
        is_left_out = any(item.get_closest_marker(name) for name in ("vllm", "slow", "gpu"))
        if HERE in item.path.parents and not is_left_out:
            item.add_marker("e2e")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A whole run on a tiny backbone, made in seconds."""
    root = tmp_path_factory.mktemp("tiny")
    return finish_run(root, write_backbone(root / "backbone"))


@pytest.fixture(scope="session")
def further_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The same with CoLLM and HatLLM."""
    root = tmp_path_factory.mktemp("further")
    return finish_run(root, write_backbone(root / "backbone", LONG_CONTEXT), further=True)


@pytest.fixture(scope="session")
def demo_run() -> FinishedRun:
    """The demo's run, where it was made."""
    directory = ROOT / "runs" / "demo"
    pointer = directory / "bundle.json"
    if not pointer.exists():
        pytest.skip("no demo run: make it with scripts/demo --once")
    os.chdir(ROOT)  # the demo's settings hold paths relative to the repository
    bundle = verify_bundle(directory / "bundles" / json.loads(pointer.read_text())["bundle_id"])
    config = load_run(directory)
    assert config is not None
    return FinishedRun(directory, config, (), bundle)


@pytest.fixture(params=["tiny_run", pytest.param("demo_run", marks=pytest.mark.slow)])
def finished_run(request: pytest.FixtureRequest) -> FinishedRun:
    """A run whose bundle is served."""
    run: FinishedRun = request.getfixturevalue(request.param)
    return run


@pytest.fixture(params=["engine", pytest.param("vllm", marks=pytest.mark.vllm)])
def workers(request: pytest.FixtureRequest) -> str:
    """Both kinds of worker."""
    return str(request.param)
