"""Everything about the bytes in Redis: keys and formats, for the publisher and the gateway alike.

| key                            | type   | value                                                                    |
| ------------------------------ | ------ | ------------------------------------------------------------------------ |
| lr:{u:<user>}:p:<bundle>       | string | profile, :func:`encode_profile`                                          |
| lr:{u:<user>}:h                | string | last events, oldest first, :func:`encode_events`; by time, trimmed       |
| lr:{u:<user>}:s                | string | seen set: one 8-byte :func:`item_hash` an item; append-only, trimmed     |
| lr:{u:<user>}:e                | string | ids of the user's last events, 8-byte :func:`item_hash` each; expires    |
| lr:{u:<user>}:x                | string | last showings, :func:`encode_shown`; only where lists rotate; expires    |
| lr:bundle                      | string | id of the current bundle                                                 |
| lr:bundle:previous             | string | id of the bundle that was current before                                 |
| lr:bundle:changed              | pubsub | channel: id of the bundle that became current                            |
| lr:bundles                     | set    | ids of the published bundles                                             |
| lr:bundles:held                | set    | ids of all bundles of which there may be profiles, published or not      |
| lr:hidden                      | set    | item ids that operators have taken out of every list                     |
| lr:hidden:version              | string | counts the changes of lr:hidden                                          |
| lr:deleted                     | hash   | :func:`user_hash` of a deleted user → seconds since 1970                 |
| lr:exposures                   | stream | what was shown, capped; an entry is a batch, ``models.contract.records`` |
| lr:events                      | stream | what users did, capped; an entry is a batch, ``models.contract.records`` |

All of them lie on one Redis node, a primary with as many replicas as there may be. One MGET brings the values of
several users, and scripts change a user's values together with a stream or with what is said of all users: a Redis
Cluster refuses both, although a user's keys share a hash tag (in which `u:` stands so that it is never empty).
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from math import isfinite

import numpy as np

from models.contract.types import Array, HistoryEvent, ItemId, Membership, Profile

CURRENT_BUNDLE = "lr:bundle"
PREVIOUS_BUNDLE = "lr:bundle:previous"
BUNDLE_CHANNEL = "lr:bundle:changed"
PUBLISHED_BUNDLES = "lr:bundles"
HELD_BUNDLES = "lr:bundles:held"
HIDDEN_ITEMS = "lr:hidden"
HIDDEN_VERSION = "lr:hidden:version"
DELETED_USERS = "lr:deleted"
EXPOSURES = "lr:exposures"
EVENTS = "lr:events"

_WITHOUT_DIGEST, _WITH_DIGEST = 1, 2  # versions of a profile
_PROFILE_HEADER = struct.Struct("<BHH")  # version, embedding size, number of memberships
_DIGEST = struct.Struct("<I")
_MEMBERSHIP = np.dtype([("community", "<u2"), ("cf_weight", "<f2"), ("llm_weight", "<f2")])
_membership = partial(tuple.__new__, Membership)  # Membership._make, without its interpreted part
_EVENT_HEADER = struct.Struct("<IB")  # seconds since 1970, bytes of the item id
SHOWN = np.dtype([("item", "<u8"), ("time", "<u4")])  # item_hash, seconds since 1970: one showing of one item
SHOWN_KEPT = 300  # showings a user: thirty lists of ten in 3.6 kB


class FormatError(ValueError):
    """A value in Redis does not have the format that this version writes."""


def profile_key(user_id: str, bundle_id: str) -> str:
    return f"lr:{{u:{user_id}}}:p:{bundle_id}"


def history_key(user_id: str) -> str:
    return f"lr:{{u:{user_id}}}:h"


def seen_key(user_id: str) -> str:
    return f"lr:{{u:{user_id}}}:s"


def event_ids_key(user_id: str) -> str:
    return f"lr:{{u:{user_id}}}:e"


def shown_key(user_id: str) -> str:
    return f"lr:{{u:{user_id}}}:x"


def item_hash(item_id: str) -> int:
    """64-bit hash of an item id, the same in every process and bundle."""
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=8).digest(), "little")


def user_hash(user_id: str) -> bytes:
    """The field of ``lr:deleted`` that stands for a user."""
    return item_hash(user_id).to_bytes(8, "little")


def history_digest(history: bytes | None) -> int:
    """CRC-32 of a stored history: a profile that was made from another one is no longer what the user's would be."""
    return zlib.crc32(history or b"")


def encode_profile(profile: Profile) -> bytes:
    """Version byte, sizes, float16 embedding, then 6 bytes a membership (number, CF weight, LLM weight).

    Version 2 ends in 4 bytes of digest. A profile without a digest is written as version 1.
    """
    members = np.array([(m.community, m.cf_weight, m.llm_weight) for m in profile.memberships], dtype=_MEMBERSHIP)
    version = _WITHOUT_DIGEST if profile.digest is None else _WITH_DIGEST
    header = _PROFILE_HEADER.pack(version, len(profile.embedding), len(members))
    digest = b"" if profile.digest is None else _DIGEST.pack(profile.digest)
    return header + profile.embedding.astype("<f2").tobytes() + members.tobytes() + digest


def decode_profile(value: bytes) -> Profile:
    """Inverse of :func:`encode_profile`. Raises FormatError on another version, a wrong length, or a NaN."""
    if len(value) < _PROFILE_HEADER.size or value[0] not in {_WITHOUT_DIGEST, _WITH_DIGEST}:
        raise FormatError(f"profile: expected version 1 or 2, got {value[:1].hex() or 'nothing'}")
    version, size, count = _PROFILE_HEADER.unpack_from(value)
    start = _PROFILE_HEADER.size
    end = start + 2 * size + _MEMBERSHIP.itemsize * count
    if len(value) != end + (_DIGEST.size if version == _WITH_DIGEST else 0):
        raise FormatError(f"profile: {len(value)} bytes do not hold {size} dimensions and {count} memberships")
    embedding = np.frombuffer(value, "<f2", size, start).astype(np.float32)
    rows = np.frombuffer(value, _MEMBERSHIP, count, start + 2 * size)
    memberships = tuple(map(_membership, rows.tolist()))
    # Sums of so few float16 are finite where all of them are, and cost a tenth of looking at each.
    if not isfinite(embedding.dot(embedding) + sum(m.cf_weight + m.llm_weight for m in memberships)):
        raise FormatError("profile: holds values that are not finite")
    digest = _DIGEST.unpack_from(value, end)[0] if version == _WITH_DIGEST else None
    return Profile(embedding, memberships, digest)


def encode_events(events: Iterable[HistoryEvent]) -> bytes:
    """Events oldest first: 4 bytes of time, 1 byte of length, the item id in UTF-8. Concatenation appends."""
    parts = []
    for event in events:
        item_id = event.item_id.encode()
        if not 0 < len(item_id) <= 255:
            raise FormatError(f"item id: expected 1 to 255 bytes, got {len(item_id)}")
        if not 0 <= event.timestamp < 2**32:
            raise FormatError(f"timestamp: expected seconds since 1970, below 2**32, got {event.timestamp}")
        parts.append(_EVENT_HEADER.pack(event.timestamp, len(item_id)) + item_id)
    return b"".join(parts)


def decode_events(value: bytes) -> list[HistoryEvent]:
    """Inverse of :func:`encode_events`. Raises FormatError on a cut or damaged value."""
    return [HistoryEvent(ItemId(item_id), timestamp) for item_id, timestamp in _split_events(value)]


def decode_item_ids(value: bytes) -> tuple[ItemId, ...]:
    """The item ids of a history, oldest first: :func:`decode_events` without the times, at a fifth of the cost."""
    ids, at, end = [], 0, len(value)
    try:
        while at < end:
            first = at + _EVENT_HEADER.size
            at = first + value[first - 1]
            if not first < at <= end:
                raise FormatError(f"history: cut at byte {first}")
            ids.append(value[first:at].decode())
    except (IndexError, UnicodeDecodeError) as exc:
        raise FormatError(f"history: {exc}") from exc
    return tuple(map(ItemId, ids))


def _split_events(value: bytes) -> list[tuple[str, int]]:
    events, at, end = [], 0, len(value)
    try:
        while at < end:
            timestamp, length = _EVENT_HEADER.unpack_from(value, at)
            at += _EVENT_HEADER.size
            if not 0 < length <= end - at:
                raise FormatError(f"history: cut at byte {at}")
            events.append((value[at : at + length].decode(), timestamp))
            at += length
    except (struct.error, UnicodeDecodeError) as exc:
        raise FormatError(f"history: {exc}") from exc
    return events


def encode_seen(item_ids: Sequence[str]) -> bytes:
    """The seen set: 8 bytes an item, in any order. Concatenation is union."""
    return np.asarray([item_hash(i) for i in item_ids], dtype="<u8").tobytes()


def decode_seen(value: bytes) -> Array:
    """(n,) uint64 hashes of the seen items. Raises FormatError where the length is no multiple of 8."""
    if len(value) % 8:
        raise FormatError(f"seen set: {len(value)} bytes is no multiple of 8")
    return np.frombuffer(value, "<u8")


def encode_shown(item_ids: Sequence[str], timestamp: int) -> bytes:
    """A list that was shown at ``timestamp`` (seconds since 1970): 12 bytes an item. Concatenation appends."""
    if not 0 <= timestamp < 2**32:
        raise FormatError(f"timestamp: expected seconds since 1970, below 2**32, got {timestamp}")
    return np.asarray([(item_hash(item_id), timestamp) for item_id in item_ids], dtype=SHOWN).tobytes()


def decode_shown(value: bytes) -> Array:
    """(n,) of :data:`SHOWN`, one a showing, newest last. Raises FormatError where the length is no multiple of 12."""
    if len(value) % SHOWN.itemsize:
        raise FormatError(f"shown: {len(value)} bytes is no multiple of {SHOWN.itemsize}")
    return np.frombuffer(value, SHOWN)
