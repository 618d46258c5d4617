"""The end of tracing."""

import socket
import time

from service.tracing import start_tracing
from service.tracing.otel import BATCH_SPANS, FLUSH_SECONDS


def test_a_collector_that_takes_and_never_answers_holds_up_no_end():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = start_tracing(f"http://127.0.0.1:{silent.getsockname()[1]}", "test", 1.0)
        for _ in range(4 * BATCH_SPANS):  # the SDK gives each batch its own two seconds
            with tracing.request("POST /recommend", {}):
                pass
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < FLUSH_SECONDS + 1
