"""Every column of the exported tables, named once, with its type."""

from collections.abc import Mapping

import polars as pl

REQUEST = "request_id"
EVENT = "event_id"
USER = "user_id"
ITEM = "item_id"
TIME = "time"  # UTC

# Exposures.
BUNDLE = "bundle_id"
PIPELINE = "pipeline"
EXPERIMENTS = "experiments"
FORCED = "forced"
SHADOW = "shadow"  # name of the shadow variant, empty where the list was shown
ITEMS = "items"  # best first
SOURCES = "sources"
VOTERS = "voters"
RANKS = "ranks"  # an item's rank in each voter's list, 0 where it is not there
DEGRADED = "degraded"
CACHED = "cached"
LATENCY = "latency_ms"

# Events.
TYPE = "type"
VALUE = "value"  # stars of a rating, revenue of a purchase

# Both.
CONTEXT = "context"

# Fields of the structs in EXPERIMENTS and CONTEXT.
EXPERIMENT = "experiment"
VARIANT = "variant"
NAME = "name"

INSTANT = pl.Datetime("us", "UTC")
_CONTEXT = pl.List(pl.Struct({NAME: pl.String(), VALUE: pl.String()}))

EXPOSURES: Mapping[str, pl.DataType] = {
    REQUEST: pl.String(),
    TIME: INSTANT,
    USER: pl.String(),
    BUNDLE: pl.String(),
    PIPELINE: pl.String(),
    EXPERIMENTS: pl.List(pl.Struct({EXPERIMENT: pl.String(), VARIANT: pl.String()})),
    FORCED: pl.Boolean(),
    SHADOW: pl.String(),
    ITEMS: pl.List(pl.String()),
    SOURCES: pl.List(pl.String()),
    VOTERS: pl.List(pl.String()),
    RANKS: pl.List(pl.List(pl.Int32())),
    DEGRADED: pl.Boolean(),
    CACHED: pl.Boolean(),
    LATENCY: pl.Float64(),
    CONTEXT: _CONTEXT,
}
EVENTS: Mapping[str, pl.DataType] = {
    EVENT: pl.String(),
    TIME: INSTANT,
    TYPE: pl.String(),
    USER: pl.String(),
    ITEM: pl.String(),
    VALUE: pl.Float64(),
    REQUEST: pl.String(),
    CONTEXT: _CONTEXT,
}
