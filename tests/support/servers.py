"""Real servers as processes of their own: started, awaited, and ended by their id."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.processes import wait_until

ROOT = Path(__file__).parents[2]
CALL_SECONDS = 120.0  # of a busy machine


@contextmanager
def server(command: Sequence[str], url: str, log: Path, start_seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server from the repository root, from its first healthy answer to the end of the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or healthy(url), start_seconds, f"{command[0]} at {url}")
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):  # children that outlived the leader of their group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def post(url: str, body: Mapping[str, Any]) -> Any:
    """Send JSON; decoded JSON, or text where the answer is none. Raises HTTPError on a refusal."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:  # noqa: S310 - loopback
        is_json = "json" in response.headers.get("Content-Type", "")
        return json.load(response) if is_json else response.read().decode()


def status(url: str, body: Mapping[str, Any]) -> int:
    """Status of the answer to JSON."""
    try:
        post(url, body)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def healthy(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:  # noqa: S310 - loopback
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
