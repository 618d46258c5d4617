"""Simulated exposures and events, as the export writes them, of an experiment whose true effect is known."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contract.errors import DataError
from models.online import columns as c
from models.online import tables
from models.online.export import STATE
from models.online.population import Counts, Population, PopulationOptions, draw
from models.online.statistics import Values

START = datetime(2025, 6, 1, tzinfo=UTC)
EXPERIMENT = "simulated"
CONTROL, TREATMENT = "control", "treatment"
DEVICES = ("desktop", "phone", "tablet")

_DAYS = 14  # of the experiment, and before it
_DAY_US = 86_400_000_000
_HOUR_US = _DAY_US // 24
_START_US = int(START.timestamp()) * 1_000_000
_CATALOGUE = 500
_STRIDE = 37  # no divisor of the catalogue, so that a list has no item twice
_LENGTH = 10
_DEGRADED = 0.01
_LATENCY = (3.0, 0.5)  # log-normal, milliseconds
_NAMED = 0.8  # share of events that name their list


@dataclass(frozen=True)
class SimulationOptions:
    """What to simulate.

    Args:
        n_users: how many.
        effect: true lift of click-through, conversion and revenue.
        mismatch: by how much the treatment's share of users exceeds one half.
        latency_effect: true lift of the treatment's latency.
        seed: of everything.
    """

    n_users: int
    effect: float
    mismatch: float = 0.0
    latency_effect: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class _Lists:
    """Lists that were shown, in the order of users, then days.

    Args:
        user: (m,) number of the user.
        time: (m,) microseconds since 1970.
        first_item: (m,) number of the first item; the others follow from it.
        clicked: (m,) whether one of its items was clicked.
        bought: (m,) whether one of its items was bought.
    """

    user: Counts
    time: Counts
    first_item: Counts
    clicked: NDArray[np.bool_]
    bought: NDArray[np.bool_]

    @property
    def requests(self) -> pl.Series:
        return _ids("r", np.arange(len(self.user)))


def simulate(options: SimulationOptions, directory: Path) -> tuple[int, int]:
    """Write both tables into ``directory``; how many exposures and events they have.

    Raises DataError where an export lies there: what was recorded would be lost.
    """
    if (directory / STATE).exists():
        raise DataError(f"{directory}: holds an export of what a service recorded; choose another directory")
    rng = np.random.default_rng(options.seed)
    drawn = PopulationOptions(options.n_users, options.effect, options.mismatch, n_periods=_DAYS)
    population = draw(drawn, rng)
    lists = _lists(population, rng)
    exposures = _exposures(population, lists, options, rng)
    events = _events(population, lists, rng)
    directory.mkdir(parents=True, exist_ok=True)
    tables.write_part(exposures, directory / tables.EXPOSURES.part())
    tables.write_part(events, directory / tables.EVENTS.part())
    return exposures.height, events.height


def _lists(population: Population, rng: np.random.Generator) -> _Lists:
    """Which of a user's lists of a day are clicked or bought from is drawn."""
    cell = np.repeat(np.arange(population.lists.size), population.lists.ravel())
    user, day = np.divmod(cell, _DAYS)
    return _Lists(
        user=user,
        time=_START_US + day * _DAY_US + rng.integers(_DAY_US - _HOUR_US, size=len(cell)),
        first_item=rng.integers(_CATALOGUE, size=len(cell)),
        clicked=_some(cell, population.clicks, rng),
        bought=_some(cell, population.purchases, rng),
    )


def _some(cell: Counts, wanted: Counts, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(m,) as many of each cell's lists, at random, as are wanted there (users, days)."""
    order = np.lexsort((rng.random(len(cell)), cell))
    place = np.arange(len(cell)) - np.searchsorted(cell, cell)  # cells are sorted, so it is the place in the cell
    chosen = np.zeros(len(cell), dtype=np.bool_)
    chosen[order] = place < wanted.ravel()[cell]
    return chosen


def _exposures(
    population: Population, lists: _Lists, options: SimulationOptions, rng: np.random.Generator
) -> pl.DataFrame:
    treated, m = population.treated[lists.user], len(lists.user)
    latency = rng.lognormal(*_LATENCY, m) * np.where(treated, 1 + options.latency_effect, 1.0)
    devices = rng.integers(len(DEVICES), size=options.n_users)[lists.user]
    items = (lists.first_item[:, None] + np.arange(_LENGTH) * _STRIDE) % _CATALOGUE
    return _table(
        tables.EXPOSURES,
        {
            c.REQUEST: lists.requests,
            c.TIME: lists.time,
            c.USER: _ids("u", lists.user),
            c.BUNDLE: pl.lit("simulated-1"),
            c.PIPELINE: pl.lit("local"),
            c.EXPERIMENTS: _one_struct(c.EXPERIMENT, EXPERIMENT, c.VARIANT, _choice((CONTROL, TREATMENT), treated)),
            c.FORCED: pl.lit(False),
            c.SHADOW: pl.lit(""),
            c.ITEMS: _ids("i", items.ravel()).reshape((m, _LENGTH)).arr.to_list(),
            c.SOURCES: pl.lit(["local"] * _LENGTH),
            c.VOTERS: pl.lit([], dtype=pl.List(pl.String)),
            c.RANKS: pl.lit([], dtype=pl.List(pl.List(pl.Int32))),
            c.DEGRADED: rng.random(m) < _DEGRADED,
            c.CACHED: pl.lit(False),
            c.LATENCY: latency,
            c.CONTEXT: _one_struct(c.NAME, "device", c.VALUE, _choice(DEVICES, devices)),
        },
    )


def _events(population: Population, lists: _Lists, rng: np.random.Generator) -> pl.DataFrame:
    """What was done with lists, up to an hour later, and what users did in the two weeks before their first one."""
    first = np.full(len(population.treated), np.iinfo(np.int64).max)
    np.minimum.at(first, lists.user, lists.time)
    parts = [
        _after("click", lists, lists.clicked, np.zeros(len(lists.user)), rng),
        _after("purchase", lists, lists.bought, population.spend[lists.user], rng),
        _before("click", population.clicks_before, first, np.zeros(len(first)), rng),
        _before("purchase", population.purchases_before, first, population.spend, rng),
    ]
    frame = pl.concat(parts)
    return _table(
        tables.EVENTS,
        {
            **{name: frame[name] for name in frame.columns},
            c.EVENT: _ids("e", np.arange(frame.height)),
            c.CONTEXT: pl.lit([], dtype=c.EVENTS[c.CONTEXT]),
        },
    )


def _after(kind: str, lists: _Lists, done: NDArray[np.bool_], value: Values, rng: np.random.Generator) -> pl.DataFrame:
    n = int(done.sum())
    item = (lists.first_item[done] + rng.integers(_LENGTH, size=n) * _STRIDE) % _CATALOGUE
    named = pl.Series(rng.random(n) < _NAMED)
    time = lists.time[done] + rng.integers(1, _HOUR_US, size=n)
    request = lists.requests.filter(pl.Series(done))
    frame = _acts(kind, lists.user[done], time, item, value[done])
    return frame.with_columns(request.zip_with(named, pl.Series([None] * n, dtype=pl.String)).alias(c.REQUEST))


def _before(kind: str, counts: Counts, first: Counts, value: Values, rng: np.random.Generator) -> pl.DataFrame:
    user = np.repeat(np.arange(len(counts)), counts)
    time = first[user] - rng.integers(1, _DAYS * _DAY_US, size=len(user))
    frame = _acts(kind, user, time, rng.integers(_CATALOGUE, size=len(user)), value[user])
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(c.REQUEST))


def _acts(kind: str, user: Counts, time: Counts, item: Counts, value: Values) -> pl.DataFrame:
    worth = pl.Series(c.VALUE, value) if kind == "purchase" else pl.lit(None, dtype=pl.Float64).alias(c.VALUE)
    frame = pl.DataFrame({c.TIME: time, c.USER: _ids("u", user), c.ITEM: _ids("i", item)})
    return frame.with_columns(pl.lit(kind).alias(c.TYPE), worth)


def _table(kind: tables.TableKind, values: dict[str, pl.Series | pl.Expr | NDArray[np.generic]]) -> pl.DataFrame:
    """The columns of the export, in its order and types; what is a constant is given as an expression."""
    series = {name: value for name, value in values.items() if not isinstance(value, pl.Expr)}
    constants = [value.alias(name) for name, value in values.items() if isinstance(value, pl.Expr)]
    frame = pl.DataFrame(series).with_columns(constants)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in kind.schema.items()).sort(c.TIME)


def _ids(prefix: str, numbers: Counts) -> pl.Series:
    return pl.Series([f"{prefix}{number}" for number in numbers.tolist()], dtype=pl.String)


def _choice(names: tuple[str, ...], numbers: NDArray[np.generic]) -> pl.Series:
    return pl.Series(np.array(names)[numbers.astype(np.int64)].tolist(), dtype=pl.String)


def _one_struct(name: str, constant: str, other: str, values: pl.Series) -> pl.Series:
    """A list of one struct of a constant and a value a row."""
    frame = pl.DataFrame({other: values}).with_columns(pl.lit(constant).alias(name))
    return frame.select(pl.concat_list(pl.struct(name, other))).to_series()
