"""What the engine measures about itself."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BATCH_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What a batch asked of the model.

    Args:
        prompts: distinct ones.
        tokens: in the prompts of all queries.
        computed: rows of tokens that went through a layer, mean over the layers: fewer, as much is shared.
    """

    prompts: int
    tokens: int
    computed: float


class Telemetry:
    """The engine's metrics, in a registry of their own: an application's metrics end with it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "localrec_engine_requests", "Requests by outcome.", ["endpoint", "outcome"], registry=self._registry
        )
        self._batch_size = Histogram(
            "localrec_engine_batch_size",
            "Calls (a prompt under an adapter) in a batch.",
            buckets=BATCH_SIZES,
            registry=self._registry,
        )
        self._batch_prompts = Histogram(
            "localrec_engine_batch_prompts",
            "Distinct prompts in a batch.",
            buckets=BATCH_SIZES,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "localrec_engine_batch_seconds", "Time of a batch.", buckets=BATCH_SECONDS, registry=self._registry
        )
        self._tokens = Counter(
            "localrec_engine_tokens_in_prompts", "Tokens in the prompts of all calls.", registry=self._registry
        )
        self._computed = Counter(
            "localrec_engine_tokens_computed",
            "Rows of tokens that went through a layer, mean over the layers: what prompts share goes through once.",
            registry=self._registry,
        )

    def watch(
        self,
        queue_length: Callable[[], int],
        queue_calls: Callable[[], int],
        loaded_adapters: Callable[[], int],
        adapter_bytes: Callable[[], int],
    ) -> None:
        """Add what is read at the moment when metrics are asked for."""
        queue = Gauge("localrec_engine_queue_length", "Requests that wait.", registry=self._registry)
        queue.set_function(queue_length)
        calls = Gauge("localrec_engine_queue_calls", "Calls that wait.", registry=self._registry)
        calls.set_function(queue_calls)
        adapters = Gauge("localrec_engine_loaded_adapters", "Adapters that are resident.", registry=self._registry)
        adapters.set_function(loaded_adapters)
        memory = Gauge("localrec_engine_adapter_bytes", "Memory that adapters take.", registry=self._registry)
        memory.set_function(adapter_bytes)

    def request_done(self, endpoint: str, outcome: str) -> None:
        """Count a request. Both labels come from fixed sets."""
        self._requests.labels(endpoint, outcome).inc()

    def batch_formed(self, cost: BatchCost) -> None:
        """Observe what a batch asks of the model."""
        self._batch_prompts.observe(cost.prompts)
        self._tokens.inc(cost.tokens)
        self._computed.inc(cost.computed)

    def batch_done(self, size: int, seconds: float) -> None:
        """Observe a batch of ``size`` calls."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
