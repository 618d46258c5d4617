import pytest

from localrec.bench.stages import STAGES, stage_metrics
from models.contract.errors import LocalRecError


def answer(total: float, slowest: float, *, degraded: bool = False) -> dict:
    timings = dict.fromkeys(STAGES, 1.0) | {"total": total, "slowest_call": slowest}
    return {"degraded": degraded, "timings_ms": timings}


def test_medians_and_the_gateways_own_share():
    metrics = stage_metrics([answer(10.0, 8.0), answer(30.0, 29.0), answer(20.0, 14.0, degraded=True)])
    assert metrics["local_total_p50_ms"] == 20.0
    assert metrics["local_slowest_call_p50_ms"] == 14.0
    assert metrics["local_own_share_p50_ms"] == 2.0
    assert metrics["local_degraded_share"] == pytest.approx(1 / 3)


def test_answers_that_asked_no_worker_say_nothing_of_its_time():
    unasked = {"degraded": False, "timings_ms": {"total": 1.0}}
    assert stage_metrics([answer(10.0, 8.0), unasked])["local_total_p50_ms"] == 10.0
    with pytest.raises(LocalRecError, match="asked a worker"):
        stage_metrics([unasked])
