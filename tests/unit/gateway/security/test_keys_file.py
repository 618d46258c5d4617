"""The keys file changes while it is followed."""

from pathlib import Path

import pytest

from models.contract.errors import ConfigError
from service.gateway.security.access import Access
from service.gateway.security.keys import digest_of
from service.gateway.security.keys_file import KeysFile, load_keyring


def entry(name: str, key: str) -> str:
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(key.encode()).hex()}"\nscopes = ["recommend"]\n'


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text(entry("shop", "old"))
        self.access = Access(load_keyring(path), lambda *_: None)
        self.file = KeysFile(path, self.access)

    async def after(self, content: str) -> list[bool]:
        self.path.write_text(content)
        await self.file.look()
        return await self.look()

    async def look(self) -> list[bool]:
        """Whether the old and the new key are in force."""
        await self.file.look()
        assert self.access.keyring is not None
        return [self.access.keyring.find(key) is not None for key in (b"old", b"new")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "keys.toml")


async def test_rotation_needs_no_restart(world: World):
    assert await world.look() == [True, False]
    assert await world.after(entry("shop", "old") + entry("shop-2", "new")) == [True, True]
    assert await world.after(entry("shop-2", "new")) == [False, True]


async def test_change_of_the_same_size_within_one_tick_is_seen(world: World):
    """Another digest: as many bytes, and the file's time may be the same."""
    await world.look()
    assert await world.after(entry("shop", "new")) == [False, True]


async def test_file_that_is_half_written_does_not_count(world: World):
    await world.after(entry("shop", "old"))
    world.path.write_text(entry("shop", "new"))  # its limits are still to come
    assert await world.look() == [True, False]
    await world.after(entry("shop", "new") + "rate_per_s = 1\nexpires = 2020-01-01T00:00:00Z\n")
    assert world.access.keyring is not None
    assert [(key.bucket is None, key.expires_at < 2e9) for key in world.access.keyring.keys] == [(False, True)]


async def test_bad_file_keeps_the_keys_and_says_so_once(world: World, caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        assert await world.after(entry("shop", "new") + "surprise = 1") == [True, False]
    assert "surprise" in world.file.problem
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert await world.after(entry("shop", "new")) == [False, True]
    assert world.file.problem == ""


async def test_file_that_vanishes_keeps_the_keys_and_may_come_back_as_it_was(world: World):
    content = world.path.read_text()
    world.path.unlink()
    assert await world.look() == [True, False]
    assert "No such file" in world.file.problem
    assert await world.after(content) == [True, False]
    assert world.file.problem == ""


def test_missing_file_at_the_start_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load_keyring(tmp_path / "none.toml")
