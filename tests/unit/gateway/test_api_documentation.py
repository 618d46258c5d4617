"""The documentation names every endpoint, field and error code that there is."""

import re
from pathlib import Path

import pytest

from service.gateway import errors
from service.gateway.api.event_schemas import EventBody
from service.gateway.api.operations import OPERATIONS
from service.gateway.api.schemas import RecommendRequest

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_endpoint_is_described(operation):
    assert operation.path in TEXT


@pytest.mark.parametrize("field", [*RecommendRequest.model_fields, *EventBody.model_fields])
def test_every_field_is_described(field: str):
    assert re.search(rf"^\| .*`{field}`", TEXT, re.M)


def test_every_error_code_is_described():
    codes = re.findall(r"^\| \d+ +\| (\w+)", errors.__doc__ or "", re.M)
    assert len(codes) > 20
    assert [code for code in codes if f"`{code}`" not in TEXT] == []
