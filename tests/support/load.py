"""Clients that ask one gateway as fast as it answers, until it refuses connections."""

import http.client
import json
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

BODY = json.dumps({"user_id": "u0", "n": 5})


@dataclass(frozen=True)
class Answer:
    """An answer, when its request was sent, and whether it ends the connection."""

    sent_at: float
    closes: bool


class Clients(AbstractContextManager["Clients"]):
    """``fresh`` of them open a connection for each request, ``kept`` keep theirs until an answer closes it.

    Attributes:
        answered: what came.
        lost: what became of requests that were let in and not answered with 200.
    """

    def __init__(self, port: int, fresh: int, kept: int) -> None:
        self.answered: list[Answer] = []
        self.lost: list[str] = []
        self._port = port
        keeps = [False] * fresh + [True] * kept
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in keeps]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self, keeps: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while True:
            if connection.sock is None:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return
                except OSError as exc:
                    self.lost.append(f"connect: {exc!r}")
                    return
            try:
                self._post(connection)
            except (OSError, http.client.HTTPException) as exc:
                self.lost.append(f"{'kept' if keeps else 'fresh'}: {exc!r}")
                connection.close()
            if not keeps:
                connection.close()

    def _post(self, connection: http.client.HTTPConnection) -> None:
        sent_at = time.monotonic()
        connection.request("POST", "/recommend", BODY)
        reply = connection.getresponse()
        body = reply.read()
        if reply.status == 200:
            self.answered.append(Answer(sent_at, reply.will_close))
        elif reply.status != 503:  # it may say that it has too much to do
            self.lost.append(f"{reply.status}: {body!r}")
