"""The end of a run: its figures on the terminal, its reports on disk."""

import datetime
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from loadtests.page import page
from loadtests.plan import Plan
from loadtests.report import as_text, record
from loadtests.samples import Table
from loadtests.summary import summarize
from loadtests.verdict import as_text as checks_as_text
from loadtests.verdict import checks, passed
from localrec.bench.report import commit, hardware
from localrec.bench.scrape import Scrape, parse
from models.contract.errors import LocalRecError

SCRAPE_SECONDS = 5.0


def scrape(host: str) -> Scrape:
    """The service's metrics now; without any samples where it does not tell, which is said."""
    try:
        with urllib.request.urlopen(f"{host}/metrics", timeout=SCRAPE_SECONDS) as answer:  # noqa: S310 - checked before
            return parse(answer.read().decode())
    except (OSError, ValueError, LocalRecError) as exc:
        if isinstance(exc, urllib.error.HTTPError):
            exc.close()
        print(f"loadtest: {host}/metrics: {exc}; the report has no figures of the service", file=sys.stderr)
        return Scrape({})


def conclude(plan: Plan, table: Table, before: Scrape) -> bool:
    """Print and write the reports, ``<profile>.json`` and ``<profile>.html``. Returns whether all thresholds hold."""
    wanted = sum(1 for _ in plan.times())
    summary = summarize(plan, table, wanted, before, scrape(plan.host))
    found = checks(summary, plan.thresholds)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    document = record(plan, summary, found, {"commit": commit(), "hardware": hardware(), "ended_at": now})
    out = Path(plan.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{plan.profile}.json").write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (out / f"{plan.profile}.html").write_text(page(plan, summary, found, document), encoding="utf-8")
    print(f"{as_text(plan, summary)}\n\n{checks_as_text(found)}")
    print(f"report  {out / plan.profile}.html, .json")
    return passed(found)
