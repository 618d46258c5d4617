"""Expositions of several processes become one that is valid, and says which sample is whose."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from service.gateway.processes.exposition import merged
from service.gateway.telemetry import PROCESSES, RequestLabels, Telemetry
from service.gateway.types import Trace

ODD = 'a"b\\c\nd\u2028e{f} g'  # what label values may hold


def exposition(value: float, openmetrics: bool = False) -> str:
    registry = CollectorRegistry()
    Counter("asked", "Asked", ["who"], registry=registry).labels(ODD).inc(value)
    Gauge("level", "Level", registry=registry).set(value)
    write = generate_openmetrics if openmetrics else generate_latest
    return str(write(registry).decode())


@pytest.mark.parametrize("openmetrics", [False, True])
def test_samples_of_all_have_their_process_and_families_occur_once(openmetrics: bool):
    text = merged({number: exposition(number + 1.5, openmetrics) for number in range(3)})
    parse = parse_openmetrics if openmetrics else parse_text
    samples = [sample for family in parse(text) for sample in family.samples]
    found = {(s.name, s.labels["process"]): s.value for s in samples if not s.name.endswith("_created")}
    assert found == {(name, str(n)): n + 1.5 for name in ("asked_total", "level") for n in range(3)}
    assert {sample.labels["who"] for sample in samples if sample.name == "asked_total"} == {ODD}
    heads = [line for line in text.split("\n") if line.startswith(("# HELP", "# TYPE"))]
    assert len(set(heads)) == len(heads)
    assert text.count("# EOF") == openmetrics
    assert text.endswith("# EOF\n") is openmetrics


def test_a_family_that_only_one_has_is_there_and_one_that_speaks_of_all_is_its_own():
    first = exposition(1) + "# HELP all All\n# TYPE all gauge\nall 2.0\n"
    second = exposition(2) + "# HELP all All\n# TYPE all gauge\nall 7.0\n# TYPE rare gauge\nrare 1.0\n"
    text = merged({4: first, 1: second}, whole={"all"})
    assert "\nall 2.0\n" in text
    assert "7.0" not in text
    assert 'rare{process="1"} 1.0' in text


def test_all_that_a_gateway_exposes_survives_with_exemplars():
    telemetry = Telemetry()
    telemetry.request_ended(RequestLabels("/recommend", "local", "", "ok"), 0.004, Trace(), "r")
    alone = telemetry.exposition(openmetrics=True).decode()
    text = merged({0: alone, 1: alone}, whole={PROCESSES})
    before, after = ([s for family in parse_openmetrics(t) for s in family.samples] for t in (alone, text))
    ours = [sample for sample in before if sample.name != PROCESSES]
    assert len(after) == len(before) + len(ours)
    assert sum(sample.exemplar is not None for sample in after) == 2
