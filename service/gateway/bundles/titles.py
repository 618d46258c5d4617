"""Items found by words of their titles."""

from collections.abc import Iterator
from itertools import islice

from models.contract.catalogue import Catalogue
from models.contract.types import Ints


class Titles:
    """Searches a catalogue from its first item to its last; case does not matter.

    Args:
        catalogue: the items. One without a title is found by its id.
        order: (n_items,) item numbers in the order in which they are found.
    """

    def __init__(self, catalogue: Catalogue, order: Ints) -> None:
        self._catalogue = catalogue
        self._order: list[int] = order.tolist()
        self._texts = [(item.title or item.item_id).casefold() for item in catalogue.items]

    def find(self, query: str, n: int) -> list[int]:
        """At most ``n`` item numbers: the item whose id the query is, then those whose titles hold all of its words."""
        return list(islice(self._found(query), n))

    def _found(self, query: str) -> Iterator[int]:
        named, words = self._catalogue.number(query.strip()), query.casefold().split()
        if named is not None:
            yield named
        for number in self._order if words else ():
            if number != named and all(word in self._texts[number] for word in words):
                yield number
