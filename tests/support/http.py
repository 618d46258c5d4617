"""A small blocking HTTP client over one connection at a time."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """Status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    *,
    chunked: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on a fresh connection. Bodies that are not bytes are sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        payload = [data[at : at + 8192] for at in range(0, len(data), 8192)] if chunked and data is not None else data
        connection.request(
            method, path, payload, encode_chunked=chunked, headers=_headers(chunked) | dict(headers or {})
        )
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def _headers(chunked: bool) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers | {"Transfer-Encoding": "chunked"} if chunked else headers
