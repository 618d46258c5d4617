"""The steady profile: a constant rate of ``POST /recommend`` from users drawn by Zipf's law.

Each simulated client sends one request a second as long as the service keeps up, so ``--users`` is the rate.

    scripts/loadtest --users-file users.txt --users 20 --duration 30s

Exit code 0 where the run holds its thresholds, 1 where it does not, 2 where it could not start.
"""

import sys
from pathlib import Path
from typing import ClassVar

from locust import FastHttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtests.sampling import ZipfSampler, read_user_ids
from loadtests.summary import Summary, Thresholds, breaches, judge, render
from loadtests.target import check_target

# Degraded responses are counted under a name of their own, so that locust keeps their figures and adds them up
# over processes.
FULL = "/recommend"
DEGRADED = "/recommend (degraded)"


class SteadyClient(FastHttpUser):
    """One simulated client; every request is for another user."""

    wait_time = between(0.5, 1.5)  # one request a second on average, and not all clients at the same moment
    connection_timeout = 5.0
    network_timeout = 5.0
    sampler: ClassVar[ZipfSampler]

    @task
    def recommend(self) -> None:
        n = self.environment.parsed_options.n
        body = {"user_id": self.sampler.draw(), "n": n}
        with self.client.post("/recommend", json=body, name=FULL, catch_response=True) as response:
            verdict = judge(response.status_code, response.content, n)
            if verdict.failure:
                response.failure(verdict.failure)
            elif verdict.degraded:
                response.request_meta["name"] = DEGRADED


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """The profile's own arguments, next to locust's."""
    group = parser.add_argument_group("Steady profile")
    group.add_argument("--users-file", type=Path, help="Text file, one user id a line, the most active first")
    group.add_argument("--n", type=int, default=10, help="Items asked for in each request (default 10)")
    group.add_argument("--zipf-exponent", type=float, default=1.0, help="Skew of the users; 0 is even (default 1)")
    group.add_argument("--seed", type=int, default=0, help="Seed of the order of users (default 0)")
    group.add_argument("--max-error-share", type=float, default=0.0, help="Failed requests allowed, of all (default 0)")
    group.add_argument("--max-p99-ms", type=float, default=500.0, help="99th percentile allowed, in ms (default 500)")
    group.add_argument("--allow-remote", action="store_true", help="Allow a --host that is not this machine")


@events.init.add_listener
def prepare(environment: Environment, runner: object, web_ui: object) -> None:
    """Check the target and read the users before the first request; exit with 2 where that fails."""
    options = environment.parsed_options
    try:
        check_target(environment.host, allow_remote=options.allow_remote)
        if options.users_file is None:
            raise ValueError("--users-file: expected a text file, one user id a line")
        user_ids = read_user_ids(options.users_file)
        SteadyClient.sampler = ZipfSampler(user_ids, exponent=options.zipf_exponent, seed=options.seed)
    except ValueError as exc:
        print(f"loadtest: {exc}", file=sys.stderr)
        sys.exit(2)


@events.quitting.add_listener
def conclude(environment: Environment) -> None:
    """Set the exit code from the thresholds, and print the summary below locust's own tables."""
    options = environment.parsed_options
    summary = summarize(environment)
    broken = breaches(summary, Thresholds(options.max_error_share, options.max_p99_ms))
    environment.process_exit_code = 1 if broken else 0
    environment.events.quit.add_listener(lambda exit_code: print(render(summary, broken)))


def summarize(environment: Environment) -> Summary:
    """The run's figures out of locust's statistics."""
    stats = environment.stats
    total = stats.total
    return Summary(
        requests=total.num_requests,
        failures=total.num_failures,
        degraded=stats.get(DEGRADED, "POST").num_requests,
        requests_per_second=total.total_rps,
        p50_ms=total.get_response_time_percentile(0.50),
        p95_ms=total.get_response_time_percentile(0.95),
        p99_ms=total.get_response_time_percentile(0.99),
    )
