"""Where a pretrained model comes from: a hub's id, or a file or a directory on this machine."""

from pathlib import Path


def local_files(name: str, source: str) -> dict[str, Path]:
    """The files of a model on this machine, as inputs of a stage, below ``name``; a hub's is known by its id alone."""
    path = Path(source)
    files = [path] if path.is_file() else sorted(p for p in path.glob("*") if source and p.is_file())
    return {f"{name}/{file.name}": file for file in files}


def absolute(source: str) -> str:
    """A model on this machine by its absolute path; a hub's by its id, as it is."""
    path = Path(source)
    return str(path.absolute()) if path.exists() else source
