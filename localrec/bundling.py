"""``localrec bundle``: a bundle is built by the offline half, and verified wherever it lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import click

from localrec.lazy import LazyGroup, Place
from models.contract.bundle import verify_bundle


class Commands(LazyGroup):
    """What needs torch is imported when it is called."""

    places: ClassVar[Mapping[str, Place]] = {
        "build": ("localrec.offline:build_bundle", "train", "Choose the fusion, and put a run's bundle together."),
        "verify": ("localrec.bundling:verify", "", "Check every file of a bundle against its checksum."),
    }


@click.group(cls=Commands)
def bundle() -> None:
    """Build a bundle from a run, or verify one."""


@click.command()
@click.argument("bundle_directory", type=click.Path(path_type=Path))
def verify(bundle_directory: Path) -> None:
    """Check every file of a bundle against its checksum."""
    checked = verify_bundle(bundle_directory)
    click.echo(f"{checked.id}: {len(checked.manifest.files)} files match their checksums")
