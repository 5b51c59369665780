"""The policies at CoreWeave that are ours: one LIST for all bindings, kept true by our own writes.

Reading the list for each binding would cost n LISTs of n policies. So it is read once, by whoever
asks first after a resync, and everybody else shares the answer, also the answer that it failed.
"""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.core.sync import UNREADABLE, meaning_of
from caios_federation.observe.metrics import PolicyOperation, PolicyResult

_FAILURE_SECONDS: Final = 5.0
"""How long a LIST that failed is everybody's answer, unless the service asks for more."""
_PATIENCE_SECONDS: Final = 1.0
"""How long a LIST is waited for after one that failed: this one may hang, for all who ask."""
_SETTLE_SECONDS: Final = 30.0
"""How long our own write is believed more than a LIST: the service may be slow to show it."""
_LATE_SECONDS: Final = 60.0
"""How long a write that got no answer may still come about, also after others that did: gateways
and services give up what nobody waits for any more after a minute, as a rule."""


Written = Callable[[PolicyOperation, PolicyResult], None]
"""Told of each write of a policy."""


class PolicyApi(Protocol):
    """The part of CoreWeave's API that is needed here."""

    async def policies(self) -> Mapping[str, Json]:
        """Return all policies of the organization by name. Raises ClientError."""

    async def ensure_policy(self, document: Json) -> None:
        """Create or replace a policy. Raises ClientError."""

    async def delete_policy(self, name: str) -> None:
        """Remove a policy; one that is gone is fine. Raises ClientError."""


class Place:
    """What all who look at the same policies share: they are told of each other's writes.

    Two federations may have one organization and prefix, and a binding may change between them.
    """

    def __init__(self) -> None:
        self.snapshots = weakref.WeakSet[PolicySnapshot]()
        self.turns = weakref.WeakValueDictionary[str, asyncio.Lock]()
        """Writes of one policy take turns: requests under way may overtake each other."""


class PolicySnapshot:
    """What is at CoreWeave under the names that start with `prefix`."""

    def __init__(
        self,
        api: PolicyApi,
        prefix: str,
        clock: Callable[[], float] = time.monotonic,
        place: Place | None = None,
        written: Written = lambda _operation, _result: None,
    ) -> None:
        self.prefix = prefix
        self.unswept = False
        """Whether orphans were not looked for since the last LIST."""
        self._api = api
        self._clock = clock
        self._counted = written
        self._known: dict[str, str] | None = None
        self._listing: asyncio.Task[Mapping[str, str]] | None = None
        self._failure: tuple[float, errors.ClientError] | None = None
        """Until when it is the answer, and what went wrong."""
        self._written: dict[str, tuple[float, str | None]] = {}
        """When we wrote which meaning, None for a removal."""
        self._late: dict[tuple[str, str | None], float] = {}
        """Writes that got no answer, by policy and meaning, and until when they may come about."""
        self._came_late = frozenset[str]()
        """Policies of which a write may have come about late before the last LIST."""
        self._place = Place() if place is None else place
        for other in self._place.snapshots:  # such as that of the former API token
            wrote, late = other.writes()
            self._written.update(wrote)
            self._late.update(late)
        self._place.snapshots.add(self)

    def writes(
        self,
    ) -> tuple[Mapping[str, tuple[float, str | None]], Mapping[tuple[str, str | None], float]]:
        """Return what was written and when, and until when what got no answer may come about."""
        return self._written, self._late

    def owned(self, name: str) -> bool:
        """Tell whether a policy may be touched: its name has this cluster's prefix."""
        return name.startswith(self.prefix)

    def expire(self) -> None:
        """Have whoever asks next list anew."""
        self._known = None
        self._failure = None

    def retry(self) -> None:
        """Have a LIST that failed tried again by whoever asks next."""
        self._failure = None

    async def current(self) -> Mapping[str, str]:
        """Return the meaning of each policy that is ours, by name. Raises ClientError."""
        if any(until <= self._clock() for until in self._late.values()):
            self._known = None  # what came about is known by another LIST alone
        if self._known is not None:
            return self._known
        if self._failure is not None and self._clock() < self._failure[0]:
            raise self._as_of_now(*self._failure)
        if self._listing is None:
            self._listing = asyncio.create_task(self._list())
            self._listing.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Not cancelled with one who waits, since the others still want its answer.
        listing, failure = self._listing, self._failure
        patience = None if failure is None else _PATIENCE_SECONDS
        done, _ = await asyncio.wait([listing], timeout=patience)
        if failure is not None and not done:
            raise self._as_of_now(*failure)
        return listing.result()

    def _as_of_now(self, until: float, error: errors.ClientError) -> errors.ClientError:
        """Return `error` for somebody else to raise: with what is left of the wait it asks for."""
        if isinstance(error, errors.Retryable) and error.retry_after_seconds is not None:
            left = until - self._clock()
            error.retry_after_seconds = left if left > 0 else None
        return error.with_traceback(None)

    def known(self) -> Mapping[str, str]:
        """Return what `current` would without listing; nothing while it would have to list."""
        return self._known or {}

    def unsettled_seconds(self, name: str, wanted: str | None) -> float | None:
        """Return in how many seconds to look at a policy again, if a late write may change it.

        `wanted` is the meaning that it is to have, None for a removal: what comes about late and
        says the same changes nothing.
        """
        late = [
            until
            for (policy, meaning), until in self._late.items()
            if policy == name and meaning != wanted
        ]
        return max(max(late) - self._clock(), 0) if late else None

    def came_late(self, name: str) -> bool:
        """Tell whether what the last LIST shows of a policy may be a late write of our own."""
        return name in self._came_late

    async def ensure(self, document: Json) -> None:
        """Create or replace one of our policies. Raises ClientError."""
        name = document["name"]
        with self._counting(PolicyOperation.ENSURE):
            await self._write(name, meaning_of(document), lambda: self._api.ensure_policy(document))

    async def delete(self, name: str) -> None:
        """Remove one of our policies; one that is gone is fine. Raises ClientError."""
        with self._counting(PolicyOperation.DELETE):
            await self._write(name, None, lambda: self._api.delete_policy(name))

    @contextmanager
    def _counting(self, operation: PolicyOperation) -> Iterator[None]:
        try:
            yield
        except errors.ClientError:
            self._counted(operation, PolicyResult.FAILED)
            raise
        self._counted(operation, PolicyResult.DONE)

    async def _write(
        self, name: str, meaning: str | None, request: Callable[[], Awaitable[None]]
    ) -> None:
        async with self._place.turns.setdefault(name, asyncio.Lock()):
            undo = [snapshot.doubt(name) for snapshot in self._place.snapshots]
            try:
                await request()
            except errors.Terminal:
                for each in undo:
                    each()
                raise
            except (errors.Unavailable, asyncio.CancelledError) as error:
                if not isinstance(error, errors.Unavailable) or error.unanswered:
                    for snapshot in self._place.snapshots:
                        snapshot.unanswered(name, meaning)
                raise
            for snapshot in self._place.snapshots:
                snapshot.wrote(name, meaning)

    def doubt(self, name: str) -> Callable[[], None]:
        """Note that a policy may or may not be there; return what takes that back."""
        known, last = self._known, self._written.get(name)
        before = None if known is None else known.get(name)
        self.wrote(name, UNREADABLE)

        def as_before() -> None:
            # Refused, so it is as it was; if a LIST was taken meanwhile, that stays in doubt.
            self._written.pop(name, None)
            if last is not None:
                self._written[name] = last
            if known is not None:
                _put(known, name, before)

        return as_before

    def unanswered(self, name: str, meaning: str | None) -> None:
        """Note that a write of a policy may still come about, whatever is written by then."""
        self._late[name, meaning] = self._clock() + _LATE_SECONDS

    async def _list(self) -> Mapping[str, str]:
        began = self._clock()
        try:
            listed = await self._api.policies()
        except errors.ClientError as error:
            asked = error.retry_after_seconds if isinstance(error, errors.Retryable) else None
            self._failure = (self._clock() + max(_FAILURE_SECONDS, asked or 0), error)
            raise
        finally:
            self._listing = None
        known = {name: meaning_of(body) for name, body in listed.items() if self.owned(name)}
        horizon = began - _SETTLE_SECONDS
        self._written = {name: told for name, told in self._written.items() if told[0] > horizon}
        late = frozenset(name for name, _ in self._late)
        for name, (_, meaning) in self._written.items():
            # A write that came about late is after the last one of ours, so that is not believed.
            if name not in late or meaning == UNREADABLE:
                _put(known, name, meaning)
        self._came_late = late
        self._late = {what: until for what, until in self._late.items() if until > began}
        self._known, self._failure, self.unswept = known, None, True
        return known

    def wrote(self, name: str, meaning: str | None) -> None:
        """Note what a write of ours made of a policy; None for a removal."""
        self._written[name] = (self._clock(), meaning)
        if self._known is not None:
            _put(self._known, name, meaning)


def _put(known: dict[str, str], name: str, meaning: str | None) -> None:
    if meaning is None:
        known.pop(name, None)
    else:
        known[name] = meaning
