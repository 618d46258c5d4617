"""A group of commands that are imported when they are called."""

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

from models.contract.errors import MissingExtraError

Place = tuple[str, str, str]  # module:attribute, the extra that it needs ("": none), one line for the list


class LazyGroup(click.Group):
    """A group whose class says where its commands are."""

    places: ClassVar[Mapping[str, Place]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Raises MissingExtraError where a library is not installed."""
        if cmd_name not in self.places:
            return None
        place, extra, _ = self.places[cmd_name]
        module, attribute = place.split(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as exc:
            if exc.name and exc.name.split(".")[0] in ("localrec", "models", "service"):
                raise
            raise MissingExtraError(f"{cmd_name} needs {exc.name}: pip install 'localrec[{extra or 'dev'}]'") from exc
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.places.items()])
