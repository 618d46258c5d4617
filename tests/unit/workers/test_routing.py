"""Adapters are asked where they are, in as few calls as the worker's contract allows."""

from dataclasses import dataclass, field

from service.workers.routing import Errand, one_each, together
from service.workers.types import Outcome, OutcomeKind

NAMES = ["a", "b", "c", "d"]
FULL = Outcome(OutcomeKind.REFUSED)


@dataclass(eq=False)
class Replica:
    url: str
    held: str = ""
    in_flight: int = 0
    is_resting: bool = False
    obstacle: Outcome | None = None
    asked: list[str] = field(default_factory=list)

    def holds(self, name: str) -> bool:
        return name in self.held


def shown(errands: list[Errand[Replica]]) -> dict[str, list[str]]:
    return {"".join(errand.names): [replica.url for replica in errand.holders] for errand in errands}


def test_one_call_each_in_its_own_order_where_it_is_held() -> None:
    x, y, z = Replica("x", "ab"), Replica("y", "abc"), Replica("z")
    orders = {"a": [x, y, z], "b": [z, y, x], "c": [x, y, z], "d": [x, y, z]}
    assert shown(one_each(NAMES, orders.__getitem__)) == {"a": ["x", "y"], "b": ["y", "x"], "c": ["y"], "d": []}


def test_one_that_rests_comes_last() -> None:
    x, y = Replica("x", "a", is_resting=True), Replica("y", "a")
    assert shown(one_each(["a"], lambda _: [x, y])) == {"a": ["y", "x"]}


def test_free_holders_are_those_without_an_obstacle() -> None:
    x, y = Replica("x", "a", obstacle=FULL), Replica("y", "a")
    assert Errand(("a",), (x, y)).free == [y]


def test_all_in_one_call_where_one_replica_holds_all() -> None:
    assert shown(together(NAMES, [Replica("x", "ab"), Replica("y", "abcd")])) == {"abcd": ["y"]}


def test_idlest_of_equals_then_the_first() -> None:
    x, y, z = Replica("x", "abcd", 2), Replica("y", "abcd", 1), Replica("z", "abcd", 1)
    assert shown(together(NAMES, [x, y, z])) == {"abcd": ["y", "x", "z"]}


def test_split_over_replicas_and_who_is_nowhere_goes_alone() -> None:
    x, y = Replica("x", "ab"), Replica("y", "bc")
    assert shown(together(NAMES, [x, y])) == {"ab": ["x"], "c": ["y"], "d": []}


def test_one_that_cannot_take_it_is_asked_only_for_what_nobody_else_has() -> None:
    x, y = Replica("x", "abcd", obstacle=FULL), Replica("y", "abc")
    assert shown(together(NAMES, [x, y])) == {"abc": ["y", "x"], "d": ["x"]}
    rests = Replica("x", "abcd", is_resting=True)
    assert shown(together(NAMES, [rests, y])) == {"abc": ["y", "x"], "d": ["x"]}


def test_nobody_there() -> None:
    assert shown(together(["a", "b"], [])) == {"a": [], "b": []}
