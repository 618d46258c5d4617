"""A page about the communities of a run or a bundle: one HTML file that needs nothing else and loads nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from models.communities.anchors import CommunityConfig, item_members
from models.communities.pictures import overlap_picture, sizes_picture, users_picture
from models.communities.statistics import Characteristic, CommunityStatistics, characteristic_items, describe
from models.config import make
from models.contract.affinity import Kernel
from models.contract.bundle import CATALOGUE, CF_MODEL, COMMUNITIES, PROFILES, Bundle
from models.contract.catalogue import Catalogue, Item
from models.contract.cf import CFModel
from models.contract.errors import BundleError
from models.contract.redis_schema import decode_item_ids, decode_profile
from models.contract.types import Floats, Profile
from models.types import Sequences

SHOWN_ITEMS = 10  # characteristic items of a community
LONGEST_TITLE = 120  # characters


@dataclass(frozen=True)
class Portrait:
    """All that the page is made of.

    Args:
        name: of the run or the bundle.
        bandwidth, kernel: h and K of equation 2 that gave the affinities.
        embeddings: (n_users, d).
        anchors: (q, d).
        weights: (n_users, q) affinities of users.
        item_weights: (n_items, q) affinities of items, None where communities have users only.
        histories: the users' items.
        catalogue: what the items are called.
    """

    name: str
    bandwidth: float
    kernel: Kernel
    embeddings: Floats
    anchors: Floats
    weights: Floats
    item_weights: Floats | None
    histories: Sequences
    catalogue: Catalogue


def portrait_of(bundle: Bundle) -> Portrait:
    """The communities as they are served: profiles and histories that the bundle brings to Redis.

    Raises:
        BundleError: the bundle has no profiles, or they cannot be read.
    """
    table = _profiles(bundle)
    catalogue, cf = Catalogue.load(bundle.path(CATALOGUE)), CFModel.load(bundle.path(CF_MODEL))
    anchors = load_file(bundle.path(COMMUNITIES))["anchors"]
    profiles = [decode_profile(value) for value in table["profile"]]
    manifest = bundle.manifest
    config = make(CommunityConfig, manifest.config.get("communities", {}), "communities")
    return Portrait(
        name=bundle.id,
        bandwidth=manifest.bandwidth,
        kernel=manifest.kernel,
        embeddings=np.stack([profile.embedding for profile in profiles]),
        anchors=anchors,
        weights=_weights(profiles, len(anchors)),
        item_weights=item_members(anchors, cf.item_factors, config) if config.assignment == "user-item" else None,
        histories=Sequences.of([catalogue.numbers(decode_item_ids(value)) for value in table["history"]]),
        catalogue=catalogue,
    )


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


def _profiles(bundle: Bundle) -> pl.DataFrame:
    try:
        table = pl.read_parquet(bundle.path(PROFILES), columns=["profile", "history"])
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise BundleError(f"{bundle.id}: {PROFILES} cannot be read: {exc}") from exc
    if not len(table):
        raise BundleError(f"{bundle.id}: {PROFILES} holds no users")
    return table


def _weights(profiles: Sequence[Profile], q: int) -> Floats:
    weights = np.zeros((len(profiles), q), np.float32)
    for row, profile in enumerate(profiles):
        for membership in profile.memberships:
            weights[row, membership.community] = membership.cf_weight
    return weights


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
