"""Log records on standard error, as text for people or as JSON for machines: one line each."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

import orjson

from service.gateway.logs.settings import LogFormat

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS = "fields"  # of a record: what is told beside the message, by name


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, what the record has beside it, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # the name of a file that is no UTF-8, a number of more than 64 bits
            return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """A line for people; what a record has beside its message follows as ``name=value``."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line but for a traceback."""
        fields = getattr(record, FIELDS, {})
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())])


def start_logging(wanted: LogFormat | None, everywhere: Mapping[str, object] = MappingProxyType({})) -> None:
    """From now on all records from ``INFO`` on, in the wanted format, each with the fields ``everywhere``."""
    handler = logging.StreamHandler()
    as_text = sys.stderr.isatty() if wanted is None else wanted == "text"
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    handler.addFilter(partial(_with_fields, everywhere))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _with_fields(everywhere: Mapping[str, object], record: logging.LogRecord) -> bool:
    setattr(record, FIELDS, {**everywhere, **getattr(record, FIELDS, {})})
    return True
