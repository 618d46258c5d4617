"""Which requests are traced, and the end of it."""

import socket
import time

import pytest

from service.tracing import start_tracing
from service.tracing.otel import BATCH_SPANS, FLUSH_SECONDS, OpenTelemetry


def test_a_collector_that_takes_and_never_answers_holds_up_no_end():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = start_tracing(f"http://127.0.0.1:{silent.getsockname()[1]}", "test", 1.0)
        for _ in range(4 * BATCH_SPANS):  # the SDK gives each batch its own two seconds
            with tracing.request("POST /recommend", {}):
                pass
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < FLUSH_SECONDS + 1


@pytest.mark.parametrize(
    ("parent", "traced"),
    [
        ("", False),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", False),
        ("00-00000000000000000000000000000000-0000000000000000-01", False),
        ("nonsense", False),
    ],
)
def test_only_a_parent_that_can_be_read_takes_the_place_of_the_sample(parent: str, traced: bool):
    tracing = OpenTelemetry("http://127.0.0.1:1", "test", 0.5, chance=lambda: 0.5)
    with tracing.request("POST /recommend", {"traceparent": parent} if parent else {}):
        headers: dict[str, str] = {}
        with tracing.call("worker", headers):
            assert int(headers.get("traceparent", "00")[-2:], 16) & 1 == traced
    tracing.close()
