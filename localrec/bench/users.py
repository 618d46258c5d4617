"""Whom a load test asks for: a text file of user ids."""

from pathlib import Path


def read_user_ids(path: Path) -> list[str]:
    """User ids of a text file, one a line, the most active first; empty lines are skipped.

    Raises ValueError where the file cannot be read or names no user.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"users file {path}: {exc}; expected a text file, one user id a line") from exc
    user_ids = [line.strip() for line in lines if line.strip()]
    if not user_ids:
        raise ValueError(f"users file {path}: expected one user id a line, found none")
    return user_ids
