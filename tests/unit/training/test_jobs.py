"""Jobs in process: order, retries, failures, and what is said about the time left."""

from collections.abc import Callable

import pytest

from models.contract.errors import ConfigError
from models.training.jobs import InProcess, Job, JobsError, Outcome, as_duration, attempt, do_all
from models.types import Report


class Log(list[str]):
    """What was done and reported."""

    def work(self, name: str, *failures: Exception) -> Job:
        """A job whose first attempts fail."""
        left = list(failures)

        def do(report: Report) -> bool:
            self.append(f"do {name}")
            if left:
                raise left.pop(0)
            return True

        return Job(name, 1.0, do)


def done(log: Log) -> list[str]:
    return [line.removeprefix("do ") for line in log if line.startswith("do ")]


def do_here(log: Log, *jobs: Job) -> None:
    do_all(jobs, InProcess(log.append), log.append)


def test_jobs_are_done_in_their_order_and_counted() -> None:
    log = Log()
    do_here(log, log.work("a"), log.work("b"))
    assert done(log) == ["a", "b"]
    assert [line.strip() for line in log if " of 2" in line] == ["1 of 2, about 0 s left", "2 of 2"]


def test_what_fails_is_tried_again_behind_the_others() -> None:
    log = Log()
    do_here(log, log.work("a", OSError("stale file handle")), log.work("b"))
    assert done(log) == ["a", "b", "a"]
    assert "  a: attempt 1 of 3 failed, is tried again: OSError: stale file handle" in log
    assert any("Traceback" in line for line in log)  # a bug must be found


def test_what_keeps_failing_is_given_up_and_the_others_are_done() -> None:
    log = Log()
    broken = log.work("a", *(OSError(f"no. {number}") for number in range(9)))
    with pytest.raises(JobsError, match=r"1 of 3 failed, the others are done and kept: a: OSError: no\. 2$"):
        do_here(log, broken, log.work("b"), log.work("c"))
    assert done(log) == ["a", "b", "c", "a", "a"]


def test_what_is_refused_on_purpose_is_not_tried_again() -> None:
    log = Log()
    with pytest.raises(JobsError, match="a: no users; b: nobody"):
        do_here(log, log.work("a", ConfigError("no users")), log.work("b", ConfigError("nobody")), log.work("c"))
    assert done(log) == ["a", "b", "c"]


def test_an_interruption_is_no_failure() -> None:
    def interrupted(report: Report) -> bool:
        raise KeyboardInterrupt

    log = Log()
    with pytest.raises(KeyboardInterrupt):
        do_here(log, Job("a", 1.0, interrupted), log.work("b"))
    assert done(log) == []


def test_no_jobs_are_no_work() -> None:
    log = Log()
    do_here(log)
    assert log == []


def returning(value: bool) -> Callable[[Report], bool]:
    return lambda report: value


def test_an_attempt_takes_time_only_where_there_was_something_to_do() -> None:
    assert attempt(Job("a", 1.0, returning(True)), print).seconds > 0
    assert attempt(Job("a", 1.0, returning(False)), print) == Outcome()


class Recorded:
    """Outcomes that happened elsewhere."""

    def __init__(self, slots: int, *outcomes: Outcome) -> None:
        self.slots, self._outcomes, self._jobs = slots, list(outcomes), list[Job]()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next_outcome(self) -> tuple[Job, Outcome]:
        return self._jobs.pop(0), self._outcomes.pop(0)


@pytest.mark.parametrize(
    ("slots", "seconds", "expected"),
    [
        (1, [100.0, 100.0], ["1 of 3, about 3 min 20 s left", "2 of 3, about 1 min 40 s left", "3 of 3"]),
        (2, [100.0, 100.0], ["1 of 3, about 1 min 40 s left", "2 of 3, about 1 min 40 s left", "3 of 3"]),
        (1, [0.0, 100.0], ["1 of 3", "2 of 3, about 1 min 40 s left", "3 of 3"]),  # what was reused says nothing
    ],
)
def test_the_time_left_follows_from_the_pace_so_far(slots: int, seconds: list[float], expected: list[str]) -> None:
    executor = Recorded(slots, *(Outcome(second) for second in [*seconds, 1.0]))
    lines: list[str] = []
    do_all([Job(name, 1.0, returning(True)) for name in "abc"], executor, lines.append)
    assert [line.strip() for line in lines] == expected


def test_a_larger_job_takes_longer() -> None:
    lines: list[str] = []
    jobs = [Job("small", 10.0, returning(True)), Job("large", 50.0, returning(True))]
    do_all(jobs, Recorded(1, Outcome(8.0), Outcome(1.0)), lines.append)
    assert lines[0] == "  1 of 2, about 40 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3_900, "1 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert as_duration(seconds) == text
