"""One keyed queue for everything that is reconciled.

A key stands for an object, never for what happened to it. Adding is idempotent; a key is worked on
by one worker at a time, again when it was added meanwhile, and with growing waits while it fails.
Who waits for another system that hangs does not keep a worker from the others.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from caios_federation.clients.errors import ClientError, Retryable
from caios_federation.observe.changes import begin, wrote
from caios_federation.observe.logging import logger
from caios_federation.observe.metrics import Result
from caios_federation.settings import ReconcileSettings

log = logger("queue")

_PATIENCE_SECONDS: Final = 0.25
"""How long a reconciliation keeps its worker: what takes longer than that waits for others."""
_MOST_WAITING: Final = 128
"""Reconciliations that may be under way without a worker."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is to be looked at: an object of a kind."""

    kind: str
    namespace: str
    name: str


Done = Callable[[str, Result, float], None]
"""Told of each reconciliation: the kind of its object, what came of it, seconds."""


class Queue:
    """Keys to reconcile, each by `reconcile`, which may say in how many seconds to look again."""

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[float | None]],
        settings: ReconcileSettings,
        *,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311  # no secret
        done: Done = lambda _kind, _result, _seconds: None,
    ) -> None:
        self._reconcile = reconcile
        self._settings = settings
        self._jitter = jitter
        self._done = done
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._places = asyncio.Semaphore(settings.workers + _MOST_WAITING)
        self._queued: set[Key] = set()
        self._since: dict[Key, float] = {}
        """When each that waits or is worked on was added: seconds since 1970."""
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._finishing = asyncio.Event()

    def add(self, *keys: Key) -> None:
        """Have each of `keys` looked at as soon as a worker is free."""
        for key in keys:
            if timer := self._timers.pop(key, None):
                timer.cancel()
            if key in self._active:
                self._again.add(key)
            elif key not in self._queued:
                self._queued.add(key)
                self._since[key] = time.time()
                self._ready.put_nowait(key)

    def depth(self) -> Mapping[str, int]:
        """Return how many keys of each kind wait for a worker."""
        return Counter(key.kind for key in self._queued)

    def oldest(self) -> Mapping[str, float]:
        """Return since when the oldest key of a kind waits or is worked on (seconds since 1970)."""
        oldest: dict[str, float] = {}
        for key, since in self._since.items():
            oldest[key.kind] = min(since, oldest.get(key.kind, since))
        return oldest

    def backoff_seconds(self, failures: int) -> float:
        """Return the wait after the `failures`-th failure in a row, before jitter."""
        doubled = self._settings.first_backoff_seconds * 2.0 ** min(failures - 1, 30)
        return min(doubled, self._settings.longest_backoff_seconds)

    async def run(self, everything: Callable[[], Iterable[Key]]) -> None:
        """Work until told to finish; look at `everything` now and on the resync period."""
        try:
            async with asyncio.TaskGroup() as tasks:
                jobs = [tasks.create_task(self._resync(everything))]
                jobs += [
                    tasks.create_task(self._work(tasks)) for _ in range(self._settings.workers)
                ]
                await self._finishing.wait()
                for job in jobs:
                    job.cancel()
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def finish(self) -> None:
        """Begin nothing any more: `run` returns when what is under way has ended."""
        self._finishing.set()

    async def _resync(self, everything: Callable[[], Iterable[Key]]) -> None:
        while True:
            self.add(*everything())
            await asyncio.sleep(self._settings.resync_seconds * self._jitter())

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        """Be one of the workers."""
        while True:
            await self._places.acquire()
            key = await self._ready.get()
            self._queued.discard(key)
            self._active.add(key)
            # As a task: a reconcile that writes nothing never waits; a backlog of them would keep
            # everything else in this process, admission too, from running.
            task = tasks.create_task(self._look_at(key))
            task.add_done_callback(lambda _: self._places.release())
            await asyncio.wait([task], timeout=_PATIENCE_SECONDS)

    async def _look_at(self, key: Key) -> None:
        began = time.monotonic()
        begin()
        try:
            result = await self._take(key)
            self._done(key.kind, result, time.monotonic() - began)
        finally:
            self._active.discard(key)
            self._since.pop(key, None)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _take(self, key: Key) -> Result:
        """Reconcile `key`, and have it looked at again where that is wanted or did not work."""
        try:
            again = await self._reconcile(key)
        except Retryable as error:
            least = error.retry_after_seconds or 0
            self._retry(key, str(error), least=least, most=error.back_within_seconds)
            return Result.RETRY
        except ClientError as error:
            self._retry(key, str(error), most=error.back_within_seconds)
            return Result.FAILED
        except Exception as error:  # noqa: BLE001  # the edge of a queue item
            self._retry(key, f"{type(error).__name__}: {error}"[:256], exc_info=True)
            return Result.FAILED
        self._failures.pop(key, None)
        if again is not None:
            self._later(key, self._wait(again))
        return Result.CHANGED if wrote() else Result.UNCHANGED

    def _wait(self, wanted: float) -> float:
        # At least the first backoff, lest a key that wants no wait keeps a worker busy.
        return max(wanted, self._settings.first_backoff_seconds) * self._jitter()

    def _retry(
        self,
        key: Key,
        problem: str,
        *,
        least: float = 0,
        most: float | None = None,
        exc_info: bool = False,
    ) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        jitter = self._jitter()
        # Not before the moment that the other system asks for: that is a bound, not an estimate.
        # And not all in that moment, which many may have been told.
        delay = max(self.backoff_seconds(failures) * jitter, least * (1 + abs(jitter - 1)))
        if most is not None:
            # There is something else to do by then. Where CoreWeave asks for an hour, its client
            # keeps to that all the same; what was refused otherwise is tried along.
            delay = min(delay, self._wait(most))
        log.warning(
            "reconcile failed",
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            attempt=failures,
            retryAfterSeconds=round(delay, 3),
            err=problem,
            exc_info=exc_info,
        )
        self._later(key, delay)

    def _later(self, key: Key, delay: float) -> None:
        self._timers[key] = asyncio.get_running_loop().call_later(delay, self.add, key)
