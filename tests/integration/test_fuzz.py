"""Every endpoint of the OpenAPI document, with requests that it allows and with requests that it does not.

No server error, ever; every answer is one that the document describes. ``LOCALREC_FUZZ_EXAMPLES`` says how many
requests of either kind each operation gets.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from support.gateway import running_gateway
from support.operators import Operators
from support.processes import free_port
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle
from service.gateway.api.operations import OPERATIONS, openapi_document
from service.gateway.api.operator_operations import OPERATOR_OPERATIONS, operators_document

EXAMPLES = int(os.environ.get("LOCALREC_FUZZ_EXAMPLES", "25"))
ALL = (*OPERATIONS, *OPERATOR_OPERATIONS)
TRIED = [(operation.name, GenerationMode.POSITIVE) for operation in ALL] + [
    (operation.name, GenerationMode.NEGATIVE) for operation in ALL if operation.body or operation.parameters
]
OF_OPERATORS = frozenset(operation.name for operation in OPERATOR_OPERATIONS)
load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
)


def has_bad_body(case: Case) -> bool:
    """Whether the document does not allow the case's body."""
    return any(
        part.value == "body" and made.mode is GenerationMode.NEGATIVE for part, made in case.meta.components.items()
    )


@pytest.fixture
def gateway(published: Bundle, stub: StubProcess, configure: Callable[..., Any]) -> Iterator[Operators]:
    """With a short deadline: a deletion waits for as long as a list may be on its way."""
    port = free_port()
    with running_gateway(configure(stub.url, default_deadline_ms=100, admin={"port": port})) as running:
        running.wait_ready()
        yield Operators(running, port)


@pytest.fixture(scope="module")
def statuses() -> Iterator[Counter[int]]:
    """Counts the answers by status; printed at the end."""
    counts: Counter[int] = Counter()
    yield counts
    by_status = ", ".join(f"{count} x {status}" for status, count in sorted(counts.items()))
    print(f"\nfuzzed: {counts.total()} requests: {by_status}")


@pytest.mark.parametrize(("name", "mode"), TRIED, ids=lambda part: getattr(part, "value", part))
def test_no_request_is_answered_with_a_server_error(
    gateway: Operators, statuses: Counter[int], name: str, mode: GenerationMode
):
    document = operators_document() if name in OF_OPERATORS else openapi_document()
    operation = schemathesis.openapi.from_dict(document).find_operation_by_id(name)
    url = f"http://127.0.0.1:{gateway.port if name in OF_OPERATORS else gateway.gateway.port}"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def try_it(case: Case) -> None:
        response = case.call(base_url=url, timeout=10)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKED)
        if name != "recommend_batch" and has_bad_body(case):  # of a batch, each is refused by itself
            assert 400 <= response.status_code < 500

    try_it()
    assert gateway.get("/healthz").status == 200
