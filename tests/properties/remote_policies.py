"""A model of CoreWeave's policies: requests take effect and are answered when a test says so."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.reconcile.snapshot import PolicySnapshot
from virtual_time import VirtualLoop

PREFIX = "cks-489943f9-"
A, B = f"{PREFIX}a", f"{PREFIX}b"
FOREIGN = "somebody-elses"
REFUSED = errors.PermissionDenied("no")
LOST = errors.Unavailable("lost")
UNANSWERED = errors.Unavailable("no answer", unanswered=True)


def policy(name: str, bucket: str = "data") -> Json:
    entry = {
        "name": "s",
        "effect": "Allow",
        "actions": ["s3:GetObject"],
        "resources": [bucket],
        "principals": ["role/i:system:serviceaccount:a:b"],
    }
    return {"version": "v1alpha1", "name": name, "statements": [entry]}


class Call:
    """A request under way: it takes effect and is answered when the test says so."""

    def __init__(self, kind: str, name: str = "", document: Json | None = None) -> None:
        self.kind = kind
        self.name = name
        self.document = document
        self.done = False
        """Whether it took effect; of a LIST, whether it was read."""
        self.listed: dict[str, Json] = {}
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Server:
    """A model of the service, and the requests that it has not answered."""

    def __init__(self) -> None:
        self.policies: dict[str, Json] = {FOREIGN: policy(FOREIGN)}
        self.calls: list[Call] = []
        self.lists = 0
        self.writing: list[str] = []
        """Names that are being written; more than once is a race."""

    async def policies_of(self, call: Call) -> Mapping[str, Json]:
        await self._wait(call)
        return call.listed

    async def _wait(self, call: Call) -> None:
        self.calls.append(call)
        try:
            await call.answer
        finally:
            self.calls.remove(call)

    def take_effect(self, call: Call) -> None:
        """Do what is asked for, once."""
        if call.done:
            return
        call.done = True
        if call.kind == "list":
            call.listed = dict(self.policies)
        elif call.document is not None:
            self.policies[call.name] = call.document
        else:
            self.policies.pop(call.name, None)

    def succeed(self, call: Call) -> None:
        self.take_effect(call)
        call.answer.set_result(None)

    def fail(self, call: Call, error: errors.ClientError) -> None:
        call.answer.set_exception(error)


class Api:
    """The service, as the snapshot reaches it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def policies(self) -> Mapping[str, Json]:
        self.server.lists += 1
        return await self.server.policies_of(Call("list"))

    async def ensure_policy(self, document: Json) -> None:
        await self._write(Call("write", document["name"], document))

    async def delete_policy(self, name: str) -> None:
        await self._write(Call("write", name))

    async def _write(self, call: Call) -> None:
        self.server.writing.append(call.name)
        try:
            await self.server._wait(call)
        finally:
            self.server.writing.remove(call.name)


class Running:
    """A snapshot in virtual time."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.server = Server()
        self.snapshot = PolicySnapshot(Api(self.server), PREFIX, self.loop.time)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self.loop.settle()
        return task

    def ask(self) -> asyncio.Task[Mapping[str, str]]:
        return self.start(self.snapshot.current())

    @property
    def listing(self) -> Call:
        (call,) = (call for call in self.server.calls if call.kind == "list")
        return call

    def succeed(self, call: Call) -> None:
        self.server.succeed(call)
        self.loop.settle()

    def fail(self, call: Call, error: errors.ClientError = LOST) -> None:
        self.server.fail(call, error)
        self.loop.settle()

    def listed(self) -> dict[str, str]:
        """Return what is known once a LIST, if one is needed, has succeeded."""
        asked = self.ask()
        if not asked.done():
            self.succeed(self.listing)
        return dict(asked.result())

    def written(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do a write that succeeds."""
        task = self.start(work)
        self.succeed(self.server.calls[-1])
        task.result()

    def stop(self) -> None:
        for call in list(self.server.calls):
            self.server.fail(call, LOST)
        self.loop.settle()
        assert asyncio.all_tasks(self.loop) == set()
        self.loop.close()


@contextmanager
def running() -> Iterator[Running]:
    run = Running()
    try:
        yield run
    finally:
        run.stop()
