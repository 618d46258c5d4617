"""Dockerfiles without Docker: a stage is a layer over this machine's root, its commands run in a chroot, its program
as the first process of namespaces of its own, on a read-only root.

It proves that the commands work as they are written, what they leave, and that the program starts, answers its health
check and ends, as that user. It has not the base image: this machine's system and its Python are in that one's place.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]


@dataclass(frozen=True)
class Image:
    """What a Dockerfile made. ``layer`` holds what differs from this machine's root."""

    layer: Path
    env: Mapping[str, str]
    cwd: str
    user: str
    command: list[str]
    health: list[str]

    @property
    def packages(self) -> dict[str, str]:
        """Version by name, as the image itself says."""
        lines = (self.layer / "u/opt/localrec/share/sbom/requirements.txt").read_text().splitlines()
        return dict(line.split("==", 1) for line in lines)


def require_layers(directory: Path) -> None:
    """Skip where this machine cannot do it."""
    probe = f"mkdir -p {directory}/probe && cd {directory}/probe && mkdir u w m && {_mount(Path('.'))}"
    if (
        os.geteuid()
        or subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs root, unshare and overlay mounts (a container often has neither)")
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("needs /usr/bin/python3.11, in the base image's place (Debian: python3.11)")


def build(name: str, directory: Path) -> Image:
    """Run deploy/NAME.Dockerfile below ``directory``; raises RuntimeError where a command fails."""
    making = _Build(directory, _context(directory / "context"))
    for word, rest in _instructions(ROOT / f"deploy/{name}.Dockerfile"):
        making.do(word, rest)
    return making.image()


class _Build:
    """The instructions that our Dockerfiles use, one method each."""

    def __init__(self, directory: Path, context: Path) -> None:
        self._directory, self._context = directory, context
        self._stages: dict[str, Path] = {}
        self._args: dict[str, str] = {}
        self._layer = directory
        self._env: dict[str, str] = {}
        self._cwd = "/"
        self._said: dict[str, str] = {}

    def do(self, word: str, rest: str) -> None:
        """One instruction; what only describes the image is kept as it is said."""
        handlers = {
            "FROM": self._from,
            "ARG": self._arg,
            "ENV": self._set,
            "WORKDIR": self._workdir,
            "RUN": self._run,
            "COPY": self._copy,
        }
        handlers.get(word, lambda text: self._said.__setitem__(word, text))(rest)

    def image(self) -> Image:
        """What has come of it."""
        health = self._said["HEALTHCHECK"]
        return Image(
            layer=self._layer,
            env=self._env,
            cwd=self._cwd,
            user=self._said["USER"],
            command=json.loads(self._said["ENTRYPOINT"]) + json.loads(self._said["CMD"]),
            health=[] if health == "NONE" else json.loads(health.split("CMD", 1)[1]),
        )

    def _from(self, rest: str) -> None:
        self._layer = _stage(self._directory / f"stage{len(self._stages)}")
        self._stages[rest.rsplit(" AS ", maxsplit=1)[-1]] = self._layer
        self._env, self._cwd = {"PATH": SYSTEM_PATH}, "/"

    def _arg(self, rest: str) -> None:
        name, is_set, default = rest.partition("=")
        if is_set:
            self._args[name] = default

    def _set(self, rest: str) -> None:
        pairs = (each.split("=", 1) for each in shlex.split(rest))
        self._env |= {name: value.replace("$PATH", self._env["PATH"]) for name, value in pairs}

    def _workdir(self, rest: str) -> None:
        self._cwd = rest

    def _run(self, rest: str) -> None:
        registry = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        env = registry | {"HOME": "/root"} | self._env | self._args
        variables = shlex.join([f"{name}={value}" for name, value in env.items()])
        inside = f"chroot m env -i {variables} sh -ec {shlex.quote(f'cd {self._cwd}; {rest}')}"
        _mounted(self._layer, f"mount --rbind /dev m/dev\nmount --rbind /proc m/proc\nmkdir -p m{self._cwd}\n{inside}")

    def _copy(self, rest: str) -> None:
        origin, words = self._context, rest.split()
        if words[0].startswith("--from="):
            origin = self._stages[words.pop(0).removeprefix("--from=")] / "u"
        *sources, target = words
        for source in sources:
            here = origin / source.lstrip("/")
            there = Path(self._cwd) / target / (here.name if target.endswith("/") else "")
            _mounted(self._layer, f"mkdir -p m{there.parent}\ncp -rT --preserve=mode,links,timestamps {here} m{there}")


@contextmanager
def running(
    image: Image, mounts: Mapping[str, Path], env: Mapping[str, str], command: list[str] | None = None
) -> Iterator["Container"]:
    """The image's program while the context lasts: its user, no rights, a read-only root, no network but loopback.

    Args:
        image: what is run.
        mounts: directories of this machine by where the program sees them, read-only.
        env: variables beside the image's.
        command: instead of the image's own.
    """
    top = image.layer / "m"
    binds = [
        f"mkdir -p {top}{at} && mount --bind {shlex.quote(str(source))} {top}{at}" for at, source in mounts.items()
    ]
    script = "\n".join(
        [
            "set -e",
            f"cd {image.layer}",
            _mount(Path(".")),
            *binds,
            *(f"mount -o remount,ro,bind {top}{at}" for at in mounts),
            f"mount -o remount,ro {top}",
            f"mount -t proc proc {top}/proc",
            f"mount --rbind /dev {top}/dev",
            f"mount -t tmpfs -o mode=1777 tmpfs {top}/tmp",  # noqa: S108 - the container's own
            "ip link set lo up",
            f"exec {_as(image, top, env)} {shlex.join(command or image.command)}",
        ]
    )
    command_line = [*NAMESPACES, "bash", "-c", script]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield Container(image, process)
        finally:
            process.kill()


@dataclass
class Container:
    """Speaks to a program that runs."""

    image: Image
    process: "subprocess.Popen[bytes]"

    def healthy(self) -> bool:
        """Whether the image's health check succeeds inside."""
        return bool(self._children()) and self._inside(self.image.health).returncode == 0

    def ask(self, url: str) -> str:
        """What the address answers inside; raises CalledProcessError where nothing does."""
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
        return self._inside(["python", "-c", code], check=True).stdout

    def writes(self, path: str) -> bool:
        """Whether the program's user can make that file."""
        return self._inside(["touch", path]).returncode == 0

    def stop(self, seconds: float) -> int:
        """SIGTERM to the program, as its first process; its exit status."""
        os.kill(self._children()[0], signal.SIGTERM)
        return self.process.wait(seconds)

    def _inside(self, words: list[str], *, check: bool = False) -> "subprocess.CompletedProcess[str]":
        enter = ["nsenter", "--target", str(self._children()[0]), "--mount", "--net", "--pid"]
        line = f"{_as(self.image, self.image.layer / 'm', {})} {shlex.join(words)}"
        return subprocess.run([*enter, "bash", "-c", line], capture_output=True, text=True, check=check)

    def _children(self) -> list[int]:
        """The program, seen from here: unshare's only child."""
        process = self.process.pid
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _as(image: Image, top: Path, env: Mapping[str, str]) -> str:
    uid, _, gid = image.user.partition(":")
    variables = shlex.join([f"{k}={v}" for k, v in {**image.env, "HOME": "/home/localrec", **env}.items()])
    drop = f"setpriv --reuid {uid} --regid {gid or uid} --clear-groups --no-new-privs --bounding-set -all"
    return f"chroot {top} env -i --chdir={image.cwd} {variables} {drop}"


def _context(directory: Path) -> Path:
    """What travels to a builder: .dockerignore excludes everything but what it names."""
    directory.mkdir(parents=True)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for path in (line[1:] for line in lines if line.startswith("!")):
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / path, target)
    return directory


def _instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            yield word, rest


def _mount(directory: Path) -> str:
    return f"mount -t overlay overlay -o lowerdir=/,upperdir={directory}/u,workdir={directory}/w {directory}/m"


def _stage(directory: Path) -> Path:
    for name in ("u/usr/local/bin", "w", "m"):
        (directory / name).mkdir(parents=True)
    local = directory / "u/usr/local/bin"
    (local / "python").symlink_to("/usr/bin/python3.11")
    (local / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (local / "pip").chmod(0o755)
    return directory


def _mounted(layer: Path, script: str) -> None:
    whole = f"set -e\ncd {layer}\n{_mount(Path('.'))}\n{script}"
    result = subprocess.run(["unshare", "--mount", "bash", "-c", whole], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{script}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
