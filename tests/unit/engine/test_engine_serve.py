"""The engine as a process of its own, from a bundle."""

import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from support.checkpoints import write_bundle
from support.http import request
from support.processes import free_port
from support.servers import post, server

from models.contract.errors import BundleError
from service.engine.serve import serve

SERVE = "import sys; from pathlib import Path; from service.engine.serve import serve; "
COMPLETION = {"model": "b-1-c00", "prompt": [50, 1], "max_tokens": 1, "logprobs": 5}


def test_process_serves_a_bundle_and_ends_in_order(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b-1", 50, ["c00"], rank=4)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", f"{SERVE} serve(Path(sys.argv[1]), '127.0.0.1', {port})", str(bundle.directory)]
    with server(command, url, tmp_path / "log", start_seconds=60) as process, ThreadPoolExecutor(8) as users:
        card = request(port, "GET", "/v1/models").json["data"][0]
        assert (card["id"], card["max_model_len"]) == ("b-1", 22)
        adapter = {"lora_name": "b-1-c00", "lora_path": str(bundle.adapter_path("c00"))}
        assert "added" in post(f"{url}/v1/load_lora_adapter", adapter)
        traffic = [users.submit(answered_until_refused, url) for _ in range(8)]
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert sum(answered(user) for user in traffic) > 8


def answered_until_refused(url: str) -> int:
    """Answers received before the server took no more connections. A connection cut in mid-answer is an error."""
    n = 0
    while True:
        try:
            answer: dict[str, Any] = post(f"{url}/v1/completions", COMPLETION)
        except URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return n
            raise
        assert answer["choices"]
        n += 1


def answered(user: "Future[int]") -> int:
    """What the user counted."""
    return user.result(30)


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no checkpoint"):
        serve(tmp_path, "127.0.0.1", 0)


def test_broken_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BundleError, match="schema_version"):
        serve(tmp_path, "127.0.0.1", 0)
