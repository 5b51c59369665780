"""Processes that compete for a Lease, each with a clock of its own, that can be stopped like one.

Time passes in steps. A process that is stopped (SIGSTOP) notices nothing; when it goes on, its
clock has jumped, and whatever became due meanwhile is due at once, in no order of its own. What a
process has sent is on its way, and is carried out, whatever becomes of the process.
"""

import asyncio
import contextlib
import copy
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from caios_federation.api.objects import Json
from caios_federation.clients import errors, fence
from caios_federation.clients.kubernetes import Kind
from caios_federation.clients.lease import Election
from caios_federation.settings import LeaseSettings
from virtual_time import VirtualLoop

SETTINGS = LeaseSettings(
    name="controller", duration_seconds=15, renew_deadline_seconds=10, retry_seconds=2
)
STEP = 0.5


class Server:
    """Keeps one Lease as the API server does: writes to an older version of it are refused."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self._versions = itertools.count(1)

    @property
    def holder(self) -> str:
        return self.lease["spec"]["holderIdentity"] if self.lease else ""

    def read(self) -> Json:
        if self.lease is None:
            raise errors.NotFound("no such Lease")
        return copy.deepcopy(self.lease)

    def create(self, body: Json) -> Json:
        if self.lease is not None:
            raise errors.WriteConflict("it is there")
        return self._put(body)

    def replace(self, body: Json) -> Json:
        version = self.read()["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != version:
            raise errors.WriteConflict("it is another one by now")
        return self._put(body)

    def _put(self, body: Json) -> Json:
        self.lease = copy.deepcopy(dict(body))
        version = str(next(self._versions))
        self.lease["metadata"] = {**body["metadata"], "resourceVersion": version}
        return copy.deepcopy(self.lease)


@dataclass(slots=True)
class Link:
    """What lies between a process and the server."""

    there: float = 0.0
    """Seconds that a request takes."""
    back: float = 0.0
    """Seconds that its answer takes."""
    lost: bool = False
    """Requests get lost."""
    answers_lost: bool = False
    refused: type[errors.ClientError] | None = None
    """What the server answers instead."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write of what acts, as it is carried out."""

    time: float
    by: str
    holder: str
    """Whom the Lease names at that moment."""


@dataclass(slots=True)
class World:
    """The time that passes for all, the server, and what is on its way."""

    server: Server = field(default_factory=Server)
    now: float = 0.0
    writes: list[Write] = field(default_factory=list)
    processes: "list[Process]" = field(default_factory=list)
    dead: "list[Process]" = field(default_factory=list)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def start(self, name: str, **fields: Any) -> "Process":  # noqa: ANN401  # of Process
        process = Process(name, self, **fields)
        self.processes.append(process)
        return process

    def at(self, delay: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + delay, next(self._count), happen))

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            while self._due and self._due[0][0] <= self.now:
                heapq.heappop(self._due)[2]()
            for process in self.processes:
                process.step()

    def until(self, holds: Callable[[], bool], seconds: float = 100) -> float:
        """Return how long it takes until something holds."""
        began = self.now
        while not holds():
            assert self.now - began < seconds, "it never came about"
            self.advance(STEP)
        return self.now - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()


class Process:
    """A candidate: its loop, its link, and what acts in it, which writes all the time."""

    def __init__(
        self,
        name: str,
        world: World,
        *,
        settings: LeaseSettings = SETTINGS,
        epoch: float = 0.0,
        rounds: int = 10,
    ) -> None:
        self.name = name
        self.world = world
        self.link = Link()
        self.work = Link()
        """What lies between what acts and those it writes to."""
        self.ending_takes = 0.0
        """Seconds that what acts needs to end, once it is cancelled."""
        self.stopped = False
        self.acting = 0
        """How many act in it now."""
        self.failure: Exception | None = None
        """What acts raises it."""
        self.troubles: list[str] = []
        self._epoch = epoch
        self._rounds = rounds
        self._loop = VirtualLoop()
        self._ending = asyncio.Event()
        self.election = Election(
            self, "operators", settings, identity=name, trouble=self.troubles.append
        )
        self.task = self._loop.create_task(self.election.run(self._act, self._ending))

    @property
    def leading(self) -> bool:
        return self._loop.run_until_complete(self._is_leading())

    async def _is_leading(self) -> bool:
        return self.election.leading

    def step(self) -> None:
        if self.stopped or self._loop.is_closed():
            return
        self._loop.jump(self._epoch + self.world.now)
        self._loop.run_until_complete(self._turn())

    async def _turn(self) -> None:
        for _ in range(self._rounds):
            await asyncio.sleep(0)

    def terminate(self) -> None:
        """Ask it to end, as SIGTERM does."""
        self._ending.set()

    def kill(self) -> None:
        """End it without a word, as SIGKILL does."""
        if self._loop.is_closed():
            return
        self.stopped = True
        self.world.dead.append(self)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self.ending_takes = 0
        self.link.lost = self.work.lost = True
        while tasks := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=10))
        self._loop.close()

    async def read(self, _kind: Kind, _namespace: str, _name: str) -> Json:
        return await self._ask(self.link, self.world.server.read)

    async def create(self, _kind: Kind, body: Json) -> Json:
        return await self._ask(self.link, lambda: self.world.server.create(body))

    async def replace(self, _kind: Kind, body: Json) -> Json:
        return await self._ask(self.link, lambda: self.world.server.replace(body))

    async def _ask(self, link: Link, request: Callable[[], Json]) -> Json:
        """Send a request, which is carried out whatever becomes of us; return its answer."""
        answer: asyncio.Future[Json] = self._loop.create_future()
        state = copy.copy(link)

        def arrive() -> None:
            if state.refused is not None:
                error: errors.ClientError = state.refused("refused")
                self.world.at(state.back, lambda: _settle(answer, error))
                return
            try:
                found = request()
            except errors.ClientError as refusal:
                problem = refusal
                self.world.at(state.back, lambda: _settle(answer, problem))
            else:
                if not state.answers_lost:
                    self.world.at(state.back, lambda: _settle(answer, found))

        if not state.lost:
            self.world.at(state.there, arrive)
        return await answer

    async def _act(self) -> None:
        self.acting += 1
        try:
            while not self._ending.is_set():
                if self.failure is not None:
                    raise self.failure
                with fence.sending(writes=True):
                    await self._ask(self.work, self._write)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            ended = self._loop.time() + self.ending_takes
            while self._loop.time() < ended:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(ended - self._loop.time())
            raise
        finally:
            self.acting -= 1

    def _write(self) -> Json:
        self.world.writes.append(Write(self.world.now, self.name, self.world.server.holder))
        return {}


def _settle(answer: "asyncio.Future[Json]", found: Json | errors.ClientError) -> None:
    """Hand over what came back, unless nobody waits for it any more."""
    if answer.done():
        return
    if isinstance(found, errors.ClientError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
