"""A page about the communities of a run or a bundle: one HTML file that needs nothing else and loads nothing."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from models.communities.pictures import overlap_picture, sizes_picture, users_picture
from models.communities.portrait import SHOWN_ITEMS, Portrait
from models.communities.statistics import Characteristic, CommunityStatistics, characteristic_items, describe
from models.contract.catalogue import Item

LONGEST_TITLE = 120  # characters


def render(portrait: Portrait) -> str:
    """The page."""
    statistics = describe(portrait.weights)
    named = characteristic_items(portrait.weights, portrait.histories, len(portrait.catalogue), SHOWN_ITEMS)
    pictures = (
        _figure(
            users_picture(portrait.embeddings, portrait.anchors, portrait.weights),
            "Users and anchors",
            "Users as small dots, in the colour of their nearest community; anchors as numbered circles; crosses are"
            " users of no community. Two directions show a part of the distances only.",
        ),
        _figure(
            sizes_picture(statistics), "Sizes", "Users of each community. The table of communities has the counts."
        ),
        _figure(
            overlap_picture(statistics),
            "Overlap",
            "Share of a community's users (row) who belong to another community, too (column).",
        )
        + _overlap_table(statistics),
    )
    return _PAGE.format(
        title=escape(portrait.name),
        style=_STYLE,
        facts=_facts(portrait, statistics),
        pictures="\n".join(pictures),
        communities=_communities(portrait, statistics, named),
    )


def _facts(portrait: Portrait, statistics: CommunityStatistics) -> str:
    facts = [
        ("Communities", f"{len(portrait.anchors)}"),
        ("Users", f"{len(portrait.embeddings):,}"),
        ("Users in a community, on average", f"{statistics.mean_size:,.0f} ({statistics.mean_share:.1%} of all)"),
        ("Users in at least one community", f"{statistics.coverage:.1%}"),
        ("Communities of a user, on average", f"{statistics.mean_memberships:.2f}"),
        ("Bandwidth, kernel", f"{portrait.bandwidth:g}, {portrait.kernel}"),
    ]
    if portrait.item_weights is not None:
        items = describe(portrait.item_weights)
        facts.append(("Items in a community, on average", f"{items.mean_size:,.0f} ({items.mean_share:.1%} of all)"))
        facts.append(("Items in at least one community", f"{items.coverage:.1%}"))
    return "\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _figure(picture: str, heading: str, caption: str) -> str:
    return (
        f'<section><h2>{escape(heading)}</h2><figure role="img" aria-label="{escape(f"{heading}. {caption}")}">'
        f"{picture}</figure><p>{escape(caption)}</p></section>"
    )


def _overlap_table(statistics: CommunityStatistics) -> str:
    numbers = range(len(statistics.overlap))
    head = _row("th", ["Community", *numbers], scope="col")
    body = "\n".join(
        f'<tr><th scope="row">{i}</th>' + "".join(f"<td>{share:.2f}</td>" for share in statistics.overlap[i]) + "</tr>"
        for i in numbers
    )
    return (
        f'<details><summary>Overlap as a table</summary><div class="wide"><table>{head}{body}</table></div></details>'
    )


def _communities(portrait: Portrait, statistics: CommunityStatistics, named: Sequence[Sequence[Characteristic]]) -> str:
    return "\n".join(
        f'<section class="community"><h3>Community {number}</h3><p>{_size(portrait, statistics, number)}</p>'
        f"<table>{_row('th', ['Lift', 'Item'], scope='col')}{_items(items, portrait.catalogue.items)}</table></section>"
        for number, items in enumerate(named)
    )


def _size(portrait: Portrait, statistics: CommunityStatistics, number: int) -> str:
    users = statistics.sizes[number]
    text = f"{users:,} users, {users / len(portrait.embeddings):.1%} of all"
    if portrait.item_weights is not None:
        text += f"; {np.count_nonzero(portrait.item_weights[:, number]):,} items"
    return text


def _items(characteristic: Iterable[Characteristic], items: Sequence[Item]) -> str:
    return "\n".join(
        _row("td", [f"{c.lift:.2f}", _shortened(items[c.item].title or items[c.item].item_id)]) for c in characteristic
    )


def _row(cell: str, values: Iterable[Any], scope: str = "") -> str:
    attribute = f' scope="{scope}"' if scope else ""
    return "<tr>" + "".join(f"<{cell}{attribute}>{escape(str(value))}</{cell}>" for value in values) + "</tr>"


def _shortened(title: str) -> str:
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 76rem; margin: 0 auto;
  padding: 1rem; }
dl, main, .communities { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
dl { grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); }
dt { color: #4d4d4d; font-size: .875rem; } dd { margin: 0; font-size: 1.25rem; }
figure { margin: 0; } svg { max-width: 100%; height: auto; }
section { min-width: 0; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .15rem .75rem .15rem 0; border-bottom: 1px solid #ddd; }
""".strip()

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Communities of {title}</title>
<style>{style}</style>
</head>
<body>
<h1>Communities of {title}</h1>
<dl>{facts}</dl>
<main>
{pictures}
</main>
<h2>Most characteristic items</h2>
<p>Lift: how many times as often a community's users met the item as all users did, pulled towards 1 where few met it.
Users count by their affinity.</p>
<div class="communities">
{communities}
</div>
</body>
</html>
"""
