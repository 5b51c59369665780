"""Logs: one canonical line per unit of work, a constant message and key/values.

JSON unless standard error is a terminal. Keys are lowerCamelCase; objects as values are
`namespace/name`. Tokens, keys and whole Pods are never logged.
"""

import datetime as dt
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog

from caios_federation.settings import LogSettings

_AGAIN_SECONDS: Final = 60.0
_LEVELS: Final = {"warn": "warning", "exception": "error"}
"""Levels by the methods that are not called as they are."""


class Seldom:
    """Trouble that is met every few seconds, and told when it is new and then once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: tuple[object, float] | None = None

    def due(self, trouble: object) -> bool:
        """Whether `trouble` is to be told now; it is taken for told then."""
        now = self._clock()
        if self._told and self._told[0] == trouble and now < self._told[1] + _AGAIN_SECONDS:
            return False
        self._told = trouble, now
        return True

    def over(self) -> None:
        """Note that there is none any more: what comes next is new."""
        self._told = None


def logger(name: str) -> Any:  # noqa: ANN401  # structlog's bound loggers are duck-typed
    """Return the logger of the module or subject `name`."""
    return structlog.get_logger(component=name)


def configure(settings: LogSettings) -> None:
    """Send our lines and those of the libraries to standard error, in one format."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [structlog.processors.format_exc_info]
    ours: structlog.typing.Processor
    theirs: structlog.typing.Processor
    if as_json:
        shared += [_headed]
        # Ours as bytes, past the text layer of standard error: Pods that are injected pay for them.
        ours = structlog.processors.JSONRenderer(serializer=_as_json)
        theirs = structlog.processors.JSONRenderer(serializer=_as_json_text)
        factory: Any = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        shared += [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        ]
        ours = theirs = structlog.dev.ConsoleRenderer()
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=[*shared, ours],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, theirs],
        )
    )
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    # Two lines an object and request would drown ours (facts: Kopf, settings to set).
    for name in ("kopf.objects", "aiohttp.access", "kopf._core.engines.admission"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _headed(
    _logger: Any,  # noqa: ANN401  # structlog's protocol
    method: str,
    event: structlog.typing.EventDict,
) -> structlog.typing.EventDict:
    """Put first what a person reads first: when, how bad, what.

    One step for what structlog has three for: an injected Pod pays for its line.
    """
    return {
        "ts": dt.datetime.now(dt.UTC),
        "level": _LEVELS.get(method, method),
        "msg": event.pop("event"),
        **event,
    }


def _as_json(event: structlog.typing.EventDict, default: Callable[[Any], Any]) -> bytes:
    """Return `event` as JSON; whatever it holds, it is written."""
    try:
        return orjson.dumps(event, default=default, option=orjson.OPT_UTC_Z)
    except TypeError:  # half of a surrogate pair, an integer beyond 64 bits, a key that is no text
        return json.dumps(event, default=str, skipkeys=True).encode()


def _as_json_text(event: structlog.typing.EventDict, default: Callable[[Any], Any]) -> str:
    return _as_json(event, default).decode()
