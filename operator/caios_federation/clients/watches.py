"""A watch of the API server: a stream of lines, each of them an event as JSON."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import aiohttp
import orjson

from caios_federation.api.objects import Json
from caios_federation.clients import errors

WATCH_SECONDS: Final = 300
"""How long the API server keeps a watch open."""
CONNECT_SECONDS: Final = 5.0
"""For an attempt to connect: one that was begun before a broken path is back must not last."""
SILENCE_SECONDS: Final = 90.0
"""After so long without a line a watch is given up: a bookmark comes each minute (KEP-956). A
connection that is gone without a word is noticed earlier, by its socket."""
_BOOKMARK: Final = "BOOKMARK"
_GONE: Final = 410
_TURN: Final = 20
"""Events that are told before others get their turn in the event loop."""


class WatchEvent(NamedTuple):
    """What happened to an object."""

    type: str
    """ADDED, MODIFIED or DELETED; BOOKMARK: nothing happened until its version."""
    object: Json
    version: str
    """To go on from, on another watch."""

    @property
    def is_bookmark(self) -> bool:
        """Whether the object is none."""
        return self.type == _BOOKMARK


async def read_events(stream: aiohttp.StreamReader, what: str) -> AsyncIterator[WatchEvent]:
    """Yield the events of a watch until it ends. `what` is for messages.

    Raises Expired where events were lost, Unavailable for an error that the API server tells.
    """
    begun, told = b"", 0
    async for chunk in stream.iter_any():
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            if line:
                yield _event_of(line, what)
            told += 1
            if told % _TURN == 0:
                await asyncio.sleep(0)


def _event_of(line: bytes, what: str) -> WatchEvent:
    try:
        event = orjson.loads(line)
        found, kind = event["object"], event["type"]
        if kind == "ERROR":
            raise _error_of(found, what)
        return WatchEvent(kind, found, found["metadata"]["resourceVersion"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise errors.Malformed(f"API server: {what}: a line that is no event") from error


def _error_of(status: Mapping[str, Any], what: str) -> errors.ClientError:
    """Translate the Status of an ERROR event; of it, only the code and the reason are shown."""
    code = status.get("code")
    kind = errors.Expired if code == _GONE else errors.Unavailable
    return kind(f"API server: {what}: {code} {str(status.get('reason'))[:64]}")
