"""What ``localrec serve stack`` and the demo say of where things are."""

from localrec.serving_stack import addresses
from localrec.stack import Stack, Worker

REDIS = "unix:///tmp/redis.sock"


def test_a_service_says_where_its_parts_and_its_console_are() -> None:
    stack = Stack(REDIS, {"local": Worker(None, 8100, "engine")}, None, gateway_port=8080)
    lines = dict(line.split(maxsplit=1) for line in addresses(stack, admin_port=8081).splitlines())
    assert lines["gateway"].startswith("http://127.0.0.1:8080 ")
    assert lines["console"] == "http://127.0.0.1:8081/console"
    assert lines["admin"].startswith("http://127.0.0.1:8081 ")
    assert lines["worker"] == "http://127.0.0.1:8100   local (engine)"
    assert lines["redis"] == REDIS


def test_without_an_operators_port_there_is_no_console() -> None:
    assert [line.split()[0] for line in addresses(Stack(REDIS, {}, None, 8080), 0).splitlines()] == ["gateway", "redis"]
