import pytest

from localrec.bench.fanout.targets import TARGETS as FANOUT_TARGETS
from localrec.bench.gateway.targets import TARGETS as GATEWAY_TARGETS
from localrec.bench.targets import Target, print_targets

LEAST, MOST = Target("m", 2.0, True, "what"), Target("m", 2.0, False, "what")


def test_a_target_says_whether_it_was_reached():
    assert "reached" in LEAST.verdict({"m": 2.0})
    assert "MISSED" in LEAST.verdict({"m": 1.9})
    assert "reached" in MOST.verdict({"m": 1.9})
    assert "MISSED" in MOST.verdict({"m": 2.1})
    assert "not run" in MOST.verdict({})


def test_the_record_says_the_same():
    assert LEAST.record({"m": 1.9}) == {"what": "what", "target": ">= 2", "measured": 1.9, "reached": False}
    assert MOST.record({"m": 1.9})["reached"] is True
    assert MOST.record({}) == {"what": "what", "target": "<= 2", "measured": None, "reached": None}


@pytest.mark.parametrize("targets", [FANOUT_TARGETS, GATEWAY_TARGETS])
def test_the_table_has_a_line_a_target(targets: tuple[Target, ...], capsys: pytest.CaptureFixture[str]):
    print_targets(targets, {targets[0].metric: 1.0})
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1 + len(targets)
    assert sum("not run" in line for line in lines) == len(targets) - 1
