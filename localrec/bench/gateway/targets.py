"""What the gateway should reach: the issue names these figures."""

from localrec.bench.targets import Target

TARGETS = (
    Target("cf_over_reference", 1.0, True, "cf path, cache off, against bare FastAPI + pydantic + one Redis GET"),
    Target("cached_over_reference", 1.5, True, "cached path against the same"),
    Target("local_cpu_engine_ms", 2.5, False, "own CPU time of a nine-community request, ms, one fan-out (engine)"),
    Target("local_cpu_vllm_ms", 2.5, False, "the same, nine completions (vLLM)"),
    Target("cf_p99_over_p50_at_70", 5.0, False, "cf: p99 against p50 at 70 % of the highest sustained rate"),
    Target("local_p99_over_p50_at_70", 5.0, False, "local: the same, stub workers answering at once"),
    Target(
        "slow_community_p99_over_deadline_ms", 10.0, False, "one community 10 x slower: p99 beyond the deadline, ms"
    ),
    Target("overload_goodput_over_capacity", 0.8, True, "3 x capacity: lists within the deadline, against capacity"),
    Target(
        "overload_p99_over_deadline_ms", 0.0, False, "3 x capacity: p99 of accepted requests beyond the deadline, ms"
    ),
)
