"""Whether a request may come from a page that an operator looks at, where no key tells who sends it.

A browser lets any page speak to any address that it reaches, from the operator's own machine. It names the page's
origin whenever more than reading is asked for, and a page whose name was pointed at this machine afterwards (DNS
rebinding) still has its own name in `Host`.
"""

import re
from collections.abc import Mapping

_OWN_NAME = re.compile(rb"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")


def suspicion(headers: Mapping[bytes, bytes], has_pages: bool) -> str:
    """Why a request without a key is refused; empty where it is not.

    Args:
        headers: of the request, names in lower case.
        has_pages: whether the port serves pages of its own, which may ask it. Then it answers to the names of this
            machine alone.
    """
    origin = headers.get(b"origin")
    if not has_pages:
        return "" if origin is None else "Without API keys, browsers may not do what needs the scope 'admin'"
    host = headers.get(b"host", b"").lower()
    if not _OWN_NAME.fullmatch(host):
        names = "127.0.0.1, localhost, [::1]"
        return f"Without API keys, the operators' port answers to the names of its own machine alone: {names}"
    if origin is not None and origin.lower() not in (b"http://" + host, b"https://" + host):
        return "Without API keys, no page but the operators' port's own may ask it"
    return ""
