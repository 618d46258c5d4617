"""Puts a service under load that does not wait for its answers, and prints whether it holds its thresholds.

    scripts/loadtest --profile steady --duration 60      # the running demo, http://127.0.0.1:8080
    python -m loadtests --profile spike --rate 200 --processes 2

Over several machines: one with --expect-workers N, N others with --worker --master-host ITS_ADDRESS. Exit code 0: the
thresholds hold; 1: they do not; 2: it could not start.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

from loadtests.plan import Plan, Thresholds
from loadtests.profiles import PROFILES, Profile
from loadtests.target import check_ready, check_target, items_of
from loadtests.traffic import Bodies
from localrec.bench.users import read_user_ids

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
DEMO_HOST, DEMO_USERS = "http://127.0.0.1:8080", Path("runs/demo/users.txt")
SERVICE_DEADLINE_MS = 200  # deploy/gateway.toml's
NEED_ITEMS = {"stranger", "event", "check"}
MAX_CONNECTIONS = 900  # select() knows no more than 1,024 files
PROFILE_LINES = "; ".join(f"{name}: {profile.words}" for name, profile in PROFILES.items())


class _Share(click.FloatRange):
    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)


@click.command(context_settings={"show_default": True, "max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.option(
    "--profile", type=click.Choice(list(PROFILES)), default="steady", help=f"Kind of traffic. {PROFILE_LINES}."
)
@click.option("--host", default=DEMO_HOST, help="Base URL of the service.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Requests per second at full level. Default: the profile's."
)
@click.option("--duration", type=click.FloatRange(1), help="Seconds in which requests are due. Default: the profile's.")
@click.option(
    "--users-file",
    type=click.Path(path_type=Path),
    default=DEMO_USERS,
    help="One user id a line, the most active first.",
)
@click.option(
    "--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson", help="When requests are due."
)
@click.option("--zipf-exponent", type=click.FloatRange(0), default=1.0, help="Skew of the users; 0 is even.")
@click.option("--n", type=click.IntRange(1, 100), default=10, help="Items of a list.")
@click.option("--seed", default=0, help="Of users, times and bodies.")
@click.option(
    "--deadline-ms",
    type=click.IntRange(1, 10_000),
    help=f"Of each request. Default: the service's, taken to be {SERVICE_DEADLINE_MS} ms.",
)
@click.option("--timeout", type=click.FloatRange(0.1), default=10.0, help="Seconds after which there is no answer.")
@click.option(
    "--connections",
    type=click.IntRange(1, MAX_CONNECTIONS),
    default=800,
    help="Requests in flight of a process, at most.",
)
@click.option("--max-error-share", type=_Share(), default=0.001, help="Failed requests allowed, of all.")
@click.option(
    "--max-p99-ms",
    type=click.FloatRange(0),
    help="99th percentile allowed, from when requests were due. Default: the deadline.",
)
@click.option("--max-degraded-share", type=_Share(), default=0.05, help="Degraded answers allowed, of all.")
@click.option("--max-late-share", type=_Share(), default=0.01, help="Answers after the deadline allowed, of all.")
@click.option(
    "--min-achieved-share", type=_Share(), default=0.98, help="Requests that must be answered in the run, of those due."
)
@click.option(
    "--max-p99-gap",
    type=_Share(),
    help="Difference allowed between the 99th percentiles of client and service. Default: it is shown.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/loadtest"), help="Directory of the reports.")
@click.option("--allow-remote", is_flag=True, help="Allow a --host that is not this machine.")
@click.option("--processes", type=click.IntRange(1), default=1, help="That send, on this machine.")
@click.option("--expect-workers", type=click.IntRange(1), help="Wait for so many --worker processes, which send.")
@click.option("--worker", is_flag=True, help="Send what a master says.")
@click.option(
    "--master-host", default="127.0.0.1", help="Of a worker: where its master is; of a master: where it listens."
)
@click.option("--master-port", type=click.IntRange(1, 65_535), default=5557, help="Of the master.")
def main(
    worker: bool, master_host: str, master_port: int, processes: int, expect_workers: int | None, **flags: Any
) -> None:
    """Requests are due at a rate, whatever became of those before; latency counts from when they were due."""
    if worker:
        _start("--worker", "--master-host", master_host, "--master-port", str(master_port))
    try:
        plan = make_plan(**flags)
    except ValueError as exc:
        click.echo(f"loadtest: {exc}", err=True)
        sys.exit(2)
    out = Path(plan.out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "plan.json"
    file.write_text(plan.to_json(), encoding="utf-8")
    master = ["--master-bind-host", master_host, "--master-bind-port", str(master_port)]
    if expect_workers is not None:
        _start("--plan", str(file), "--master", "--expect-workers", str(expect_workers), *master)
    _start(
        "--plan",
        str(file),
        *(["--processes", str(processes), "--master-port", str(master_port), *master] if processes > 1 else []),
    )


def make_plan(
    *,
    profile: str,
    host: str,
    rate: float | None,
    duration: float | None,
    users_file: Path,
    arrivals: Any,
    zipf_exponent: float,
    n: int,
    seed: int,
    deadline_ms: int | None,
    timeout: float,
    connections: int,
    max_p99_ms: float | None,
    out: Path,
    allow_remote: bool,
    **thresholds: Any,
) -> Plan:
    """The plan of these flags, for a service that is ready. Raises ValueError where something is wrong with them."""
    host = host.rstrip("/")
    check_target(host, allow_remote=allow_remote)
    check_ready(host)
    kind, user_ids = PROFILES[profile], read_user_ids(users_file)
    deadline = (deadline_ms or SERVICE_DEADLINE_MS) * (1.0 if deadline_ms else kind.deadline_factor)
    return Plan(
        profile=profile,
        host=host,
        rate=rate or kind.rate,
        duration_seconds=duration or kind.duration_seconds,
        bodies=Bodies(n, seed, zipf_exponent, deadline_ms),
        out=str(out),
        user_ids=tuple(user_ids),
        item_ids=items_of(host, user_ids) if _needs_items(kind) else (),
        law=arrivals,
        deadline_ms=deadline,
        timeout_seconds=timeout,
        connections=connections,
        thresholds=Thresholds(max_p99_ms=deadline if max_p99_ms is None else max_p99_ms, **thresholds),
    )


def _needs_items(profile: Profile) -> bool:
    return bool(NEED_ITEMS & profile.kinds.keys())


def _start(*arguments: str) -> None:
    """Become locust."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--loglevel", "WARNING", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - our own arguments


if __name__ == "__main__":
    main()
