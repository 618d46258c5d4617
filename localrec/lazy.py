"""A group of commands that are imported when they are called."""

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click

from models.contract.errors import MissingExtraError

Place = tuple[str, str, str]  # module:attribute, the extra that it needs ("": none), one line for the list


class LazyGroup(click.Group):
    """A group whose class says where its commands are; those added the usual way come first."""

    places: ClassVar[Mapping[str, Place]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self.places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Raises MissingExtraError where a library is not installed."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
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
        added = [(name, command.get_short_help_str()) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*added, *((name, line) for name, (_, _, line) in self.places.items())])
