"""What every measurement says about itself: the commit, the machine, the command; and a benchmark's table."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def report(bench: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The record of one run, its metrics printed one a line."""
    record = {"bench": bench, "commit": commit(), "hardware": hardware(), "metrics": dict(metrics)}
    print(f"{bench}  ({record['hardware']}, commit {record['commit']})")
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(f"  {name:<{width}}  {value:>12,.3f}")
    return record


def provenance() -> dict[str, str]:
    """What was measured with: commit, machine, and the command that this process was started with.

    Ask before the work: a study takes hours, and the checkout moves on meanwhile.
    """
    return {"commit": commit(), "hardware": hardware(), "command": shlex.join(["localrec", *sys.argv[1:]])}


def commit() -> str:
    """Short hash of the checkout, with ``-dirty`` where tracked files differ from it; ``unknown`` outside of one.

    Differences below ``docs`` do not count: an experiment writes its tables there, one command after the other.
    """
    found = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)docs")
    return f"{found}-dirty" if found and changed else found or "unknown"


def hardware() -> str:
    """Processor, cores that this process may use, and Python's version."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}"


def _git(*arguments: str) -> str:
    """What git answers; nothing where it fails, or is not there."""
    command = ["git", *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
