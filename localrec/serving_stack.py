"""``localrec serve stack``: a bundle served on one machine, in the foreground."""

import json
import signal
from contextlib import suppress
from pathlib import Path

import click

from localrec.stack import Stack, WorkerKind, running_stack
from models.contract.bundle import Bundle, verify_bundle
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
        click.echo(_addresses(stack, bundle, admin_port))
        signal.pause()


def newest_bundle(run: Path) -> Path:
    """The bundle that a run made last. Raises ConfigError where it has made none in the run directory."""
    pointer = run / NEWEST
    if not pointer.is_file():
        raise ConfigError(f"--run: {run} has no bundle; make one with localrec run --run {run}, or name a --bundle")
    return run / "bundles" / str(json.loads(pointer.read_bytes())["bundle_id"])


def _addresses(stack: Stack, bundle: Bundle, admin_port: int) -> str:
    gateway = f"http://127.0.0.1:{stack.gateway_port}"
    lines = [f"gateway  {gateway}   /recommend /events /items /users /openapi.json /readyz /metrics"]
    if admin_port:
        lines.append(f"admin    http://127.0.0.1:{admin_port}   /admin/bundles /admin/workers /admin/experiments")
    lines.append(f"redis    {stack.redis_url}")
    lines.append(f"serving {bundle.id}; Ctrl-C ends everything")
    return "\n".join(lines)
