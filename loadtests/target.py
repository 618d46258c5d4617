"""What may be put under load: this machine, unless the caller says otherwise; and what must be known of it before."""

import ipaddress
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

ASKED_USERS, ASKED_ITEMS = 20, 100
TIMEOUT_SECONDS = 15.0
KEY_VARIABLE = "LOADTEST_API_KEY"


def check_target(url: str | None, *, allow_remote: bool) -> None:
    """Raise ValueError where the address is missing, not an HTTP address, or of another machine."""
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--host: expected an address like http://127.0.0.1:8080, got {url!r}")
    if not (allow_remote or _is_loopback(parts.hostname)):
        raise ValueError(
            f"--host: {parts.hostname} is another machine; load it only with its owner's consent, with --allow-remote"
        )


def check_ready(host: str) -> None:
    """Raise ValueError where nothing answers there, or it is not ready to."""
    try:
        with urllib.request.urlopen(f"{host}/readyz", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - checked before
            json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            raise ValueError(
                f"--host: {host} is not ready: {exc.code} {exc.read(200).decode(errors='replace')}"
            ) from exc
    except (OSError, ValueError) as exc:
        raise ValueError(f"--host: nothing runs at {host} ({exc}); scripts/demo starts a service there") from exc


def items_of(host: str, user_ids: Sequence[str]) -> tuple[str, ...]:
    """Items that the service has, from the lists of the first users: for histories and events.

    Raises ValueError where it gives no list.
    """
    found: set[str] = set()
    for user_id in user_ids[:ASKED_USERS]:
        answer = _post(f"{host}/recommend", {"user_id": user_id, "n": ASKED_ITEMS, "use_cache": False})
        found.update(item["item_id"] for item in answer["items"])
    if not found:
        raise ValueError(f"--host: {host} has no items to recommend")
    return tuple(sorted(found))


def bearer() -> dict[str, str]:
    """The header of the API key that the environment holds, if any."""
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json", **bearer()}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - checked before
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - checked before
            return json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            raise ValueError(f"{url}: {exc.code} {exc.read(200).decode(errors='replace')}") from exc
    except (OSError, ValueError) as exc:
        raise ValueError(f"{url}: {exc}") from exc


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
