"""The documents' commands are run: each page in a checkout of its own, against a service that runs.

A page's blocks of ``sh`` run one after the other; what one leaves, the next finds. Those marked ``not run`` are
looked at by tests/unit/test_docs.py.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from support.documents import Block, blocks_of
from support.runs import FinishedRun

from localrec.processes import free_port, get, post
from localrec.redis_server import socket_url
from localrec.stack import ROOT, running_stack
from models import fetch
from models.contract.errors import DataError
from models.contract.redis_schema import PREVIOUS_BUNDLE
from models.pipeline import Pipeline
from models.pointer import bundles, current_bundle
from models.run import save_run, with_flags

SECONDS = 900  # of one block: a run is trained
READY_SECONDS = 120
STOP_SECONDS = 60
ASKED_CUSTOMERS = 60
N = 10
IN_MAIN_DEPARTMENT = 0.7  # of the items; one in six by chance

pytestmark = pytest.mark.redis


class Checkout:
    """A directory like the repository's, where commands leave what they make.

    Args:
        directory: empty; a short path, since Redis' socket lies in it.
        ports: text of the documents by what stands for it here.
        environment: variables beside this process's.
    """

    def __init__(self, directory: Path, ports: dict[str, str], environment: dict[str, str]) -> None:
        self.directory = directory
        for entry in ROOT.iterdir():
            if entry.name not in ("runs", "bundles", "data", ".git"):
                (directory / entry.name).symlink_to(entry)
        tools = directory / "bin"
        tools.mkdir()
        command = tools / "localrec"
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m localrec "$@"\n')
        command.chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, **environment}
        self._ports = ports

    def run(self, blocks: list[Block]) -> str:
        """What the blocks print. Raises AssertionError where a command fails."""
        printed = ""
        for block in blocks:
            if not block.ready_url:
                shell = ["bash", "-euxo", "pipefail", "-c", self._here(block.text)]
                done = subprocess.run(
                    shell,
                    cwd=self.directory,
                    env=self._environment,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr[-4_000:]}"
                printed += done.stdout
        return printed

    @contextmanager
    def behind(self, block: Block) -> Iterator[None]:
        """While a block runs in the background; ends it as Ctrl-C does."""
        shell = ["bash", "-euc", f"exec {self._here(block.text).strip()}"]
        log = self.directory / "background.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                shell, cwd=self.directory, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            port = int(self._here(block.ready_url).split(":")[2].split("/")[0])
            deadline = time.monotonic() + READY_SECONDS
            while get(port, "/readyz")[0] != 200 or json.loads(get(port, "/readyz")[1])["warnings"]:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_SECONDS) == 0, log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _here(self, text: str) -> str:
        for old, new in self._ports.items():
            text = text.replace(old, new)
        return text


def runnable(page: str) -> list[Block]:
    """The blocks of a page that are run."""
    return [b for b in blocks_of((ROOT / "docs" / page).read_text()) if b.language == "sh" and not b.why_not_run]


def test_a_page_with_blocks_that_run_is_run_here():
    """No page's commands are forgotten."""
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if runnable(page.name)]
    assert sorted(pages) == ["bring-your-own-data.md", "operations.md"]


def test_a_command_that_fails_is_found(short_tmp: Path):
    checkout = Checkout(short_tmp, {"localhost:8080": "localhost:1"}, {"LOCALREC_REDIS_URL": "unix:///nowhere"})
    checkout.run([Block("sh", "localrec --version\n")])
    for text in ("localrec bundles\n", "curl -sf localhost:8080/readyz\n", "false | cat\n"):
        with pytest.raises(AssertionError, match=re.escape(text)):
            checkout.run([Block("sh", text)])


def test_the_commands_of_operations(tiny_run: FinishedRun, short_tmp: Path):
    mine = short_tmp / "runs" / "mine"
    shutil.copytree(tiny_run.directory, mine)
    changed = with_flags(tiny_run.config, "serving", {"candidates": 12})
    save_run(mine, changed)
    newer = Pipeline(mine, changed, lambda _: None).run()
    port, admin_port = free_port(), free_port()
    served = replace(tiny_run.bundle, directory=mine / "bundles" / tiny_run.bundle.id)
    with running_stack(served, short_tmp / "stack", gateway_port=port, admin_port=admin_port) as stack:
        ports = {"localhost:8080": f"localhost:{port}", "localhost:8081": f"localhost:{admin_port}"}
        checkout = Checkout(short_tmp, ports, {"LOCALREC_REDIS_URL": stack.redis_url})
        printed = checkout.run(runnable("operations.md"))
        with Redis.from_url(stack.redis_url) as redis:
            assert bundles(redis) == {served.id, newer.id}
            assert (current_bundle(redis), redis.get(PREVIOUS_BUNDLE)) == (served.id, newer.id.encode())  # rolled back
    assert '"user_id":"ann","deleted"' in printed
    assert (short_tmp / "data" / "online").is_dir()


def test_the_tutorial_trains_and_serves_sensible_lists(short_tmp: Path):
    try:
        fetch.model_path("smollm2-135m")  # a minute's download the first time: no part of the tutorial's two minutes
    except DataError as exc:
        pytest.skip(str(exc))
    port, admin_port = free_port(), free_port()
    ports = {
        "serve stack": f"serve stack --port {port} --admin-port {admin_port}",
        "localhost:8080": f"localhost:{port}",
    }
    checkout = Checkout(short_tmp, ports, {})
    blocks = runnable("bring-your-own-data.md")
    (server,) = [number for number, block in enumerate(blocks) if block.ready_url]
    checkout.run(blocks[:server])
    with checkout.behind(blocks[server]):
        checkout.run(blocks[server + 1 :])
        check_lists(port, "local")
        check_that_events_count(port)
    assert (short_tmp / "communities.html").stat().st_size > 10_000
    assert not (short_tmp / "runs" / "shop" / "service" / "redis.sock").exists()
    with pytest.raises(Exception, match="redis"), Redis.from_url(socket_url(short_tmp / "runs/shop/service")) as redis:
        redis.ping()


def check_lists(port: int, source: str) -> None:
    """Most of what customers get is of the department that they buy in; strangers get what goes with their baskets."""
    with (ROOT / "docs" / "examples" / "shop.csv").open() as file:
        rows = list(csv.DictReader(file))
    department = {row["sku"]: row["department"] for row in rows}
    bought: dict[str, list[str]] = {}
    for row in rows:
        bought.setdefault(row["customer"], []).append(row["sku"])
    shares = []
    for customer in sorted(bought)[:ASKED_CUSTOMERS]:
        answer = recommend(port, {"user_id": customer, "n": N})
        assert {item["source"] for item in answer["items"]} == {source}
        assert not {item["item_id"] for item in answer["items"]} & set(bought[customer])
        main = Counter(department[sku] for sku in bought[customer]).most_common(1)[0][0]
        shares.append(sum(department[item["item_id"]] == main for item in answer["items"]) / N)
    assert sum(shares) / len(shares) > IN_MAIN_DEPARTMENT
    for wanted in sorted(set(department.values())):
        basket = [sku for sku in sorted(department) if department[sku] == wanted][:4]
        items = recommend(port, {"user_id": "a stranger", "history": basket, "n": N})["items"]
        assert sum(department[item["item_id"]] == wanted for item in items) > N / 2, wanted


def check_that_events_count(port: int) -> None:
    """What a customer does is not shown again."""
    first = recommend(port, {"user_id": "C1001", "n": 1})["items"][0]["item_id"]
    status, _ = post(port, "/events", {"type": "purchase", "user_id": "C1001", "item_id": first})
    assert status == 200
    assert first not in {item["item_id"] for item in recommend(port, {"user_id": "C1001", "n": N})["items"]}


def recommend(port: int, body: dict[str, object]) -> dict[str, list[dict[str, str]]]:
    status, answer = post(port, "/recommend", {**body, "deadline_ms": 5_000})
    assert status == 200, answer
    found: dict[str, list[dict[str, str]]] = json.loads(answer)
    return found
