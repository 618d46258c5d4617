"""The whole service, every part of it real: Redis, worker, gateway, a trained bundle."""

import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.processes import wait_until
from support.runs import FinishedRun

from localrec.processes import get, post
from localrec.stack import Stack, running_stack, running_worker
from models.pipeline import Pipeline
from models.ranking.ranker import LocalRanker
from models.ranking.recommend import recommend
from models.ranking.system import open_system

pytestmark = pytest.mark.redis

N_USERS = 50
DEADLINE_MS = 10_000  # what is compared here is lists, on whatever machine


def ask(port: int, **body: object) -> dict:
    status, answer = post(port, "/recommend", {"deadline_ms": DEADLINE_MS} | body)
    assert status == 200, answer
    return json.loads(answer)


def served_ids(answer: dict) -> list[str]:
    assert not answer["degraded"], answer["reasons"]
    return [item["item_id"] for item in answer["items"]]


@pytest.fixture
def stack(finished_run: FinishedRun, workers: str, short_tmp: Path):
    with running_stack(finished_run.bundle, short_tmp, workers=workers) as running:
        yield running


def offline_lists(run: FinishedRun, histories, n: int, accuracies=None) -> list[list[str]]:
    """What the offline evaluation ranks for some histories, by item id."""
    pipeline = Pipeline(run.directory, run.config)
    system, ids = open_system(run.bundle), pipeline.results.dataset().catalogue.ids
    answers = LocalRanker(system, pipeline.results.fusion_settings().candidates).answers(
        histories, accuracies=accuracies
    )
    return [[ids[item] for item in recommend(system, a, pipeline.results.fusion_settings(), n)] for a in answers]


def test_list_over_http_is_the_list_of_the_evaluation(stack: Stack, finished_run: FinishedRun):
    """For known users as published, and for the same users' test histories sent by somebody without a name."""
    pipeline = Pipeline(finished_run.directory, finished_run.config)
    dataset = pipeline.results.dataset()
    rows = np.arange(min(N_USERS, len(dataset.user_ids)))
    ids = dataset.catalogue.ids
    test = dataset.examples("test").take(rows)
    known = offline_lists(finished_run, dataset.full.take(rows), 10, pipeline.results.accuracies("valid")[rows])
    unnamed = offline_lists(finished_run, test.histories, 10)
    for row in rows.tolist():
        history = [ids[item] for item in test.histories[row]]
        assert served_ids(ask(stack.gateway_port, user_id=dataset.user_ids[row])) == known[row]
        answer = ask(stack.gateway_port, user_id=f"unnamed {row}", history=history)
        assert answer["pipeline"] == "local"
        assert served_ids(answer) == unnamed[row]


def test_lists_differ_between_users_and_name_their_voters(stack: Stack, finished_run: FinishedRun):
    users = Pipeline(finished_run.directory, finished_run.config).results.dataset().user_ids[:10]
    answers = [ask(stack.gateway_port, user_id=user, explain=True) for user in users]
    assert len({tuple(served_ids(answer)) for answer in answers}) > 1
    for item in (item for answer in answers for item in answer["items"] if item["source"] == "local"):
        assert item["explanation"]
        for vote in item["explanation"]:
            assert vote["rank"] >= 1
            assert vote["name"] in {"global", "cf"} if vote["affinity"] is None else vote["affinity"] > 0


class Load(threading.Thread):
    """Asks for one user after the other until told to stop, and keeps what came."""

    def __init__(self, port: int, users: tuple[str, ...]) -> None:
        super().__init__()
        self._port, self._users, self._told_to_stop = port, users, threading.Event()
        self.answers: list[tuple[int, bool]] = []

    def run(self) -> None:
        at = 0
        while not self._told_to_stop.is_set():
            status, body = post(self._port, "/recommend", {"user_id": self._users[at % len(self._users)]})
            self.answers.append((status, bool(json.loads(body)["degraded"])))
            at += 1

    def __exit__(self, *_: object) -> None:
        self._told_to_stop.set()
        self.join()

    def __enter__(self) -> "Load":
        self.start()
        return self


def test_engine_killed_under_load_and_started_again(tiny_run: FinishedRun, short_tmp: Path):
    """No request fails; while the engine is away answers are degraded; it comes back without a word to the gateway."""
    users = Pipeline(tiny_run.directory, tiny_run.config).results.dataset().user_ids
    with ExitStack() as parts:
        stack = parts.enter_context(running_stack(tiny_run.bundle, short_tmp))
        with Load(stack.gateway_port, users) as load:
            wait_until(lambda: any(not degraded for _, degraded in load.answers), 30)
            stack.worker.kill()
            wait_until(lambda: load.answers[-1] == (200, True), 30, "degraded answers")
            time.sleep(1.0)
            with running_worker(tiny_run.bundle, short_tmp, "engine", stack.worker_port):
                wait_until(lambda: load.answers[-1] == (200, False), 60, "local answers again")
        assert {status for status, _ in load.answers} == {200}
        assert json.loads(get(stack.gateway_port, "/readyz")[1])["ready"]
