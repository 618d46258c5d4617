"""Commands for API keys. A key is shown once; the service keeps its digest only."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click

from localrec.options import given
from service.gateway.security.keys import KeyPriority, KeyScope, digest_of, expired, new_key, parse_keys, read_content


@click.group()
def keys() -> None:
    """Make API keys, and check the file that the gateway reads them from."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(get_args(KeyScope)), multiple=True, required=True, help="Repeat.")
@click.option("--rate-per-s", type=float, help="Requests a second over time. Default: no limit.")
@click.option("--burst", type=int, help="Requests at once. Default: those of one second.")
@click.option("--deadline-ms", type=int, help="Deadline of requests that name none. Default: the service's.")
@click.option("--priority", type=click.Choice(get_args(KeyPriority)), help="Default: interactive.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Refused after so many days. Default: never.")
def new(name: str, scopes: tuple[str, ...], days: int | None, **limits: object) -> None:
    """Print a new key, once, and the lines to add to the keys file."""
    key = new_key()
    values: dict[str, Any] = {"name": name, "sha256": digest_of(key.encode()).hex(), "scopes": list(scopes)}
    values |= given(limits)
    if days is not None:
        values["expires"] = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    entry = "\n".join(["[[keys]]", *(f"{field} = {_toml(value)}" for field, value in values.items())])
    parse_keys(entry.encode(), Path(name))
    click.echo(f"{key}\n\n{entry}")


@keys.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Read a keys file as the gateway would; exit code 1 where it would be refused."""
    for key in parse_keys(read_content(file), file):
        state = "expired" if expired(key, datetime.now(UTC)) else "valid"
        click.echo(f"{key.name}: {', '.join(sorted(key.scopes))}; {state}")


def _toml(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else json.dumps(value)
