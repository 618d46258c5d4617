"""What may be put under load: this machine, unless the caller says otherwise."""

import ipaddress
from urllib.parse import urlsplit


def check_target(url: str | None, *, allow_remote: bool) -> None:
    """Raise ValueError where the address is missing, not an HTTP address, or of another machine."""
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"--host: expected an address like http://127.0.0.1:8080, got {url!r}")
    if not (allow_remote or _is_loopback(parts.hostname)):
        raise ValueError(
            f"--host: {parts.hostname} is another machine; load it only with its owner's consent, with --allow-remote"
        )


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
