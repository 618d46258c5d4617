"""The README's examples, on the demo's service: they print what it says."""

import os
from pathlib import Path

import pytest
from support.examples import examples_of
from support.runs import FinishedRun

from localrec.processes import free_port
from localrec.stack import ROOT, running_stack

EXAMPLES = examples_of((ROOT / "README.md").read_text())


@pytest.mark.slow
@pytest.mark.redis
def test_the_api_examples_print_what_the_readme_says(demo_run: FinishedRun, short_tmp: Path):
    assert len(EXAMPLES) > 10
    admin_port = free_port()
    with running_stack(demo_run.bundle, short_tmp, admin_port=admin_port) as stack:
        ports = {"localhost:8080": f"localhost:{stack.gateway_port}", "localhost:8081": f"localhost:{admin_port}"}
        for example in EXAMPLES:
            printed = example.run(ROOT, ports, os.environ)
            assert example.is_like(printed), f"{example.command}\n{printed}"
