"""Labels of adapters are bounded, and go with their bundle."""

from service.gateway.telemetry import Telemetry
from service.gateway.telemetry.pools import MAX_ADAPTERS
from service.workers.types import OutcomeKind, PoolEvent


def counts(telemetry: Telemetry, pool: str = "p") -> dict[str, float]:
    """Calls by adapter."""
    lines = telemetry.exposition().decode().splitlines()
    ours = [
        line for line in lines if line.startswith("localrec_worker_call_seconds_count") and f'pool="{pool}"' in line
    ]
    return {line.split('adapter="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in ours}


def test_adapters_beyond_the_limit_share_a_label_and_none_is_lost():
    telemetry, adapters = Telemetry(), [f"c{number:03d}" for number in range(MAX_ADAPTERS + 3)]
    telemetry.pools.adapters_known("p", frozenset(adapters))
    for adapter in [*reversed(adapters), "never-known"]:
        telemetry.pools.call_ended("p", adapter, OutcomeKind.OK, 0.01)
    found = counts(telemetry)
    assert found == dict.fromkeys(adapters[:MAX_ADAPTERS], 1.0) | {"other": 4.0}


def test_series_of_adapters_that_are_gone_go_and_those_of_other_pools_stay():
    telemetry = Telemetry()
    for pool in ("p", "q"):
        telemetry.pools.adapters_known(pool, frozenset({"old", "kept"}))
        for adapter in ("old", "kept", "strange"):
            telemetry.pools.call_ended(pool, adapter, OutcomeKind.OK, 0.01)
    telemetry.pools.adapters_known("p", frozenset({"kept", "new"}))
    assert counts(telemetry) == {"kept": 1.0, "other": 1.0}
    assert counts(telemetry, "q") == {"old": 1.0, "kept": 1.0, "other": 1.0}


def test_a_pools_counters_begin_at_zero_and_its_calls_in_flight_are_asked_for():
    telemetry, in_flight = Telemetry(), {"http://a": 0, "http://b": 2}
    telemetry.pools.watch("p", lambda: in_flight)
    in_flight["http://a"] = 1
    telemetry.pools.happened("p", PoolEvent.PROBE_FAILED)
    text = telemetry.exposition().decode()
    assert 'localrec_worker_calls_in_flight{pool="p",replica="http://a"} 1.0' in text
    assert 'localrec_worker_calls_in_flight{pool="p",replica="http://b"} 2.0' in text
    assert 'localrec_adapter_probes_total{outcome="failed",pool="p"} 1.0' in text
    assert 'localrec_adapter_probes_total{outcome="passed",pool="p"} 0.0' in text
    assert 'localrec_adapter_misses_total{pool="p"} 0.0' in text
