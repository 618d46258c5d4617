"""Writes Grafana's dashboards from sources/*.toml, where a panel is what it says and not where it lies.

    python deploy/grafana/build.py

A source has a ``title``, a ``text``, the ``variables`` that it uses (:data:`VARIABLES`), and rows of panels. A panel:

title, text   the text is a sentence or two: what is seen, and what is normal.
unit          Grafana's name of it: s, reqps, percentunit, bytes, short, …
queries       pairs of PromQL and legend.
kind          ``timeseries`` (the default), ``stat``, or ``table`` of the newest values.
width         of 24 columns. Default: 8.
steps         colours and the values between them, rising: ["red", 0.99, "green"] is green from 0.99 on. Default: blue.
log           whether the axis is logarithmic.
"""

import json
import tomllib
from itertools import accumulate, count
from pathlib import Path
from typing import Any

Table = dict[str, Any]

HERE = Path(__file__).parent
SOURCES, DASHBOARDS = HERE / "sources", HERE / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
DEFAULT_WIDTH = 8
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8}
STAT = {"colorMode": "background", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
VARIABLES = {
    "instance": ("gateway", 'label_values(up{job="gateway"}, instance)'),
    "pipeline": ("pipeline", "label_values(localrec_request_seconds_count, pipeline)"),
    "pool": ("pool", "label_values(localrec_worker_ready, pool)"),
    "experiment": ("experiment", "label_values(localrec_assignments_total, experiment)"),
}


def dashboard(source: Table, uid: str) -> Table:
    """Grafana's document for a source."""
    return {
        "uid": uid,
        "title": source["title"],
        "description": source["text"],
        "tags": ["localrec"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,  # one crosshair for all panels
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "LocalRec", "tags": ["localrec"], "keepTime": True}],
        "templating": {"list": [_variable(name) for name in source.get("variables", [])]},
        "panels": _panels(source["rows"]),
    }


def _variable(name: str) -> Table:
    label, query = VARIABLES[name]
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # whenever the time changes
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels(rows: list[Table]) -> list[Table]:
    """Row after row, a heading before each; panels of a row from left to right, all of one kind's height."""
    ids, y = count(1), 0
    panels: list[Table] = []
    for row in rows:
        heading = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        panels.append({"id": next(ids), "type": "row", "title": row["title"], "collapsed": False, "gridPos": heading})
        widths = [panel.get("width", DEFAULT_WIDTH) for panel in row["panels"]]
        height = max(HEIGHTS[panel.get("kind", "timeseries")] for panel in row["panels"])
        if sum(widths) > COLUMNS:
            raise ValueError(f"row {row['title']!r}: widths add up to {sum(widths)}, expected at most {COLUMNS}")
        for panel, width, right in zip(row["panels"], widths, accumulate(widths), strict=True):
            place = {"x": right - width, "y": y + 1, "w": width, "h": height}
            panels.append({"id": next(ids), "gridPos": place, **_panel(panel)})
        y += 1 + height
    return panels


def _panel(panel: Table) -> Table:
    kind = panel.get("kind", "timeseries")
    defaults: Table = {"unit": panel["unit"], "thresholds": _thresholds(panel.get("steps", ["blue"]))}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", **_lines(panel)}
        if not panel.get("log"):
            defaults["min"] = 0
    return {
        "type": kind,
        "title": panel["title"],
        "description": panel["text"],
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": STAT if kind == "stat" else {},
        "targets": [
            _target(expression, legend, chr(ord("A") + at), kind)
            for at, (expression, legend) in enumerate(panel["queries"])
        ],
    }


def _lines(panel: Table) -> Table:
    """How a graph's axis is drawn, and its steps: as dashed lines."""
    scale = {"scaleDistribution": {"type": "log", "log": 10}} if panel.get("log") else {}
    return scale | ({"thresholdsStyle": {"mode": "dashed"}} if "steps" in panel else {})


def _thresholds(steps: list[str | float]) -> Table:
    colours, bounds = steps[::2], [None, *steps[1::2]]
    pairs = zip(colours, bounds, strict=True)
    return {"mode": "absolute", "steps": [{"color": colour, "value": bound} for colour, bound in pairs]}


def _target(expression: str, legend: str, letter: str, kind: str) -> Table:
    newest: Table = {"format": "table", "instant": True} if kind == "table" else {}
    return {"refId": letter, "expr": " ".join(expression.split()), "legendFormat": legend or "__auto", **newest}


def render(source: Path) -> str:
    """The JSON of a source's dashboard."""
    document = dashboard(tomllib.loads(source.read_text()), f"localrec-{source.stem}")
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for source in sorted(SOURCES.glob("*.toml")):
        (DASHBOARDS / f"{source.stem}.json").write_text(render(source))


if __name__ == "__main__":
    main()
