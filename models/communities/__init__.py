"""Local communities of users, and of items: found, counted, and shown to a person (L3Rec, section 4.1).

The affinities that follow from the anchors are the contract's: :func:`models.contract.affinity.affinities`.
"""

from models.communities.anchors import CommunityConfig, find_anchors, item_members
from models.communities.statistics import Characteristic, CommunityStatistics, characteristic_items, describe

__all__ = [
    "Characteristic",
    "CommunityConfig",
    "CommunityStatistics",
    "characteristic_items",
    "describe",
    "find_anchors",
    "item_members",
]
