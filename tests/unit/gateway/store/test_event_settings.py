"""What an event changes, as the settings and their manual have it."""

import tomllib
from pathlib import Path

import pytest

from service.gateway.settings import Settings
from service.gateway.store.settings import EventSettings

MANUAL = Path(__file__).parents[4] / "deploy" / "gateway.toml"


def test_manual_states_every_key_with_its_default():
    written = tomllib.loads(MANUAL.read_text())["events"]
    assert written.keys() == EventSettings.model_fields.keys()
    assert EventSettings.model_validate(written | {key: tuple(written[key]) for key in ("history", "seen")}) == (
        Settings().events
    )


@pytest.mark.parametrize(
    ("kind", "value", "enters"),
    [("rating", 2.9, False), ("rating", 3.0, True), ("click", None, True), ("view", None, False), ("click", 1.0, True)],
)
def test_low_ratings_and_types_left_out_are_not_history(kind, value, enters):
    settings = EventSettings(history=("click", "rating"), min_rating=3.0)
    assert settings.enters_history(kind, value) is enters
