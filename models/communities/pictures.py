"""Pictures of communities as SVG, to stand inside a page: no scripts, text as text, the same input the same bytes."""

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.communities.plane import main_plane
from models.communities.statistics import CommunityStatistics
from models.contract.types import Array, Floats

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

DRAWN_USERS = 1500  # about 150 KB
LARGEST_LABELLED = 12  # communities up to which the cells of a matrix carry their number
_NOBODYS = "#9a9a9a"
_STYLE: "dict[RcKeyType, Any]" = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "localrec",
}


def users_picture(embeddings: Floats, anchors: Floats, weights: Floats) -> str:
    """Users and anchors on the two main directions of the users' unit vectors (PCA).

    Args:
        embeddings: (n, d) of all users; ``DRAWN_USERS`` of them are drawn.
        anchors: (q, d).
        weights: (n, q) affinities: a user has the colour of the nearest community, grey without one.
    """
    plane, colours = main_plane(embeddings, anchors, DRAWN_USERS), _colours(len(anchors))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 5.2))
        axes = figure.subplots()
        _scatter(axes, plane.users, weights[plane.drawn], colours)
        for number, (x, y) in enumerate(plane.anchors.tolist()):
            axes.plot(x, y, "o", ms=15, mfc=colours[number], mec="black")
            axes.annotate(str(number), (x, y), ha="center", va="center", color=_ink(colours[number]), weight="bold")
        axes.set_xlabel(f"first direction, {plane.shares[0]:.0%} of the variance")
        axes.set_ylabel(f"second direction, {plane.shares[1]:.0%} of the variance")
        return _svg(figure, "users")


def sizes_picture(statistics: CommunityStatistics) -> str:
    """Users of each community, and their mean."""
    q = len(statistics.sizes)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 2.8))
        axes = figure.subplots()
        axes.bar(range(q), statistics.sizes, color=_colours(q), edgecolor="black", linewidth=0.5)
        axes.axhline(statistics.mean_size, color="black", linestyle="--", linewidth=1)
        axes.set_xticks(range(q))
        axes.set_xlabel("community (dashed: mean)")
        axes.set_ylabel("users")
        return _svg(figure, "sizes")


def overlap_picture(statistics: CommunityStatistics) -> str:
    """Heat map of the share of one community's users (row) who belong to another, too (column)."""
    overlap = np.asarray(statistics.overlap)
    q = len(overlap)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 4.6))
        axes = figure.subplots()
        image = axes.imshow(overlap, cmap="viridis", vmin=0, vmax=1)
        axes.set_xticks(range(q))
        axes.set_yticks(range(q))
        axes.set_xlabel("belongs to community, too")
        axes.set_ylabel("users of community")
        for row, column in np.ndindex(q, q) if q <= LARGEST_LABELLED else ():
            ink = "white" if overlap[row, column] < 0.6 else "black"
            axes.annotate(f"{overlap[row, column]:.2f}", (column, row), ha="center", va="center", color=ink, size=8)
        figure.colorbar(image, label="share")
        return _svg(figure, "overlap")


def _scatter(axes: Axes, places: Array, weights: Floats, colours: list[Any]) -> None:
    member = weights.any(axis=1)
    nearest = weights.argmax(axis=1)
    axes.plot(*places[~member].T, "x", ms=3, color=_NOBODYS)
    for number, colour in enumerate(colours):
        axes.plot(*places[member & (nearest == number)].T, "o", ms=2.5, mec="none", color=colour, alpha=0.7)


def _colours(q: int) -> list[Any]:
    return list(mpl.colormaps["turbo"](np.linspace(0.06, 0.94, q)))


def _ink(colour: Any) -> str:
    """Black or white, whichever reads better on a colour."""
    red, green, blue = colour[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _svg(figure: Figure, name: str) -> str:
    """The picture's element. ``name`` begins every id in it, as several pictures share a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    element = file.getvalue().partition("<svg ")[2]
    named = re.sub(r'\bid="|href="#|url\(#', lambda found: f"{found[0]}{name}-", element)
    return f'<svg aria-hidden="true" focusable="false" {named.rstrip()}'
