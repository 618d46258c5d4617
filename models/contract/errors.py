"""Every error that LocalRec raises on purpose.

LocalRecError
├── ConfigError      a setting has an unknown key, a wrong type or an impossible value
│   └── EnvironmentVariableError  so has one that a variable of the environment gave
├── DataError        an input table cannot be used: missing column, too many malformed rows, nothing left
├── BundleError      a bundle is incomplete, altered, of another schema, or of wrong dimensions
└── MissingExtraError  a library of an optional extra is not installed
"""


class LocalRecError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""

    exit_code = 1


class ConfigError(LocalRecError):
    """A setting cannot be used. The message names key, value and what is expected."""


class EnvironmentVariableError(ConfigError):
    """A variable of the environment cannot be used. The message names it, its value and what is expected."""

    exit_code = 2  # as for a flag that cannot be used


class DataError(LocalRecError):
    """An input table cannot be used. The message names file, column and reason."""


class BundleError(LocalRecError):
    """A bundle must not be served. The message names the file and what is wrong with it."""


class MissingExtraError(LocalRecError):
    """A command needs an optional extra. The message is the ``pip install`` line."""
