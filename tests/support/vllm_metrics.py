"""Metrics as a stock vLLM server exposes them: those that our dashboards show.

Names, types and labels are those of vllm/v1/metrics/loggers.py of vLLM 0.32.0; where its environment is installed,
tests/unit/deploy/test_dashboards.py compares the names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

LABELS = {"model_name": "base", "engine": "0"}
GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
COUNTERS = (
    "vllm:prefix_cache_queries",
    "vllm:prefix_cache_hits",
    "vllm:num_preemptions",
    "vllm:prompt_tokens",
    "vllm:generation_tokens",
)
BY_REASON = "vllm:request_success"
HISTOGRAMS = ("vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds")
NAMES = (*GAUGES, *COUNTERS, BY_REASON, *HISTOGRAMS)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def vllm_metrics(port: int) -> Iterator[None]:
    """Serve ``GET /metrics`` of a busy vLLM: each time that somebody looks, it has done some more."""
    registry = CollectorRegistry()
    for name in GAUGES:
        Gauge(name, name, LABELS, registry=registry).labels(**LABELS).set(0.5)
    counters = [Counter(name, name, LABELS, registry=registry).labels(**LABELS) for name in COUNTERS]
    ended = Counter(BY_REASON, BY_REASON, [*LABELS, "finished_reason"], registry=registry)
    counters += [ended.labels(**LABELS, finished_reason=reason) for reason in ("stop", "length", "abort")]
    histograms = [Histogram(name, name, LABELS, registry=registry).labels(**LABELS) for name in HISTOGRAMS]
    exposition = make_wsgi_app(registry)

    def application(environ, start_response):
        for counter in counters:
            counter.inc()
        for histogram in histograms:
            histogram.observe(0.01)
        return exposition(environ, start_response)

    with make_server("127.0.0.1", port, application, handler_class=_Quiet) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
