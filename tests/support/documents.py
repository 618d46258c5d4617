"""Commands in Markdown: what is run, and what is only looked at, and what is wrong with a command that is not run.

A comment directly before a fenced block says what becomes of it: ``<!-- not run: WHY -->``, or
``<!-- in the background: goes on when URL answers 200 -->``. Blocks of ``sh`` without a comment are run.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import yaml

from localrec.cli import cli

_FENCE = re.compile(
    r"^(?:<!-- (?P<comment>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SPAN = re.compile(r"`([^`]+)`")
_NOT_RUN = re.compile(r"not run: \S.*")
_BACKGROUND = re.compile(r"in the background: goes on when (\S+) answers 200")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<"}


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment before it."""

    language: str
    text: str
    comment: str = ""

    @property
    def why_not_run(self) -> str:
        """Empty where it is run."""
        return self.comment if _NOT_RUN.fullmatch(self.comment) else ""

    @property
    def ready_url(self) -> str:
        """What answers once the block, which stays in the background, has begun; empty where it ends by itself."""
        found = _BACKGROUND.fullmatch(self.comment)
        return found[1] if found else ""


def blocks_of(markdown: str) -> list[Block]:
    """Every fenced block. Raises ValueError where a comment before one is none of ours."""
    found = [Block(m["language"], m["text"], m["comment"] or "") for m in _FENCE.finditer(markdown)]
    for block in found:
        if block.comment and not (block.why_not_run or block.ready_url):
            raise ValueError(
                f"<!-- {block.comment} -->: expected 'not run: WHY' or 'in the background: goes on when …'"
            )
    return found


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each command in a text that :func:`fault_of` knows, up to a pipe."""
    for line in text.replace("\\\n", " ").splitlines():
        words = _words(line.removeprefix("$ ").strip())
        while words and _ASSIGNMENT.match(words[0]):
            words = words[1:]
        if not words:
            continue
        name = words[0].removeprefix(".venv/bin/").removeprefix("/opt/localrec/bin/")
        if name in ("localrec", "docker-compose", "kubectl") or re.fullmatch(r"scripts/[a-z-]+", name):
            yield [name, *_until_end(words[1:])]


def spans_of(markdown: str) -> Iterator[str]:
    """Code within lines, outside the fenced blocks."""
    yield from _SPAN.findall(_FENCE.sub("", markdown))


def fault_of(command: list[str], root: Path) -> str:
    """What is wrong with a command, by its own help, or by the files that it names; empty where nothing is."""
    match command[0]:
        case "localrec":
            return _fault(cli, command[1:])
        case "docker-compose":
            return _fault_of_compose(command[1:], root)
        case "kubectl":
            return _fault_of_kubectl(command[1:], root)
        case _:
            return _fault_of_script(command, root)


def _fault_of_compose(words: list[str], root: Path) -> str:
    """Files, profiles and services that there are not; and what is wrong with a command of the trainer."""
    missing = [file for file in _values(words, "-f") if not (root / file).is_file()]
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
    missing += [profile for profile in _values(words, "--profile") if profile not in profiles]
    if missing:
        return f"docker-compose.yml has no {missing[0]}"
    if "run" not in words:
        return ""
    service, *command = [word for word in words[words.index("run") + 1 :] if word != "--rm"]
    return _fault(cli, command) if service in services else f"docker-compose.yml has no {service}"


def _fault_of_kubectl(words: list[str], root: Path) -> str:
    paths = [*_values(words, "-k"), *_values(words, "-f")]
    return next((f"there is no {path}" for path in paths if not (root / path).exists()), "")


def _values(words: list[str], flag: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == flag]


def _fault_of_script(command: list[str], root: Path) -> str:
    script = root / command[0]
    if not script.is_file():
        return f"there is no {command[0]}"
    text = script.read_text()
    if f'localrec {script.name} "$@"' in text:
        return _fault(cli, [script.name, *command[1:]])
    return next((f"{command[0]} knows no {flag}" for flag in _flags(command) if flag not in text), "")


def _fault(command: click.Command, words: list[str]) -> str:
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = {name: command.get_command(click.Context(command), name) for name in words[0].split("|")}
        missing = [name for name, one in found.items() if one is None]
        if missing:
            return f"{command.name} has no {missing[0]}"
        command, words = next(one for one in found.values() if one is not None), words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return next((f"{command.name} knows no {flag}" for flag in _flags(words) if flag not in known), "")


def _flags(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a text that goes on in the next line
        return line.split()


def _until_end(words: list[str]) -> list[str]:
    ends = [place for place, word in enumerate(words) if word in _ENDS]
    return words[: ends[0]] if ends else words
