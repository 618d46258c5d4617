"""The shorter processes live, the longer the next one waits."""

from service.gateway.processes.backoff import LONGEST_SECONDS, WELL_SECONDS, Backoff


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_long_life():
    backoff = Backoff()
    waits = [backoff.after(0.5) for _ in range(10)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == LONGEST_SECONDS
    assert backoff.after(WELL_SECONDS) == 0.1
    assert backoff.after(1.0) == 0.1
    assert backoff.after(1.0) == 0.2
