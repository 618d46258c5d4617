"""Whether a caller may have what is asked for."""

import math
import time
from collections.abc import Callable, Mapping

from service.gateway.errors import ApiError
from service.gateway.security.browsers import suspicion
from service.gateway.security.keyring import Key, Keyring
from service.gateway.security.keys import KeyScope
from service.gateway.types import Caller

ANYONE = Caller()
MAX_PRESENTED_BYTES = 256
_BEARER = b"bearer "


class Access:
    """Decides by the keys that hold now.

    Args:
        keyring: the keys; None: everybody may call.
        count: told of each decision: the key's name (empty where none was right), and ``ok`` or the error's code.
        wall: seconds since 1970, for nothing but the expiry of keys.
    """

    def __init__(
        self,
        keyring: Keyring | None,
        count: Callable[[str, str], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.keyring = keyring
        self._count = count
        self._wall = wall

    def admit(self, headers: Mapping[bytes, bytes], needed: KeyScope, has_pages: bool = False) -> Caller:
        """Who calls.

        Args:
            headers: of the request, names in lower case.
            needed: what the caller must be allowed to do.
            has_pages: whether the port serves pages of its own, see :mod:`service.gateway.security.browsers`.

        Raises:
            ApiError: 401 without a valid key, 403 without the scope, or of a foreign page, 429 too often.
        """
        if self.keyring is None:
            if needed == "admin" and (why := suspicion(headers, has_pages)):
                raise self._refused(None, ApiError(403, "forbidden", why))
            return ANYONE
        key = self._authenticate(headers)
        if needed not in key.scopes:
            raise self._refused(key, ApiError(403, "forbidden", f"The key lacks the scope {needed!r}"))
        if key.bucket is not None and (wait_seconds := key.bucket.take()):
            retry = {"Retry-After": str(math.ceil(wait_seconds))}
            raise self._refused(key, ApiError(429, "rate_limited", "Too many requests with this key", headers=retry))
        self._count(key.caller.key, "ok")
        return key.caller

    def charge(self, caller: Caller, requests: int) -> None:
        """Count what an admitted call turned out to be worth beside itself: a batch is as many requests as it holds."""
        for key in self.keyring.keys if self.keyring else ():
            if key.caller.key == caller.key and key.bucket is not None:
                key.bucket.owe(requests)

    def _authenticate(self, headers: Mapping[bytes, bytes]) -> Key:
        presented = _presented(headers)
        if presented is None:
            raise self._refused(None, _unauthorized("Expected Authorization: Bearer KEY, or X-API-Key: KEY"))
        key = self.keyring.find(presented) if self.keyring and len(presented) <= MAX_PRESENTED_BYTES else None
        if key is None:
            raise self._refused(None, _unauthorized("The API key is not known"))
        if self._wall() >= key.expires_at:
            raise self._refused(key, _unauthorized("The API key has expired"))
        return key

    def _refused(self, key: Key | None, error: ApiError) -> ApiError:
        self._count(key.caller.key if key else "", error.code)
        return error


def _presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    authorization = headers.get(b"authorization", b"")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return headers.get(b"x-api-key")


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": 'Bearer realm="localrec"'})
