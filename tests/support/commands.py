"""What is written in manifests and Dockerfiles, held against the command line itself."""

from collections.abc import Sequence

import click

from localrec.cli import cli


def unknown_options(words: Sequence[str]) -> set[str]:
    """Options among the words after ``localrec`` that the command they name does not have.

    Raises:
        ValueError: there is no such command.
    """
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            raise ValueError(f"{name}: no such command")
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    return {word.split("=")[0] for word in rest if word.startswith("--")} - known
