import pytest
from support.answering import answering
from support.processes import free_port

from loadtests.target import bearer, check_ready, check_target, items_of


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "https://[::1]:8443", "http://127.1.2.3"])
def test_this_machine_may_be_loaded(url: str) -> None:
    check_target(url, allow_remote=False)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.7:8080", "https://shop.example", "http://localhost.example", "http://0.0.0.0:8080", "http://[::2]"],
)
def test_another_machine_needs_the_flag(url: str) -> None:
    with pytest.raises(ValueError, match="--allow-remote"):
        check_target(url, allow_remote=False)
    check_target(url, allow_remote=True)


@pytest.mark.parametrize("url", [None, "", "127.0.0.1:8080", "ftp://127.0.0.1", "http://"])
def test_an_address_must_be_http_even_with_the_flag(url: str | None) -> None:
    with pytest.raises(ValueError, match="expected an address"):
        check_target(url, allow_remote=True)


def test_a_service_must_be_there_and_ready():
    with pytest.raises(ValueError, match="nothing runs at"):
        check_ready(f"http://127.0.0.1:{free_port()}")
    with answering(ready=False) as server, pytest.raises(ValueError, match="is not ready: 503"):
        check_ready(f"http://127.0.0.1:{server.port}")
    with answering() as server:
        check_ready(f"http://127.0.0.1:{server.port}")


def test_items_are_those_of_the_first_users_lists():
    with answering() as server:
        items = items_of(f"http://127.0.0.1:{server.port}", [f"u{number}" for number in range(30)])
    assert items == tuple(sorted(map(str, range(10))))
    assert server.user_ids == [f"u{number}" for number in range(20)]


def test_a_service_without_lists_is_named():
    with answering(status=500) as server, pytest.raises(ValueError, match=r"/recommend: 500 .*internal"):
        items_of(f"http://127.0.0.1:{server.port}", ["u1"])


def test_the_key_of_the_environment_is_presented(monkeypatch: pytest.MonkeyPatch):
    assert bearer() == {}
    monkeypatch.setenv("LOADTEST_API_KEY", "secret")
    assert bearer() == {"Authorization": "Bearer secret"}
