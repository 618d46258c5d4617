import pytest

from loadtests.target import check_target


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
