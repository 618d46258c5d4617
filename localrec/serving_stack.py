"""``localrec serve stack``: a bundle served on one machine, in the foreground."""

import json
import signal
from contextlib import suppress
from pathlib import Path

import click

from localrec.stack import Stack, WorkerKind, running_stack
from models.contract.bundle import verify_bundle
from models.contract.errors import ConfigError
from models.stage import NEWEST


def serve_stack(
    bundle_directory: Path | None, run: Path, directory: Path, workers: WorkerKind, *, port: int, admin_port: int
) -> None:
    """Serve until SIGINT or SIGTERM, then end everything.

    Args:
        bundle_directory: what is served; None: the newest bundle of ``run``.
        run: a run directory.
        directory: of Redis' data and the logs.
        workers: what serves the local models.
        port: of the gateway.
        admin_port: of the operators' endpoints; 0: there are none.

    Raises:
        ConfigError: the run has no bundle.
        LocalRecError: a part does not start; names its log.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bundle = verify_bundle(bundle_directory or newest_bundle(run))
    click.echo(f"{bundle.id}: starting Redis, worker ({workers}) and gateway; logs are in {directory}")
    started = running_stack(bundle, directory, workers=workers, gateway_port=port, admin_port=admin_port, keep=True)
    with suppress(KeyboardInterrupt), started as stack:
        click.echo(f"{addresses(stack, admin_port)}\nserving {bundle.id}; Ctrl-C ends everything")
        signal.pause()


def newest_bundle(run: Path) -> Path:
    """The bundle that a run made last. Raises ConfigError where it has made none in the run directory."""
    pointer = run / NEWEST
    if not pointer.is_file():
        raise ConfigError(f"--run: {run} has no bundle; make one with localrec run --run {run}, or name a --bundle")
    return run / "bundles" / str(json.loads(pointer.read_bytes())["bundle_id"])


def addresses(stack: Stack, admin_port: int) -> str:
    """Where everything of a service is, a line each. ``admin_port``: 0, there is none."""
    lines = [f"gateway  {_at(stack.gateway_port)}   /recommend /events /items /users /openapi.json /readyz /metrics"]
    if admin_port:
        lines.append(f"console  {_at(admin_port)}/console")
        lines.append(f"admin    {_at(admin_port)}   /admin/bundles /admin/workers /admin/experiments /admin/items")
    lines += [f"worker   {_at(worker.port)}   {part} ({worker.kind})" for part, worker in stack.workers.items()]
    return "\n".join([*lines, f"redis    {stack.redis_url}"])


def _at(port: int) -> str:
    return f"http://127.0.0.1:{port}"
