"""The garbage collector stays away from bundles: looking at millions of objects that live on holds every request."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Nothing is collected while a bundle loads, and what was loaded is never looked at again.

    A bundle still goes with its last reference: it has no cycles. Of what else was frozen with it, little has any, and
    that once a bundle.
    """
    gc.collect()  # what earlier bundles froze is not looked at
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
