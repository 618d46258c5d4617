"""Examples in Markdown: commands, and what they print. ``…`` stands for anything, white space does not count."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPACE = re.compile(r"\s+")
SECONDS = 60
MORE = "> "


@dataclass(frozen=True)
class Example:
    """A command of a shell, and its output as printed in the document."""

    command: str
    output: str

    def run(self, directory: Path, replacements: Mapping[str, str], environment: Mapping[str, str]) -> str:
        """What the command prints, with texts of it replaced first. Raises where it fails."""
        command = self.command
        for old, new in replacements.items():
            command = command.replace(old, new)
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            shell, cwd=directory, env=dict(environment), capture_output=True, text=True, timeout=SECONDS, check=True
        )
        return done.stdout

    def is_like(self, printed: str) -> bool:
        """Whether that is what the document says."""
        parts = [re.escape(_SPACE.sub("", part)) for part in self.output.split("…")]
        return re.fullmatch(".*?".join(parts), _SPACE.sub("", printed), re.DOTALL) is not None


def examples_of(markdown: str) -> list[Example]:
    """Every ``$ command`` of the document's ``console`` blocks; ``> `` goes on with it, as a shell shows it."""
    found: list[Example] = []
    for block in _BLOCK.findall(markdown):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *lines = part.splitlines()
            more = list(takewhile(lambda line: line.startswith(MORE), lines))
            command = "\n".join([first, *(line.removeprefix(MORE) for line in more)])
            found.append(Example(command, "\n".join(lines[len(more) :])))
    return found
