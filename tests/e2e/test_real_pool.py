"""The gateway's pool before real workers: adapters come, go, lie, and are lost, and every list is PEFT's.

Starts a server of each kind, and again in the middle (vLLM: 20 to 40 s each).
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.parity import EXCLUDED, N_BEST, N_ITEMS, check_best
from support.pools import make_ready, make_settled, metric, pool_of, until
from support.probed import HISTORY_LENGTH, Oracle, write_probed_bundle
from support.processes import free_port, wait_until
from support.servers import ROOT, healthy

from models.contract.bundle import Bundle
from models.contract.prompts import item_prompt
from models.contract.types import Ints, RankedList, item_numbers
from service.gateway.telemetry import Telemetry
from service.workers.completion import Completion
from service.workers.pool import WorkerPool
from service.workers.roster import names_of

ADAPTERS = ("global", "c00", "c01", "c02", "c03", "c04")
START_SECONDS = 180.0
PATIENCE_SECONDS = 60.0  # of a busy machine


class Server:
    """A worker as it is started by hand; vLLM with fewer slots than a bundle has adapters."""

    def __init__(self, kind: str, bundle: Bundle, log: Path) -> None:
        port = free_port()
        vllm = [ROOT / "scripts/vllm", bundle.directory, "--device", "cpu", "--max-loras", "4"]
        engine = [sys.executable, "-m", "localrec", "serve", "engine", "--bundle", bundle.directory]
        self.kind = kind
        self.url = f"http://127.0.0.1:{port}"
        self._command = [*(vllm if kind == "vllm" else engine), "--port", str(port)]
        self._log = log

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
        wait_until(lambda: self._process.poll() is not None or healthy(self.url), START_SECONDS, self.kind)
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """All of its processes, as a crash would."""
        with suppress(ProcessLookupError):  # it was killed before
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Model:
    """A bundle, and what its adapters rank."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.bundle = write_probed_bundle(directory, N_ITEMS, ADAPTERS, rank=8, seed=seed)
        oracle, rng = Oracle(directory, ADAPTERS), np.random.default_rng(seed)
        histories = [item_numbers(rng.integers(0, N_ITEMS, length)) for length in (1, 3, 8, 15, 20, 25)]
        self.questions = [_question(history) for history in histories]
        self._scores = {
            (number, name): oracle.scores(name, history)
            for number, history in enumerate(histories)
            for name in ADAPTERS
        }

    def check(self, question: int, adapter: str, ranking: RankedList) -> None:
        """Fail unless a ranking is PEFT's."""
        check_best(ranking, self._scores[question, adapter])


def _question(history: Ints) -> Completion:
    return Completion(item_prompt(history, N_ITEMS, HISTORY_LENGTH), N_BEST, EXCLUDED, N_ITEMS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def old(root: Path) -> Model:
    return Model(root / "old-1", seed=1)


@pytest.fixture(scope="module")
def new(root: Path, old: Model) -> Model:
    made = Model(root / "new-2", seed=2)
    assert made.bundle.base_id == old.bundle.base_id
    return made


@pytest.fixture(scope="module", params=["engine", pytest.param("vllm", marks=pytest.mark.vllm)])
def server(request: pytest.FixtureRequest, root: Path, old: Model) -> Iterator[Server]:
    made = Server(request.param, old.bundle, root / "worker.log")
    made.start()
    yield made
    made.kill()


@asynccontextmanager
async def pool_before(
    server: Server, root: Path, telemetry: Telemetry | None = None, **options: Any
) -> AsyncIterator[WorkerPool]:
    options = {"kind": server.kind, "probe_interval_seconds": 0.2, "drain_seconds": 1.0} | options
    async with pool_of(server.url, bundle_root=root, telemetry=telemetry, **options) as pool:
        yield pool
        pool.expect([])  # so that the next test finds the server as this one did
        await _until_empty(server)


async def _until_empty(server: Server) -> None:
    async with asyncio.timeout(30):
        while await _loaded(server):
            pass


async def _post(server: Server, path: str, body: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session, session.post(server.url + path, json=body) as response:
        assert response.status == 200, await response.text()


async def _loaded(server: Server) -> set[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/v1/models") as response:
        return {model["id"] for model in (await response.json())["data"] if model["parent"]}


async def _metric(server: Server, line_start: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(line_start))


async def _ask_all(pool: WorkerPool, model: Model, *adapters: str, seconds: float = PATIENCE_SECONDS) -> list[str]:
    """Every question to some adapters; how the calls ended. What was answered must be right."""
    kinds = []
    for number, question in enumerate(model.questions):
        deadline = asyncio.get_running_loop().time() + seconds
        outcomes = await pool.fan_out(model.bundle.id, adapters, question, deadline)
        for adapter, outcome in zip(adapters, outcomes, strict=True):
            kinds.append(str(outcome.kind))
            if outcome.kind == "ok":
                model.check(number, adapter, outcome.ranking)
    return kinds


class _Traffic:
    """All questions to all adapters, over and over, until the end of the context."""

    def __init__(self, pool: WorkerPool, model: Model) -> None:
        self.model = model
        self.kinds: list[str] = []
        self._pool = pool

    async def __aenter__(self) -> "_Traffic":
        self._tasks = [asyncio.create_task(self._run()) for _ in range(2)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended

    async def _run(self) -> None:
        while True:
            self.kinds += await _ask_all(self._pool, self.model, *ADAPTERS)


async def test_every_adapter_is_loaded_proven_and_ranks_what_peft_ranks(server: Server, root: Path, old: Model) -> None:
    telemetry = Telemetry()
    async with pool_before(server, root, telemetry) as pool:
        await make_ready(pool, old.bundle, seconds=PATIENCE_SECONDS)
        assert set(await _ask_all(pool, old, *ADAPTERS)) == {"ok"}
        assert await _loaded(server) == set(names_of(old.bundle.local))
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="passed"') == len(ADAPTERS)


async def test_more_adapters_than_slots(server: Server, root: Path, old: Model) -> None:
    """On demand into a full replica: the first use takes the place of one that nobody asks for."""
    telemetry = Telemetry()
    async with pool_before(server, root, telemetry, slots=3) as pool:
        await make_settled(pool, old.bundle, seconds=PATIENCE_SECONDS)
        missing = [name for name in ADAPTERS if old.bundle.adapter_name(name) not in await _loaded(server)]
        assert len(missing) == len(ADAPTERS) - 3
        assert set(await _ask_all(pool, old, *missing)) == {"ok"}
        assert len(await _loaded(server)) == 3
        kinds = await _ask_all(pool, old, *ADAPTERS)
        assert set(kinds) == {"ok", "not_resident"}  # nobody is clearly hotter: no thrashing
        assert kinds.count("ok") >= len(kinds) // 2
    assert metric(telemetry, "localrec_adapter_evictions_total") >= 3


async def test_switch_and_roll_back_under_traffic(server: Server, root: Path, old: Model, new: Model) -> None:
    async with pool_before(server, root) as pool:
        await make_ready(pool, old.bundle, seconds=PATIENCE_SECONDS)
        async with _Traffic(pool, old) as traffic:
            for before, after in ((old, new), (new, old)):
                await make_ready(pool, before.bundle, after.bundle, seconds=PATIENCE_SECONDS)
                traffic.model = after
                pool.expect([after.bundle])
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await _loaded(server) != set(names_of(after.bundle.local)):
                        pass
    assert set(traffic.kinds) == {"ok"}
    assert len(traffic.kinds) > 200


async def test_adapter_that_is_unloaded_behind_the_pools_back_is_loaded_once_and_asked_again(
    server: Server, root: Path, old: Model
) -> None:
    telemetry = Telemetry()
    async with pool_before(server, root, telemetry, probe_interval_seconds=0.5) as pool:
        await make_ready(pool, old.bundle, seconds=PATIENCE_SECONDS)
        async with _Traffic(pool, old) as traffic:
            name = old.bundle.adapter_name("c01")
            for _ in range(5):
                await _post(server, "/v1/unload_lora_adapter", {"lora_name": name})
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while name not in await _loaded(server):  # noqa: ASYNC110 - another process has no event for it
                        await asyncio.sleep(0.1)
                await asyncio.sleep(0.2)
    assert set(traffic.kinds) == {"ok"}
    assert metric(telemetry, 'localrec_adapter_load_seconds_count{outcome="ok"') == len(ADAPTERS) + 5
    assert metric(telemetry, "localrec_adapter_misses_total") >= 1


async def test_adapters_that_are_not_what_they_say_are_found_out(server: Server, root: Path) -> None:
    """On the workers' disk one adapter's files are another's, and one's modules have names that vLLM does not apply.

    Our engine refuses such names, vLLM says that it has loaded them.
    """
    made, telemetry = Model(root / f"true-{server.kind}" / "mixed-3", seed=3), Telemetry()
    false = root / f"false-{server.kind}"
    unknown, failed = ("untrusted", 2) if server.kind == "vllm" else ("not_found", 1)
    adapters = Path(shutil.copytree(made.bundle.directory, false / "mixed-3")) / "adapters"
    shutil.copytree(adapters / "c00", adapters / "c01", dirs_exist_ok=True)
    weights = adapters / "c02" / "adapter_model.safetensors"
    save_file({name.replace(".layers.", ".blocks."): value for name, value in load_file(weights).items()}, weights)
    async with pool_before(server, false, telemetry) as pool:
        await make_settled(pool, made.bundle, seconds=PATIENCE_SECONDS)
        kinds = await _ask_all(pool, made, *ADAPTERS)
        assert kinds == ["ok", "ok", "untrusted", unknown, "ok", "ok"] * len(made.questions)
        refused = {line.split(":")[0]: line for line in pool.status()[0].refused}
        assert refused.keys() == {made.bundle.adapter_name(name) for name in ("c01", "c02")}
        assert not refused.keys() & await _loaded(server)
        print(*refused.values(), sep="\n")
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="failed"') == failed


async def test_given_up_calls_are_aborted_at_the_server(server: Server, root: Path, old: Model) -> None:
    """More than it can do by the deadline: of what was sent and is not wanted any more, it does not do all.

    What is in a batch already ends with it: so there is more than one batch, and more than one try.
    """
    if server.kind != "vllm":
        pytest.skip("the engine's own tests prove it")
    async with pool_before(server, root, in_flight_limit=1000, failures_to_open=10_000) as pool:
        await make_ready(pool, old.bundle, seconds=PATIENCE_SECONDS)
        shares = []
        for _ in range(5):
            done = await _metric(server, "vllm:request_success_total")
            deadline = asyncio.get_running_loop().time() + 0.3
            asked = [pool.fan_out(old.bundle.id, ADAPTERS, question, deadline) for question in old.questions * 25]
            kinds = [outcome.kind for outcomes in await asyncio.gather(*asked) for outcome in outcomes]
            assert set(kinds) <= {"ok", "timeout"}
            await asyncio.sleep(2.0)
            shares.append((await _metric(server, "vllm:request_success_total") - done) / len(kinds))
        print("done by the server of 900 calls, in five tries:", *(f"{share:.0%}" for share in shares))
        assert min(shares) < 0.8
        assert set(await _ask_all(pool, old, *ADAPTERS)) == {"ok"}


async def test_server_that_dies_and_starts_again_is_made_ready_without_a_word(
    server: Server, root: Path, old: Model, new: Model
) -> None:
    """In the middle of a switch: afterwards both bundles are there, proven."""
    telemetry = Telemetry()
    async with pool_before(server, root, telemetry) as pool:
        await make_ready(pool, old.bundle, seconds=PATIENCE_SECONDS)
        pool.expect([old.bundle, new.bundle])
        async with _Traffic(pool, old) as traffic:
            await until(lambda: len(traffic.kinds) > 50, PATIENCE_SECONDS)
            await asyncio.to_thread(server.kill)
            await until(lambda: traffic.kinds[-1] == "unreachable", PATIENCE_SECONDS)
            await until(lambda: not pool.is_ready(old.bundle.id), PATIENCE_SECONDS)
            await asyncio.to_thread(server.start)
            await make_ready(pool, old.bundle, new.bundle, seconds=PATIENCE_SECONDS)
            await until(lambda: traffic.kinds[-6:] == ["ok"] * 6, PATIENCE_SECONDS)
        assert set(await _ask_all(pool, new, *ADAPTERS)) == {"ok"}
    assert set(traffic.kinds) <= {"ok", "unreachable", "not_resident", "invalid"}
    assert metric(telemetry, 'localrec_adapter_probes_total{outcome="failed"') == 0
