"""Clients that create Pods at a steady total rate, in a thread of their own.

In a thread, because what a test does meanwhile blocks: helm, kubectl, restarts of the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.pki import Pki
from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.pods import ACCOUNTS, BATCH, RUN, Account, Answer
from caios_testbed.podload.tally import Phase, Record, Result

ATTEMPT_SECONDS = 30.0
"""One request: admission may take two webhook timeouts of 5 s, and a lost packet's answer none."""
CLEAR_SECONDS = 300.0
"""Until all Pods are deleted in the end; on a machine that is busy they may be thousands."""
PAUSE_SECONDS = 0.2
"""Between two attempts."""
BETWEEN = "between phases"
TROUBLE = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(slots=True)
class PodLoad:
    """Load on the API server at `url` by its administrator; it runs inside of a `with`.

    `pods.manifests(namespace)` must be there. In the end all its Pods are deleted. Raises
    what a client died of.
    """

    url: str
    pki: Pki
    namespace: str
    rate: float = 50.0
    """Pods per second of all clients together; what an outage cost is not caught up with."""
    clients: int = 8
    patience_seconds: float = 120.0
    """How long a Pod is tried for, through outages of the API server."""
    keep_seconds: float = 10.0
    """How long Pods stay, about: what is stored at a time is bounded."""
    phases: list[Phase] = field(default_factory=lambda: [Phase(BETWEEN)])
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _held: Counter[int] = field(default_factory=Counter)
    """Batches that have Pods, with how many of each are being created."""
    _current: Phase = field(init=False)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _ended: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self._current = self.phases[0]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._main, name="podload", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join()
        if error is None:
            self._ended.result()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Count Pods that are first asked for inside of the `with` under `name`."""
        before, self._current = self._current, Phase(name)
        self.phases.append(self._current)
        try:
            yield self._current
        finally:
            self._current = before

    @property
    def created(self) -> int:
        """How many Pods were stored so far."""
        return sum(phase.created for phase in self.phases)

    def wait(self, more: int, seconds: float) -> None:
        """Return when `more` Pods than now are stored; raises ClusterError when they are late."""
        wanted = self.created + more
        if not eventually(lambda: self._ended.done() or self.created >= wanted, seconds):
            raise ClusterError(
                f"podload: {wanted - self.created} of {more} Pods are not created "
                f"within {seconds:.0f} s"
            )
        if self._ended.done():
            self._ended.result()

    def _main(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            clean = group.create_task(self._clean())
            async with asyncio.TaskGroup() as creating:
                for number in range(self.clients):
                    creating.create_task(self._client(number))
            clean.cancel()
        async with self._session() as session:
            deadline = time.monotonic() + CLEAR_SECONDS
            while not await self._delete(session, f"{RUN}={self._run}"):
                if time.monotonic() > deadline:
                    raise ClusterError(f"podload: Pods of {self.namespace} cannot be deleted")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _client(self, number: int) -> None:
        """Create one Pod per period on one connection, at times between those of the others."""
        period = self.clients / self.rate
        due = time.monotonic() + period * number / self.clients
        async with self._session() as session:
            while not self._stopping.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._create_next(session)
                due = max(due + period, time.monotonic())

    async def _create_next(self, session: aiohttp.ClientSession) -> None:
        number, phase = next(self._numbers), self._current
        account = ACCOUNTS[number % len(ACCOUNTS)]
        batch = int(time.monotonic() / self.keep_seconds)
        # Nobody deletes a batch while one of its Pods may have to be looked up.
        self._held[batch] += 1
        try:
            labels = {RUN: self._run, BATCH: str(batch)}
            name = f"load-{self._run}-{number}"
            phase.add(await self._create(session, phase.name, name, account, labels))
        finally:
            self._held[batch] -= 1

    async def _create(
        self,
        session: aiohttp.ClientSession,
        phase: str,
        name: str,
        account: Account,
        labels: dict[str, str],
    ) -> Record:
        """Create a Pod, through lost answers and trouble of the API server, until it gives up."""
        body = orjson.dumps(pods.pod(name, account, labels))
        at, give_up = dt.datetime.now(dt.UTC), time.monotonic() + self.patience_seconds

        def record(result: Result, note: str = "") -> Record:
            seconds = time.monotonic() - begun
            return Record(
                phase, name, account.name, account.expected, result, seconds, attempts, at, note
            )

        attempts, exists = 0, False
        while True:
            attempts, begun = attempts + 1, time.monotonic()
            try:
                status, text = await self._ask(session, None if exists else body, name)
            except TROUBLE as error:
                status, text = 0, str(error).encode()
            match pods.judge(status, text):
                case Answer.CREATED:
                    return record(_result(account, text))
                case Answer.REFUSED:
                    return record(Result.REFUSED, f"{status} {pods.message(text)}")
                case Answer.EXISTS:
                    exists = True
                case Answer.AGAIN:
                    await asyncio.sleep(PAUSE_SECONDS)
            if time.monotonic() > give_up:
                return record(Result.UNANSWERED, f"{status} {pods.message(text)}")

    async def _ask(
        self, session: aiohttp.ClientSession, body: bytes | None, name: str
    ) -> tuple[int, bytes]:
        """Create the Pod, or read it where there is no `body`."""
        method, path = ("POST", self._path) if body else ("GET", f"{self._path}/{name}")
        async with session.request(method, self.url + path, data=body) as response:
            return response.status, await response.read()

    async def _clean(self) -> None:
        """Delete batches of Pods as soon as they are old and complete."""
        async with self._session() as session:
            while True:
                await asyncio.sleep(self.keep_seconds / 2)
                newest = int(time.monotonic() / self.keep_seconds)
                for batch in [b for b, busy in self._held.items() if b < newest and not busy]:
                    if await self._delete(session, f"{RUN}={self._run},{BATCH}={batch}"):
                        del self._held[batch]

    async def _delete(self, session: aiohttp.ClientSession, selector: str) -> bool:
        parameters = {
            "labelSelector": selector,
            "gracePeriodSeconds": "0",
            "propagationPolicy": "Background",
        }
        try:
            async with session.delete(self.url + self._path, params=parameters) as response:
                await response.read()
                return response.status == HTTPStatus.OK
        except TROUBLE:
            return False

    def _session(self) -> aiohttp.ClientSession:
        """Return a client with one connection that is kept."""
        context = ssl.create_default_context(cafile=self.pki.ca)
        context.load_cert_chain(self.pki.certificate("admin"), self.pki.key("admin"))
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=context),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
            headers={"Content-Type": "application/json", "User-Agent": "caios-testbed-podload"},
        )

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"


def _result(account: Account, text: bytes) -> Result:
    stored: dict[str, Any] = orjson.loads(text)
    if pods.injected(stored):
        return Result.INJECTED if account.expected else Result.UNEXPECTED
    return Result.MISSED if account.expected else Result.PLAIN
