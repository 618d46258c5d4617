"""The reader of examples itself: it must be able to find fault."""

import os
from pathlib import Path

import pytest
from support.examples import Example, examples_of

DOCUMENT = """
```
$ not one of ours
```
```console
$ echo '{"a": 1,
$ echo second \\
>     line
second …
$ true
```
"""


def test_commands_and_outputs_are_told_apart():
    assert examples_of(DOCUMENT)[1:] == [Example("echo second \\\n    line", "second …"), Example("true", "")]


@pytest.mark.parametrize(
    ("output", "printed", "like"),
    [
        ("", "", True),
        ("", "x", False),
        ('{"a": 1}', '{"a":\n  1}\n', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"id": "…", "n": 3}', '{"id": "x", "n": 3}', True),
        ('{"id": "…", "n": 3}', '{"id": "x", "n": 4}', False),
        ("a.c", "abc", False),
    ],
)
def test_output_is_compared_but_for_what_is_left_out(output: str, printed: str, like: bool):
    assert Example("", output).is_like(printed) is like


def test_a_command_runs_with_replacements(tmp_path: Path):
    example = Example("echo localhost:8080 | tr -d :", "localhost9999")
    assert example.is_like(example.run(tmp_path, {"8080": "9999"}, os.environ))
