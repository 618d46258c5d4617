"""The probe of a real, tiny bundle."""

import numpy as np
from support.runs import FinishedRun

from models.contract.probe import BASE, distance, load_probe
from models.contract.prompts import load_prompts
from models.contract.types import item_numbers
from models.ranking.probing import make_probe
from models.ranking.system import open_system

ROUNDING = 1e-3


def test_the_bundles_probe_is_what_its_adapters_rank(finished_run: FinishedRun):
    bundle = finished_run.bundle
    adapters = bundle.manifest.model.adapters
    probe = load_probe(bundle.directory, adapters)
    assert set(probe.lists) == {BASE, *adapters}
    assert probe.prompt.tolist() == load_prompts(bundle).prompt(probe.history)
    again = make_probe(open_system(bundle))
    for name in adapters:
        assert probe.complaint(name, again.lists[name]) == ""
        assert not set(probe.lists[name].items.tolist()) & set(probe.history.tolist())
        assert (np.diff(probe.lists[name].scores) <= 0).all()


def test_lists_that_differ_are_told_apart(finished_run: FinishedRun):
    """Tiny adapters may be twins for every purpose; the base model has seen no data, and is like none of them."""
    bundle = finished_run.bundle
    probe = load_probe(bundle.directory, bundle.manifest.model.adapters)
    for name in bundle.manifest.model.adapters:
        assert distance(probe.lists[name], probe.lists[BASE]) > ROUNDING
        for other in probe.lists.keys() - {name}:
            differs = distance(probe.lists[name], probe.lists[other]) > ROUNDING
            assert bool(probe.complaint(name, probe.lists[other])) == differs


def test_it_asks_for_the_most_popular_items(finished_run: FinishedRun):
    system = open_system(finished_run.bundle)
    history = make_probe(system).history
    least = system.popularity[history].min()
    assert (np.delete(system.popularity, item_numbers(history)) <= least).all()
