"""What locust runs: one user in each process, who sends the process's share of the plan.

``python -m loadtests`` writes the plan and starts locust with it. Locust brings its processes together: the master says
to each which requests are its own and when the first one is due, and gathers what came of them.
"""

import logging
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult
from locust import LoadTestShape, User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtests.conclusion import conclude, scrape
from loadtests.plan import Plan, plan_of
from loadtests.samples import Table
from loadtests.sender import Row, Sender
from localrec.bench.scrape import Scrape

LEAD_SECONDS = 1.0  # until all processes have heard of the start
GRACE_SECONDS = 5.0  # for what was sent last, beyond its own time limit


class Run:
    """The run as its master sees it.

    Args:
        plan: what is to be done.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = Table()
        self.before = Scrape({})
        self.processes = 1
        self._ends_at = float("inf")
        self._drained = 0

    def begin(self, runner: LocalRunner | MasterRunner) -> None:
        """Tell each process its share."""
        clients = sorted(client.id for client in runner.clients.ready) if isinstance(runner, MasterRunner) else [None]
        self.processes = len(clients)
        self.before = scrape(self.plan.host)
        start_at = time.time() + LEAD_SECONDS
        self._ends_at = start_at + self.plan.duration_seconds + 2 * self.plan.timeout_seconds + GRACE_SECONDS
        for index, client_id in enumerate(clients):
            share = {"plan": self.plan.to_json(), "index": index, "processes": len(clients), "start_at": start_at}
            runner.send_message("share", share, client_id)

    def ended(self) -> bool:
        """Whether all processes have all their answers, or should have them by now."""
        return self._drained == self.processes or time.time() > self._ends_at

    def take(self, rows: list[Row]) -> None:
        """Keep samples."""
        self.table.extend(rows)

    def drained(self) -> None:
        """One more process has all its answers."""
        self._drained += 1


class Processes(LoadTestShape):
    """One user in each process until the run has ended."""

    def tick(self) -> tuple[int, float] | None:
        run: Run = self.runner.environment.localrec_run
        if run.ended():
            return None
        processes = self.runner.worker_count if isinstance(self.runner, LocalRunner) else run.processes
        return max(processes, _ready(self.runner)), 100.0


class Open(User):
    """The one user of a process."""

    wait_time = constant(3_600.0)

    @task
    def send(self) -> None:
        """Send the process's share, once."""
        runner, share = self.environment.runner, self.environment.localrec_share.get()

        def deliver(rows: list[Row]) -> None:
            runner.send_message("samples", {"rows": rows})

        sender = Sender(plan_of(share["plan"]), share["index"], share["processes"], share["start_at"], deliver)
        sender.run()
        runner.send_message("drained", {})
        gevent.sleep(3_600.0)  # locust ends it


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """The plan is all that there is to say."""
    # Text, as locust sends its options to all processes, and knows no paths there.
    parser.add_argument("--plan", help="File with the plan of the run, as python -m loadtests writes it")


@events.init.add_listener
def prepare(environment: Environment, runner: Any, **_: Any) -> None:
    """Listen to the other processes."""
    logging.getLogger("locust.stats_logger").disabled = True  # its tables know nothing of when requests were due
    if not isinstance(runner, MasterRunner):
        environment.localrec_share = AsyncResult()
        runner.register_message("share", lambda msg, **_: environment.localrec_share.set(msg.data))
    if not isinstance(runner, WorkerRunner):
        run = environment.localrec_run = Run(plan_of(Path(environment.parsed_options.plan).read_bytes()))
        runner.register_message("samples", lambda msg, **_: run.take(msg.data["rows"]))
        runner.register_message("drained", lambda **_: run.drained())


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """The master's word to all processes."""
    if not isinstance(environment.runner, WorkerRunner):
        environment.localrec_run.begin(environment.runner)


@events.quitting.add_listener
def end(environment: Environment, **_: Any) -> None:
    """Write the reports; the exit code says whether the thresholds hold."""
    if not isinstance(environment.runner, WorkerRunner):
        run = environment.localrec_run
        environment.process_exit_code = 0 if conclude(run.plan, run.table, run.before) else 1


def _ready(runner: Any) -> int:
    return len(runner.clients.ready) if isinstance(runner, MasterRunner) else 1
