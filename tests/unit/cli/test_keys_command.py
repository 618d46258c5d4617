"""``localrec keys``: what it prints is what the gateway reads."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from localrec.cli import cli
from models.contract.errors import ConfigError
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import parse_keys


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_key_is_printed_once_and_found_by_the_lines_below():
    key, empty, *lines = localrec("keys", "new", "shop", "--scope", "recommend", "--scope", "events").output.split("\n")
    entry = "\n".join(lines)
    found = Keyring(parse_keys(entry.encode(), Path("f"))).find(key.encode())
    assert found is not None
    assert (found.caller.key, found.scopes, empty) == ("shop", {"recommend", "events"}, "")
    assert key.startswith("lrk_")
    assert key not in entry


def test_limits_are_written(tmp_path: Path):
    flags = ["--rate-per-s", "2.5", "--burst", 7, "--deadline-ms", 90, "--priority", "batch", "--days", 2]
    output = localrec("keys", "new", "nightly", "--scope", "recommend", *flags).output
    (key,) = parse_keys(output.split("\n", 2)[2].encode(), Path("f"))
    assert (key.rate_per_s, key.burst, key.deadline_ms, key.priority) == (2.5, 7, 90, "batch")
    assert key.expires is not None


@pytest.mark.parametrize("flags", [["--burst", 3], ["--rate-per-s", "-1"], ["--deadline-ms", 10_001]])
def test_entry_that_the_gateway_would_refuse_is_not_printed(flags: list[object]):
    answer = localrec("keys", "new", "shop", "--scope", "recommend", *flags)
    assert isinstance(answer.exception, ConfigError)
    assert answer.output == ""


def test_check_says_what_each_key_may(tmp_path: Path):
    path = tmp_path / "keys.toml"
    entries = [localrec("keys", "new", name, "--scope", "admin").output.split("\n", 2)[2] for name in ("a", "b")]
    path.write_text(entries[0] + entries[1] + "expires = 2020-01-01T00:00:00Z\n")
    assert localrec("keys", "check", path).output == "a: admin; valid\nb: admin; expired\n"
    path.write_text("")
    assert isinstance(localrec("keys", "check", path).exception, ConfigError)
