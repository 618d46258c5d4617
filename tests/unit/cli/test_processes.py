"""Servers beside a command: awaited, ended, and never taken for another."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localrec.processes import free_port, get, post, server
from models.contract.errors import LocalRecError

# Answers 503 once, then 200 with an environment variable; a POST gets its body back.
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.answer(200 if Handler.asked > 1 and self.path == "/ready" else 503, os.environ.get("WORD", "").encode())
    def do_POST(self):
        self.answer(200, self.rfile.read(int(self.headers["Content-Length"])))
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def python(code: str, port: int) -> list[str]:
    return [sys.executable, "-c", code, str(port)]


@contextmanager
def one_answer(answer: bytes) -> Iterator[int]:
    """A port where the first connection gets these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(10)


def test_a_server_lives_as_long_as_the_context(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "server.log"

    with server(python(SERVER, port), port, ready_path="/ready", environment={"WORD": "hello"}, log=log) as process:
        assert get(port, "/ready") == (200, b"hello")
        assert get(port, "/other")[0] == 503
        assert post(port, "/", {"n": 1}) == (200, b'{"n": 1}')
        assert process.poll() is None

    assert process.poll() is not None
    assert get(port, "/ready") == (0, b"")
    assert log.read_text().startswith("listening\n")


def test_a_server_ends_with_an_error_of_its_context() -> None:
    port = free_port()

    with (
        pytest.raises(RuntimeError, match="elsewhere"),
        server(python(SERVER, port), port, ready_path="/ready", log=Path(os.devnull)) as process,
    ):
        raise RuntimeError("elsewhere")

    assert process.poll() is not None


def test_a_process_that_ends_is_told_with_its_code_and_log(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "server.log"

    with (
        pytest.raises(LocalRecError, match=rf"port {port} ended with exit code 3; see .*server\.log"),
        server(python("import sys; sys.exit(3)", port), port, ready_path="/ready", log=log),
    ):
        pass


def test_a_server_that_is_never_ready_is_ended_in_time() -> None:
    port = free_port()

    with (
        pytest.raises(LocalRecError, match=rf"no 200 from /never on port {port} within 0\.5 s"),
        server(python(SERVER, port), port, ready_path="/never", start_seconds=0.5, log=Path(os.devnull)),
    ):
        pass


def test_another_server_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    port = free_port()
    started = tmp_path / "started"
    code = f"open({str(started)!r}, 'w')"

    with (
        server(python(SERVER, port), port, ready_path="/ready", log=Path(os.devnull)),
        pytest.raises(LocalRecError, match=f"port {port} is taken"),
        server(python(code, port), port, ready_path="/ready"),
    ):
        pass

    assert not started.exists()


@pytest.mark.parametrize("answer", [b"", b"+PONG\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"])
def test_an_answer_that_is_no_http_is_status_0(answer: bytes) -> None:
    with one_answer(answer) as port:
        assert get(port, "/") == (0, b"")
