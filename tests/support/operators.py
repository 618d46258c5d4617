"""A gateway with its operators' port."""

from dataclasses import dataclass
from typing import Any

from support.gateway import RunningGateway
from support.http import Reply, request


@dataclass(frozen=True)
class Operators:
    """Speaks to the operators' port of a gateway."""

    gateway: RunningGateway
    port: int

    def get(self, path: str, **headers: str) -> Reply:
        return request(self.port, "GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return request(self.port, "POST", path, body, headers=headers)
