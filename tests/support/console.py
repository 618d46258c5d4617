"""A whole service with its console: two bundles that can be served and one that cannot, experiments, and a report."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from redis import Redis

from localrec.processes import free_port
from localrec.stack import CPU_DEADLINE_MS, Stack, running_stack, running_worker
from models import pointer
from models.contract.bundle import CATALOGUE, MANIFEST, Bundle, open_bundle, write_manifest
from models.evaluation.measure import as_json
from models.online import tables
from models.online.outcomes import Scope
from models.online.report import experiment_report
from models.online.rows import ReportOptions
from models.online.simulate import SimulationOptions, simulate
from models.publish import publish

REPORTED_USERS = 4_000
EFFECT = 0.3  # true lift of what users do
EXPERIMENTS = """
[holdout]
share = 0.05
pipeline = "cf"

[[layers]]
name = "ranking"
[[layers.experiments]]
name = "local-against-cf"
coverage = 0.9
[[layers.experiments.variants]]
name = "local"
weight = 50
pipeline = "local"
parameters = {deadline_ms = 9000, fusion = {method = "rrf", k = 20.0}}
[[layers.experiments.variants]]
name = "cf"
weight = 50
pipeline = "cf"

[[layers]]
name = "arrangement"
[[layers.experiments]]
name = "variety"
starts = 2026-01-05T08:00:00Z
[[layers.experiments.variants]]
name = "control"
weight = 1
[[layers.experiments.variants]]
name = "diverse"
weight = 1
parameters = {diversity = 0.3}

[[shadows]]
name = "cf-beside"
share = 0.5
pipeline = "cf"
"""


@dataclass(frozen=True)
class Console:
    """Where it is, and the ids of its bundles: in service, another one, and one that lacks a file."""

    stack: Stack
    port: int
    bundle: Bundle
    other: str
    broken: str
    directory: Path
    parts: ExitStack

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def restart_worker(self) -> None:
        """Where it was, after it was killed; it ends with the service."""
        again = running_worker(self.bundle, self.directory, "engine", self.stack.worker_port)
        self.parts.enter_context(again)


@contextmanager
def running_console(
    bundle: Bundle,
    directory: Path,
    *,
    deadline_ms: int = CPU_DEADLINE_MS,
    reported_users: int = REPORTED_USERS,
    shows_broken: bool = True,
) -> Iterator[Console]:
    """Serve copies of a bundle, with everything that the console shows, while the context lasts.

    Args:
        bundle: its copies are served, not itself.
        directory: for all of it; its path is short.
        deadline_ms: of requests that name none; default: enough for whatever machine, as lists are looked at.
        reported_users: of the simulated experiment whose report is shown.
        shows_broken: whether the bundle that lacks a file is published.
    """
    served, other, broken = copies(bundle, directory / "bundles")
    experiments, report, port = directory / "experiments.toml", directory / "report.json", free_port()
    experiments.write_text(EXPERIMENTS)
    write_report(report, directory / "simulated", reported_users)
    environment = {
        "LOCALREC_EXPERIMENTS_FILE": str(experiments),
        "LOCALREC_EXPERIMENTS_POLL_MS": "100",
        "LOCALREC_BUNDLE_POLL_MS": "100",
        "LOCALREC_DEFAULT_DEADLINE_MS": str(deadline_ms),
        "LOCALREC_ADMIN__EXPERIMENT_REPORT": str(report),
    }

    def publish_all(_: Bundle, redis: Redis) -> None:
        publish(other, redis)
        publish(served, redis)
        if shows_broken:
            pointer.mark_published(broken, redis)

    with (
        running_stack(served, directory, admin_port=port, publish=publish_all, environment=environment) as stack,
        ExitStack() as parts,
    ):
        yield Console(stack, port, served, other.id, broken, directory, parts)


def copies(bundle: Bundle, root: Path) -> tuple[Bundle, Bundle, str]:
    """Two copies of a bundle, the first of the same id, and the id of one that lacks its catalogue."""
    served = Path(shutil.copytree(bundle.directory, root / bundle.id))
    other, broken = (_renamed(bundle, root / f"{bundle.manifest.config['name']}-{part}") for part in ("next", "broken"))
    broken.path(CATALOGUE).unlink()
    return open_bundle(served), other, broken.id


def write_report(file: Path, data: Path, users: int) -> None:
    """What ``localrec experiment report simulated --json FILE`` writes, of simulated users."""
    simulate(SimulationOptions(users, EFFECT), data)
    exposures, events = (tables.read(data, kind) for kind in (tables.EXPOSURES, tables.EVENTS))
    scope = Scope("simulated", segments=("context.device",))
    file.write_bytes(as_json(experiment_report(exposures, events, scope, ReportOptions(), {})))


def _renamed(bundle: Bundle, directory: Path) -> Bundle:
    shutil.copytree(bundle.directory, directory, ignore=shutil.ignore_patterns(MANIFEST))
    return write_manifest(directory, msgspec.structs.replace(bundle.manifest, bundle_id=directory.name))
