"""A real Prometheus with the rules of deploy/prometheus, for a service on this machine: for the demo and the tests."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from localrec.processes import server
from localrec.stack import ROOT
from models.contract.errors import LocalRecError

CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
START_SECONDS = 30.0


def find_prometheus() -> str:
    """The ``prometheus`` on the PATH. Raises LocalRecError."""
    found = shutil.which("prometheus")
    if found is None:
        raise LocalRecError("no prometheus on the PATH; Debian: apt-get install prometheus")
    return found


def with_targets(config: str, targets: Mapping[str, Sequence[int]], interval_seconds: int) -> str:
    """A configuration of deploy/ that scrapes ports of this machine.

    Args:
        config: finds its targets by names, one line a job.
        targets: ports by the name of the job; the other jobs have none.
        interval_seconds: between scrapes, and between evaluations of the rules.

    Raises:
        LocalRecError: there is no such job, or no such line.
    """
    config = re.sub(
        r"^(\s*(?:scrape|evaluation)_interval:) .*$", rf"\1 {interval_seconds}s", config, flags=re.MULTILINE
    )
    config = re.sub(r"^rule_files: .*$", f"rule_files: [{CONFIG.parent}/rules/*.yml]", config, flags=re.MULTILINE)
    jobs = re.findall(r"- job_name: (\w+)\n +dns_sd_configs: ", config)
    if unknown := targets.keys() - set(jobs):
        raise LocalRecError(f"{CONFIG}: no job {', '.join(sorted(unknown))} with dns_sd_configs; there are {jobs}")
    for job in jobs:
        addresses = json.dumps([f"127.0.0.1:{port}" for port in targets.get(job, ())])
        config = re.sub(
            rf"(- job_name: {job}\n +)dns_sd_configs: .*", rf"\1static_configs: [{{ targets: {addresses} }}]", config
        )
    return config


@contextmanager
def running_prometheus(
    directory: Path, port: int, targets: Mapping[str, Sequence[int]], *, interval_seconds: int = 10
) -> Iterator[None]:
    """Scrape and evaluate while the context lasts; begins when Prometheus is ready.

    Args:
        directory: for its configuration, data and log.
        port: where it listens, on loopback.
        targets: see :func:`with_targets`.
        interval_seconds: between scrapes, and between evaluations of the rules.

    Raises:
        LocalRecError: it is not installed, or did not start.
    """
    prometheus = find_prometheus()
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "prometheus.yml"
    config.write_text(with_targets(CONFIG.read_text(), targets, interval_seconds))
    command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    log = directory / "prometheus.log"
    with server(command, port, ready_path="/-/ready", start_seconds=START_SECONDS, log=log):
        yield
