"""The command line as a whole: what it imports, what it says, how it fails."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from localrec import cli
from localrec.cli import COMMANDS, main
from models.contract.errors import BundleError


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["serve", "--help"],
        ["serve", "gateway", "--help"],
        ["bundles", "--help"],
        ["bundle", "verify", "--help"],
        ["experiment", "--help"],
        ["--version"],
    ],
)
def test_who_serves_never_loads_the_offline_half(arguments: list[str]) -> None:
    check_loads_none_of({"torch", "transformers", "peft", "polars", "scipy"}, arguments)


@pytest.mark.parametrize("words", ["export events", "publish", "capacity", "experiment report"])
def test_who_looks_at_what_was_recorded_loads_no_models(words: str) -> None:
    check_loads_none_of({"torch", "transformers", "peft"}, [*words.split(), "--help"])


def check_loads_none_of(libraries: set[str], arguments: list[str]) -> None:
    code = (
        "import sys, localrec.cli\n"
        f"try: localrec.cli.main({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = {libraries} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )

    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert process.returncode == 0, process.stderr
    assert process.stdout


def test_the_list_of_commands_is_complete_without_an_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0

    text = capsys.readouterr().out
    for name, (_, _, line) in COMMANDS.items():
        assert f"\n  {name} " in text
        assert " ".join(line.split()[:3]) in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_help(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    below = list(commands(command, (name,))) if isinstance(command, click.Group) else []

    for path, found in [((name,), command), *below]:
        answer = CliRunner().invoke(cli.cli, [*path, "--help"])
        assert answer.exit_code == 0, path
        assert found.help, path
        assert found.help.splitlines()[0] in " ".join(answer.output.split()), path
        for parameter in found.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (path, parameter.name)


def test_no_flag_is_given_twice() -> None:
    for path, command in commands(cli.cli):
        flags = [flag for parameter in command.params for flag in parameter.opts]
        assert len(flags) == len(set(flags)), path


class TestErrors:
    def test_an_error_for_people_is_one_line_and_exit_code_1(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        @click.command()
        def fails() -> None:
            raise BundleError("demo-1: items.jsonl is missing")

        monkeypatch.setattr(sys.modules[__name__], "fails", fails, raising=False)
        monkeypatch.setitem(COMMANDS, "fails", (f"{__name__}:fails", "", "Fails."))

        assert exit_code(["fails"]) == 1
        captured = capsys.readouterr()
        assert captured.err == "localrec: demo-1: items.jsonl is missing\n"
        assert captured.out == ""

    def test_an_unknown_command_is_a_usage_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert exit_code(["recommend"]) == 2
        assert "No such command 'recommend'" in capsys.readouterr().err

    @pytest.mark.parametrize(("extra", "named"), [("train", "train"), ("", "dev")])
    def test_a_missing_extra_is_the_line_that_installs_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], extra: str, named: str
    ) -> None:
        monkeypatch.setitem(COMMANDS, "evaluate", ("polarsnot.offline:evaluate", extra, "Evaluate."))

        assert exit_code(["evaluate"]) == 1
        assert capsys.readouterr().err == f"localrec: evaluate needs polarsnot: pip install 'localrec[{named}]'\n"

    def test_a_module_of_our_own_that_is_missing_is_a_bug_not_an_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(COMMANDS, "evaluate", ("localrec.nowhere:evaluate", "train", "Evaluate."))

        with pytest.raises(ModuleNotFoundError, match=r"localrec\.nowhere"):
            main(["evaluate"])

    def test_a_bug_is_not_made_pretty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        @click.command()
        def fails() -> None:
            raise KeyError("bug")

        monkeypatch.setattr(sys.modules[__name__], "fails", fails, raising=False)
        monkeypatch.setitem(COMMANDS, "fails", (f"{__name__}:fails", "", "Fails."))

        with pytest.raises(KeyError):
            main(["fails"])


def test_python_m_localrec_is_localrec() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "localrec", "bundle", "verify", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert process.returncode == 1
    assert process.stderr.splitlines() == [
        "localrec: nowhere: no manifest.json: not a bundle, or one that was not finished"
    ]
