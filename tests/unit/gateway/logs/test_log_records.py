"""Records of the log, for machines and for people."""

import json
import logging
import sys

import pytest

from service.gateway.logs.records import FIELDS, JsonFormatter, TextFormatter


def record(
    message: str = "bundle %s refused", *values: object, exc: bool = False, **fields: object
) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, __file__, 1, message, values, sys.exc_info() if exc else None)
    setattr(made, FIELDS, fields)
    return made


def test_json_is_one_line_with_what_the_record_has_beside_its_message():
    line = JsonFormatter().format(record("bundle %s\nrefused", "b1", request_id="r", timings_ms={"plan": 1.5}))
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "warning",
        "logger": "a.b",
        "message": "bundle b1\nrefused",
        "request_id": "r",
        "timings_ms": {"plan": 1.5},
    }


def test_json_has_the_traceback_and_writes_what_has_no_json_as_text():
    try:
        raise ValueError("surprise")
    except ValueError:
        line = JsonFormatter().format(record("failed", exc=True, odd={1, 2}))
    told = json.loads(line)
    assert "surprise" in told["exception"]
    assert told["odd"] == "{1, 2}"


@pytest.mark.parametrize(("fields", "end"), [({}, "refused"), ({"status": 503, "n": 2}, "refused status=503 n=2")])
def test_text_has_it_behind_the_message(fields: dict[str, object], end: str):
    assert TextFormatter().format(record("bundle %s refused", "b1", **fields)).endswith(f"WARNING a.b: bundle b1 {end}")


@pytest.mark.parametrize("odd", ["bundles/\udcff", 2**70])
def test_what_the_quick_encoder_refuses_is_told_all_the_same(odd: object):
    assert json.loads(JsonFormatter().format(record("refused", what=odd)))["what"] == odd
