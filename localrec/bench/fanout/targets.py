"""What the fan-out should reach: issue and docs/results name these figures."""

from localrec.bench.targets import Target

TARGETS = (
    Target(
        "nine_over_one_default", 2.0, False, "nine adapters against one, one user, default configuration (one layer)"
    ),
    Target("nine_over_one_3_layers_last_1", 1.2, False, "the same, three layers, adapters in the last"),
    Target("title_nine_over_nine_single", 0.35, False, "title form, nine adapters at once against nine single calls"),
    Target("http_3_layers_requests_per_second", 150, True, "HTTP, nine adapters in three layers, requests/s"),
    Target("http_3_layers_p99_at_half_ms", 30, False, "p99 at half that load, ms"),
    Target("http_last_layer_requests_per_second", 400, True, "HTTP, nine adapters in the last layer, requests/s"),
    Target("http_last_layer_p99_at_half_ms", 30, False, "p99 at half that load, ms"),
    Target("http_default_on_gpu_requests_per_second", 2_000, True, "the default on an H200, requests/s"),
    Target("http_default_on_gpu_p99_at_half_ms", 50, False, "p99 at half that load, ms"),
    Target("engine_over_vllm", 10, True, "engine against vLLM, default checkpoint, nine adapters a request"),
    Target("engine_over_vllm_3_layers", 10, True, "the same, three layers with adapters"),
    Target("p99_while_loading_over_quiet", 2, False, "p99 while adapters are loaded, against without"),
    Target("failures_while_loading", 0, False, "failed requests meanwhile"),
    Target(
        "lists_with_half_the_slots",
        0.7,
        True,
        "lists at one rate, twice as many adapters as slots, against all resident",
    ),
)
