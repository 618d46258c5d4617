"""``portrait.json``: what a person wants to see of a bundle's communities. Nothing that is served depends on it.

Numbers are rounded: it is for eyes.
"""

from pathlib import Path
from typing import Annotated, Self

import msgspec

from models.contract.errors import BundleError

PORTRAIT = "portrait.json"
MAPPED_USERS = 2_000
NEAREST_MEMBERS = 50

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Place = tuple[float, float]
"""On the plane of the map."""


class TypicalItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item that a community meets ``lift`` times as often as everybody does."""

    item_id: str
    lift: float


class CommunityPortrait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One community: its users, also as a share of all, its typical items, and the users nearest to its anchor."""

    n_users: Count
    share: Share
    items: tuple[TypicalItem, ...]
    members: tuple[str, ...]


class PortraitFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it.

    Args:
        n_users: of the bundle.
        coverage: share of them who belong to a community.
        mean_memberships: communities that one belongs to, on average over everybody.
        communities: by number.
        overlap: (q, q); row i, column j: share of community i's users who belong to community j, too.
        users: at most ``MAPPED_USERS`` of them on the plane, with the number of the nearest community, -1 without one.
        anchors: on the same plane, by community.
    """

    n_users: Count
    coverage: Share
    mean_memberships: float
    communities: tuple[CommunityPortrait, ...]
    overlap: tuple[tuple[Share, ...], ...]
    users: tuple[tuple[float, float, int], ...]
    anchors: tuple[Place, ...]

    def save(self, directory: Path) -> None:
        """Write ``portrait.json``."""
        (directory / PORTRAIT).write_bytes(msgspec.json.encode(self) + b"\n")

    @classmethod
    def load(cls, directory: Path, n_communities: int) -> Self | None:
        """Read ``portrait.json``; None where there is none, as in older bundles.

        Raises:
            BundleError: it is malformed, or of other communities than ``n_communities``.
        """
        path = directory / PORTRAIT
        try:
            portrait = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise BundleError(f"{path.name}: {exc}") from exc
        found = {len(portrait.communities), len(portrait.overlap), len(portrait.anchors), *map(len, portrait.overlap)}
        if found != {n_communities}:
            raise BundleError(f"{path.name}: it is of {sorted(found)} communities, expected {n_communities}")
        return portrait
