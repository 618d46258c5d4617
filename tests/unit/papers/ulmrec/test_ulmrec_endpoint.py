"""Extraction of preferences against a server that misbehaves on demand."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backbones import walk_dataset

from models.contract.errors import DataError
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.endpoint import Endpoint, EndpointError, extract
from models.papers.ulmrec.texts import preferences
from models.types import Sequences

TEXTS = {f"u{number}": [f"title {number}", "other"] for number in range(6)}


class ChatServer(ThreadingHTTPServer):
    """Answers with the last line of the question; ``refusals`` are statuses that come first, ``body`` any other answer.

    Counts the questions, and how many are there at a time.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.questions: Counter[str] = Counter()
        self.refusals: list[int] = []
        self.body: bytes | None = None
        self.keys: set[str | None] = set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def endpoint(self, **changes: Any) -> Endpoint:
        settings = {"key": None, "calls": 2, "attempts": 3, "pause_seconds": 0.01, "timeout_seconds": 20.0} | changes
        return Endpoint(f"http://127.0.0.1:{self.server_port}/v1", "small", **settings)


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = asked["messages"][-1]["content"]
        server = self.server
        with server.lock:
            server.questions[question] += 1
            server.keys.add(self.headers["Authorization"])
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            status = server.refusals.pop(0) if server.refusals else 200
        answer = {"choices": [{"message": {"content": f"The user prefers\n{question.splitlines()[0][2:]}"}}]}
        body = server.body if server.body is not None else json.dumps(answer).encode()
        assert (self.path, asked["model"], asked["temperature"]) == ("/v1/chat/completions", "small", 0)
        with server.lock:
            server.at_once -= 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_user_is_asked_about_once_and_answers_are_kept(server: ChatServer, tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "answers.jsonl"
    found = extract(server.endpoint(key="secret"), TEXTS, kept)
    assert found == {f"u{number}": f"The user prefers title {number}" for number in range(6)}
    assert (set(server.questions.values()), server.keys) == ({1}, {"Bearer secret"})
    assert server.most_at_once <= 2
    assert extract(server.endpoint(), TEXTS, kept) == found
    assert server.questions.total() == 6


def test_only_what_is_missing_or_has_changed_is_asked(server: ChatServer, tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    extract(server.endpoint(), dict(list(TEXTS.items())[:3]), kept)
    kept.write_bytes(kept.read_bytes() + b'{"user_id": "u4", "as')  # broken off
    server.questions.clear()
    changed = TEXTS | {"u1": ["new"]}
    assert extract(server.endpoint(), changed, kept)["u1"] == "The user prefers new"
    assert server.questions.total() == 4
    assert extract(server.endpoint(), changed, kept)["u1"] == "The user prefers new"
    assert server.questions.total() == 4


def test_a_busy_server_is_asked_again(server: ChatServer, tmp_path: Path) -> None:
    server.refusals = [429, 503]
    assert len(extract(server.endpoint(), TEXTS, tmp_path / "answers.jsonl")) == 6
    assert server.questions.total() == 8


def test_a_server_that_stays_busy_is_given_up_and_answers_stay(server: ChatServer, tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    extract(server.endpoint(), {"u0": TEXTS["u0"]}, kept)
    server.refusals = [500] * 100
    with pytest.raises(EndpointError, match=r"user 'u\d': status 500, 3 times"):
        extract(server.endpoint(), TEXTS, kept)
    assert len(kept.read_bytes().splitlines()) == 1


def test_a_refusal_is_told_with_the_user_and_is_not_tried_again(server: ChatServer, tmp_path: Path) -> None:
    server.refusals, server.body = [401], b"no such key"
    with pytest.raises(EndpointError, match="user 'u0': status 401: no such key"):
        extract(server.endpoint(), {"u0": ["x"]}, tmp_path / "answers.jsonl")
    assert server.questions.total() == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no json", "user 'u0': the answer is no chat completion"),
        (b'{"choices": []}', "user 'u0': the answer holds no text"),
        (b'{"choices": [{"message": {"content": null}}]}', "user 'u0': the answer holds no text"),
    ],
)
def test_answers_without_text_are_refused(server: ChatServer, tmp_path: Path, body: bytes, message: str) -> None:
    server.body = body
    with pytest.raises(EndpointError, match=message):
        extract(server.endpoint(), {"u0": ["x"]}, tmp_path / "answers.jsonl")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    endpoint = Endpoint("http://127.0.0.1:9", "small", None, 2, attempts=2, pause_seconds=0.01)
    with pytest.raises(EndpointError, match=r"user 'u\d': ClientConnectorError.*, 2 times"):
        extract(endpoint, TEXTS, tmp_path / "answers.jsonl")


def test_a_file_of_other_things_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    kept.write_text('{"other": 1}\n')
    endpoint = Endpoint("http://127.0.0.1:9", "small", None, 2)
    with pytest.raises(DataError, match=r"preference_answers: .*answers.jsonl"):
        extract(endpoint, TEXTS, kept)


def test_preferences_of_a_data_set_come_from_the_endpoint_where_one_is_named(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_KEY", "from the environment")
    dataset = walk_dataset(Sequences.of([np.arange(start, start + 8, dtype=np.int32) for start in (0, 3)]))
    config = ULMRecConfig(
        preference_endpoint=f"{server.endpoint().url}/",
        preference_model="small",
        preference_answers=str(tmp_path / "answers.jsonl"),
        preference_key="CHAT_KEY",
    )
    found = preferences(config, dataset)
    assert found.texts == ("The user prefers red lamp", "The user prefers red drum")
    assert found.source == "extracted by small from titles of train items"
    assert server.keys == {"Bearer from the environment"}
