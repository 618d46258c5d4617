"""Expositions of several processes as one: text in, text out.

prometheus_client has a mode for several processes: files that all of them map, in one directory for all that there is
in a process, and nothing of what is no metric of its own. Our registries belong to an application, and our
:class:`service.gateway.telemetry.distribution.Distribution` is none of its metrics.
"""

import re
from collections.abc import Collection, Mapping

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_END = "# EOF"


class _Family:
    """One metric: what is said of it once, and its samples."""

    def __init__(self) -> None:
        self.head: dict[str, str] = {}
        self.samples: list[str] = []


def merged(texts: Mapping[int, str], whole: Collection[str] = ()) -> str:
    """One exposition, each sample with the label ``process``; every family's HELP and TYPE once.

    Args:
        texts: in Prometheus' text format or in OpenMetrics', all in the same, by the number of the process.
        whole: families that speak of all processes: those of the first text, without the label.
    """
    families: dict[str, _Family] = {}
    for place, (number, text) in enumerate(texts.items()):
        name, family = "", _Family()
        for line in text.split("\n"):
            if line.startswith("# ") and line != _END:
                _, keyword, name, *_ = line.split(" ", 3)
                family = families.setdefault(name, _Family())
                family.head.setdefault(keyword, line)
            elif line and line != _END and name not in whole:
                family.samples.append(_labelled(line, number))
            elif line and line != _END and not place:
                family.samples.append(line)
    lines = [line for family in families.values() for line in (*family.head.values(), *family.samples)]
    if any(text.rstrip().endswith(_END) for text in texts.values()):
        lines.append(_END)
    return "\n".join([*lines, ""])


def _labelled(sample: str, number: int) -> str:
    name = _NAME.match(sample)
    end = name.end() if name else 0
    label = f'process="{number}"'
    if sample[end] == "{":
        return f"{sample[:end]}{{{label},{sample[end + 1 :]}"
    return f"{sample[:end]}{{{label}}}{sample[end:]}"
