"""The commands that speak to Redis, on a real one; and those that start a server, up to the start."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner, Result
from redis import Redis
from support.bundles import make_bundle

from localrec.cli import cli
from models.contract.bundle import Bundle, hash_files, write_manifest
from models.contract.errors import BundleError, LocalRecError
from models.contract.redis_schema import BUNDLE_CHANNEL, history_key, profile_key, seen_key
from models.export import PROFILES, STORED_VALUES


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle with the profiles of two users."""
    return with_profiles(make_bundle(tmp_path, seed=1))


def with_profiles(bundle: Bundle) -> Bundle:
    values = {name: [f"{name:<8}".encode(), f"{name[::-1]:<8}".encode()] for name in STORED_VALUES}
    rows = {"user_id": ["ann", "bob"]} | values
    bundle.path(PROFILES).parent.mkdir(exist_ok=True)
    pl.DataFrame(rows).write_parquet(bundle.path(PROFILES))
    manifest = msgspec.structs.replace(bundle.manifest, files=hash_files(bundle.directory))
    return write_manifest(bundle.directory, manifest)


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


class TestPublish:
    def test_profiles_are_written_and_the_pointer_moves(self, bundle: Bundle, redis_url: str) -> None:
        answer = localrec("publish", bundle.directory, "--redis-url", redis_url)

        assert answer.output.endswith(f"{bundle.id}: 2 profiles written\n{bundle.id}: current\n")
        with Redis.from_url(redis_url) as redis:
            assert redis.mget(profile_key("bob", bundle.id), history_key("bob"), seen_key("bob")) == [
                b"eliforp ",
                b"yrotsih ",
                b"nees    ",
            ]
        assert localrec("bundles", "--redis-url", redis_url).output == f"* {bundle.id}\n"

    def test_what_live_events_have_added_stays(self, bundle: Bundle, redis_url: str) -> None:
        with Redis.from_url(redis_url) as redis:
            redis.set(history_key("ann"), b"live")
            localrec("publish", bundle.directory, "--redis-url", redis_url)

            assert redis.get(history_key("ann")) == b"live"

    def test_without_activation_the_pointer_stays(self, bundle: Bundle, redis_url: str) -> None:
        localrec("publish", bundle.directory, "--no-activate", "--redis-url", redis_url)

        assert localrec("bundles", "--redis-url", redis_url).output == f"  {bundle.id}\n"
        assert localrec("activate", bundle.id, "--redis-url", redis_url).output == f"{bundle.id}: current\n"
        assert localrec("bundles", "--redis-url", redis_url).output == f"* {bundle.id}\n"

    def test_an_altered_bundle_writes_nothing(self, bundle: Bundle, redis_url: str) -> None:
        bundle.path("popularity.npy").unlink()

        answer = localrec("publish", bundle.directory, "--redis-url", redis_url)

        assert isinstance(answer.exception, BundleError)
        with Redis.from_url(redis_url) as redis:
            assert redis.dbsize() == 0


class TestPointer:
    def test_rollback_goes_back_and_is_announced(self, bundle: Bundle, redis_url: str, tmp_path: Path) -> None:
        other = with_profiles(make_bundle(tmp_path, seed=2))
        for published in (bundle, other):
            localrec("publish", published.directory, "--redis-url", redis_url)

        with Redis.from_url(redis_url) as redis, redis.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(BUNDLE_CHANNEL)
            channel.get_message(timeout=5)
            assert localrec("rollback", "--redis-url", redis_url).output == f"{bundle.id}: current\n"
            message: Any = channel.get_message(timeout=5)

        assert message["data"] == bundle.id.encode()
        assert localrec("bundles", "--redis-url", redis_url).output == f"* {bundle.id}\n  {other.id}\n"

    def test_there_must_be_something_to_go_back_to(self, redis_url: str) -> None:
        answer = localrec("rollback", "--redis-url", redis_url)

        assert str(answer.exception) == "no bundle was current before this one"

    def test_only_what_was_published_can_be_current(self, redis_url: str) -> None:
        answer = localrec("activate", "demo-2", "--redis-url", redis_url)

        assert str(answer.exception) == "demo-2: is not published; published are: none"


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock", "http://127.0.0.1"])
def test_where_no_redis_answers_the_url_is_named(url: str) -> None:
    answer = localrec("bundles", "--redis-url", url)

    assert isinstance(answer.exception, LocalRecError)
    assert str(answer.exception).startswith(f"redis: {url}: ")


def test_a_password_is_not_shown() -> None:
    answer = localrec("bundles", "--redis-url", "redis://operator:s3cret@127.0.0.1:1/0")

    assert "redis://operator:***@127.0.0.1:1/0" in str(answer.exception)
    assert "s3cret" not in str(answer.exception)


def test_the_environment_names_the_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALREC_REDIS_URL", redis_url)

    assert localrec("bundles").exit_code == 0


class TestServe:
    def test_the_gateway_gets_its_settings(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        started: list[tuple[Any, str, int]] = []
        monkeypatch.setattr("service.gateway.serve.serve", lambda *arguments: started.append(arguments))
        config = tmp_path / "gateway.toml"
        config.write_text(f'bundle_root = "{tmp_path}"\n')

        answer = localrec("serve", "gateway", "--config", config, "--port", 0)

        assert answer.exit_code == 0, answer.output
        ((settings, host, port),) = started
        assert (settings.bundle_root, host, port) == (tmp_path, "127.0.0.1", 0)

    def test_a_configuration_that_is_not_there_is_a_usage_error(self, tmp_path: Path) -> None:
        answer = localrec("serve", "gateway", "--config", tmp_path / "none.toml")

        assert answer.exit_code == 2
        assert "none.toml" in answer.output

    def test_flags_of_the_engine_reach_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        started: list[tuple[Any, ...]] = []
        monkeypatch.setattr("service.engine.serve.serve", lambda *arguments: started.append(arguments))

        answer = localrec("serve", "engine", "--bundle", tmp_path, "--max-batch", 8, "--dtype", "bfloat16")

        assert answer.exit_code == 0, answer.output
        ((directory, host, port, options),) = started
        assert (directory, host, port) == (tmp_path, "127.0.0.1", 8100)
        assert (options.max_batch, options.dtype) == (8, "bfloat16")

    @pytest.mark.parametrize("flag", ["--max-batch", "--max-queue", "--threads", "--adapter-budget-mib"])
    def test_the_engine_refuses_sizes_below_one(self, tmp_path: Path, flag: str) -> None:
        answer = localrec("serve", "engine", "--bundle", tmp_path, flag, 0)

        assert answer.exit_code == 2
        assert "0 is not in the range x>=1" in answer.output
