"""Leadership by a Lease: of several candidates, one acts.

Why not `kubernetes.aio.leaderelection` (37.0): it measures by the wall clock, so that a step of it
prolongs a term; counts the time to renew from the first failure on, and looks at it between
requests only, so that one that hangs prolongs it too; cancels what acts without waiting for its
end; does not see it fail; and never gives the Lease back. Each of them can have two act at a time.

How it is known that only one does:

- A holder acts until `renew_deadline_seconds` after the moment *before* it sent its last write that
  was answered. By then what acts has been cancelled, and fence.py keeps back what it would send.
- Others take the Lease when they saw no change of it for `duration_seconds`, by their own clock
  from the moment *after* they saw the last one. The times in the Lease are for people.
- Each write names the version that it replaces, so of two that take it one is refused.

What is left is a request that was sent in time and is carried out late; between the two periods
there is a third of the Lease's duration for it.
"""

import asyncio
import datetime as dt
import math
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from caios_federation.api.objects import Json, mapping_of
from caios_federation.clients import errors, fence
from caios_federation.clients.fence import Term
from caios_federation.clients.kubernetes import LEASE, Kind
from caios_federation.settings import LeaseSettings

_GRACE_SECONDS: Final = 3.0
"""How long what is under way may take to end by itself when the process ends."""
_RELEASE_SECONDS: Final = 2.0
"""How long the Lease is tried to be given back, also when the API server does not answer."""
_EARLY: Final = 0.75
"""Part of the retry period that a wait takes at least: jitter, and never later than promised."""


class Store(Protocol):
    """Where the Lease is: the part of KubernetesClient that is needed here."""

    async def read(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return an object. Raises NotFound."""

    async def create(self, kind: Kind, body: Json) -> Json:
        """Create an object. Raises WriteConflict."""

    async def replace(self, kind: Kind, body: Json) -> Json:
        """Put `body` in the place of the object of its version. Raises WriteConflict."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What a Lease says; any difference means that somebody is alive."""

    holder: str
    seconds: float
    times: tuple[object, object, object]

    @classmethod
    def of(cls, lease: Json) -> "_Record":
        spec = mapping_of(lease, "spec")
        seconds = spec.get("leaseDurationSeconds")
        times = spec.get("acquireTime"), spec.get("renewTime"), spec.get("leaseTransitions")
        return cls(
            str(spec.get("holderIdentity") or ""),
            seconds if isinstance(seconds, int) else 0,
            times,
        )


class Election:
    """One candidate for the Lease `settings.name` in `namespace`."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        settings: LeaseSettings,
        *,
        identity: str | None = None,
        trouble: Callable[[str], None] = lambda _problem: None,
    ) -> None:
        # Of the Pod's name, for people, and of chance, since a container that is restarted is
        # another candidate.
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._store = store
        self._namespace = namespace
        self._settings = settings
        self._trouble = trouble
        self._term: Term | None = None
        self._held: Json | None = None
        """The Lease as we wrote it last; None where somebody may have written since."""
        self._seen: _Record | None = None
        self._seen_at = 0.0

    @property
    def leading(self) -> bool:
        """Whether this process may act now."""
        return self._term is not None and not self._term.over

    async def run(self, act: Callable[[], Awaitable[None]], ending: asyncio.Event) -> None:
        """Compete until `ending` is set, and run `act` in each term.

        `act` goes on until it is cancelled; once `ending` is set it is to end what is under way and
        return. Raises what it raises. No trouble with the API server ends this.
        """
        while not ending.is_set():
            term = await self._take()
            if term is None:
                await _wait(ending, self._retry_seconds())
            else:
                await self._lead(term, act, ending)

    async def _take(self) -> Term | None:
        """Try once to take the Lease; return the term if that worked."""
        try:
            until = await self._attempt()
        except errors.ClientError as error:
            self._trouble(str(error))
            return None
        term = None if until is None else Term(until, _now)
        return None if term is None or term.over else term

    async def _lead(
        self, term: Term, act: Callable[[], Awaitable[None]], ending: asyncio.Event
    ) -> None:
        self._term = term
        acting = asyncio.create_task(_acting(term, act))
        renewing = asyncio.create_task(self._renew(term))
        asked = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait({acting, renewing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                await asyncio.wait(
                    {acting, renewing}, timeout=_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            # Renewed until what acts has ended: it may take its time, and nobody else begins.
            await _end(acting, asked)
            kept = not term.over and not renewing.done()
            await _end(renewing)
            term.end()
            self._term = None
            if kept and not term.cut:
                await self._release()
        if not acting.cancelled():
            acting.result()
        if not renewing.cancelled():
            renewing.result()

    async def _renew(self, term: Term) -> None:
        """Return when the Lease is lost, or could not be renewed in time."""
        while True:
            await asyncio.sleep(self._retry_seconds())
            try:
                async with asyncio.timeout_at(term.until):
                    until = await self._attempt()
            except TimeoutError:
                self._trouble("the Lease could not be renewed in time")
                return
            except errors.ClientError as error:
                self._trouble(str(error))
                continue
            if until is None or not term.extend(until):
                return

    async def _attempt(self) -> float | None:
        """Take the Lease or keep it; return until when to act, None where another one has it.

        Raises ClientError: then nobody knows who has it.
        """
        # Half of the time there is, so that after a connection that is dead there is another try.
        try:
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                return await self._ask()
        except TimeoutError:
            raise errors.Unavailable("API server: no answer about the Lease") from None

    async def _ask(self) -> float | None:
        if (held := self._held) is not None:
            try:
                return await self._write(held)
            except (errors.WriteConflict, errors.NotFound):
                pass  # somebody else wrote it, or removed it: it has to be looked at
        try:
            lease = await self._store.read(LEASE, self._namespace, self._settings.name)
        except errors.NotFound:
            # Whoever had it may not know yet that it was removed.
            return await self._write(None) if self._is_free(self._seen) else None
        return await self._write(lease) if self._is_free(_Record.of(lease)) else None

    def _is_free(self, record: _Record | None) -> bool:
        """Take in what the Lease says; tell whether nobody else can be acting."""
        now = _now()
        if record is None:
            return True
        if record != self._seen:
            self._seen, self._seen_at = record, now
        duration = max(record.seconds, self._settings.duration_seconds)
        return record.holder in {"", self.identity} or now >= self._seen_at + duration

    async def _write(self, lease: Json | None) -> float:
        """Write our name into the Lease, which is as `lease`; return until when to act."""
        body = self._rendered(lease, self.identity)
        # Forgotten first: when there is no answer, it may have been written or not.
        self._held, began = None, _now()
        if lease is None:
            self._held = await self._store.create(LEASE, body)
        else:
            self._held = await self._store.replace(LEASE, body)
        self._seen, self._seen_at = _Record.of(self._held), _now()
        return began + self._settings.renew_deadline_seconds

    async def _release(self) -> None:
        """Give the Lease back; without an answer the others wait until it is old."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = self._held
                if lease is None:
                    lease = await self._store.read(LEASE, self._namespace, self._settings.name)
                if _Record.of(lease).holder == self.identity:
                    await self._store.replace(LEASE, self._rendered(lease, ""))
        except (errors.ClientError, TimeoutError) as error:
            self._trouble(f"the Lease was not given back: {type(error).__name__} {error}".rstrip())
        finally:
            self._held = None

    def _rendered(self, lease: Json | None, holder: str) -> dict[str, Any]:
        """Return the Lease with another holder, or the same one a while later."""
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = mapping_of(lease or {}, "spec")
        spec = {
            **before,
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(self._settings.duration_seconds),
            "renewTime": now,
        }
        if holder and before.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (before.get("leaseTransitions") or 0) + 1 if before else 0
        meta = {"name": self._settings.name, "namespace": self._namespace}
        return {"metadata": dict(mapping_of(lease or {}, "metadata")) or meta, "spec": spec}

    def _retry_seconds(self) -> float:
        return self._settings.retry_seconds * random.uniform(_EARLY, 1)  # noqa: S311  # no secret


async def _acting(term: Term, act: Callable[[], Awaitable[None]]) -> None:
    fence.act_for(term)
    await act()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks`, and wait until they have really ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, or after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _now() -> float:
    return asyncio.get_running_loop().time()
