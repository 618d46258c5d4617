"""API keys as they lie on disk: a TOML file of names, digests and rights. The keys themselves are kept nowhere."""

import hashlib
import secrets
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from models.contract.errors import ConfigError
from service.gateway.tables import MAX_DEADLINE_MS, Name, Table, check_distinct, problems_of

KeyScope = Literal["recommend", "events", "admin"]
KeyPriority = Literal["interactive", "batch"]
PREFIX = "lrk_"  # so that scanners of source code and logs recognise a leaked key
KEY_BYTES = 32
MAX_RATE = 1_000_000


class KeySettings(Table):
    """One ``[[keys]]``.

    Args:
        name: what logs and metrics call the caller.
        sha256: digest of the key, 64 hexadecimal digits.
        scopes: what the key may be used for.
        rate_per_s: requests a second, over time; None: no limit.
        burst: requests at once, at most. Default: those of one second.
        deadline_ms: length of the deadline of requests that name none; None: the service's default.
        priority: ``batch`` is turned away before ``interactive``.
        expires: instant, with its zone, from which on the key is refused; None: never.
    """

    name: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[KeyScope] = Field(min_length=1)
    rate_per_s: float | None = Field(default=None, gt=0, le=MAX_RATE, allow_inf_nan=False)
    burst: int | None = Field(default=None, ge=1, le=MAX_RATE)
    deadline_ms: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_MS)
    priority: KeyPriority = "interactive"
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst means nothing without rate_per_s")
        return self


class _Document(Table):
    keys: tuple[KeySettings, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if not self.keys:
            raise ValueError("no keys: all callers would be locked out")  # rather a file that was cut short
        check_distinct("keys", [key.name for key in self.keys])
        if len({key.sha256 for key in self.keys}) != len(self.keys):
            raise ValueError("keys: a digest occurs twice")
        return self


def parse_keys(content: bytes, where: Path) -> tuple[KeySettings, ...]:
    """The keys of a file's content. Raises ConfigError naming file, key and reason, also where one of many is wrong."""
    try:
        return _Document.model_validate(tomllib.loads(content.decode())).keys
    except ValidationError as exc:
        raise ConfigError(f"{where}: {problems_of(exc)}") from exc
    except ValueError as exc:  # no UTF-8, no TOML
        raise ConfigError(f"{where}: {exc}") from exc


def read_content(path: Path) -> bytes:
    """What a keys file holds. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def new_key() -> str:
    """A random key: 32 bytes of the system's randomness, base64url, behind a prefix."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: bytes) -> bytes:
    """What is kept of a key. Its 256 random bits cannot be guessed, so a slow hash would protect nothing more."""
    return hashlib.sha256(key).digest()


def expired(key: KeySettings, now: datetime) -> bool:
    """Whether a key is refused by now."""
    return key.expires is not None and now >= key.expires
