"""Many objects on a real API server, and changes of them at a steady rate."""

import asyncio
import contextlib
import itertools
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import aiohttp
import orjson

from builders import GROUP, Json
from caios_testbed.cluster.controlplane import ControlPlane

NAMESPACES = 50
_AT_ONCE = 32
_HEADERS = {"Content-Type": "application/json"}
_MERGE = {"Content-Type": "application/merge-patch+json"}


def namespace_of(number: int) -> str:
    """Return the namespace of the ServiceAccount of that number."""
    return f"scale-{number % NAMESPACES}"


def account(number: int) -> tuple[str, Json]:
    """Return path and body of a ServiceAccount; one of a hundred is annotated."""
    metadata: Json = {"name": f"account-{number}", "namespace": namespace_of(number)}
    if number % 100 == 0:
        metadata["annotations"] = {f"{GROUP}/inject": "true"}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return f"/api/v1/namespaces/{namespace_of(number)}/serviceaccounts", body


def binding(number: int, **spec: object) -> tuple[str, Json]:
    """Return path and body of a FederatedStorageBinding of the ServiceAccount of that number."""
    body = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "FederatedStorageBinding",
        "metadata": {"name": f"binding-{number}", "namespace": namespace_of(number)},
        "spec": {"serviceAccountName": f"account-{number}", **spec},
    }
    kind = "federatedstoragebindings"
    return f"/apis/{GROUP}/v1alpha1/namespaces/{namespace_of(number)}/{kind}", body


def namespaces() -> Iterator[tuple[str, Json]]:
    """Yield path and body of each namespace."""
    for number in range(NAMESPACES):
        metadata = {"name": namespace_of(number)}
        yield "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def create(plane: ControlPlane, objects: Iterable[tuple[str, Json]]) -> int:
    """Create `objects`, some at a time; return how many. Raises RuntimeError for a refused one."""
    return asyncio.run(_create(plane, objects))


async def _create(plane: ControlPlane, objects: Iterable[tuple[str, Json]]) -> int:
    waiting, count = iter(objects), itertools.count()

    async def work(opened: aiohttp.ClientSession) -> None:
        for path, body in waiting:
            async with opened.post(plane.url + path, data=orjson.dumps(body)) as answer:
                if answer.status not in {201, 409}:  # created, or there already
                    raise RuntimeError(f"POST {path}: {answer.status} {await answer.text()}")
            next(count)

    async with session(plane) as opened, asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(work(opened))
    return next(count)


@dataclass(slots=True)
class Changes:
    """Changes of ServiceAccounts, in a thread of their own, for as long as the `with`."""

    plane: ControlPlane
    accounts: int
    rate: float
    """A second."""
    made: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator["Changes"]:
        """Change one account after the other."""
        thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def _work(self) -> None:
        async with session(self.plane, _MERGE) as opened, asyncio.TaskGroup() as tasks:
            begun = time.monotonic()
            for number in itertools.count():
                if self._over.is_set():
                    return
                await asyncio.sleep(max(0.0, begun + number / self.rate - time.monotonic()))
                tasks.create_task(self._change(opened, number))

    async def _change(self, opened: aiohttp.ClientSession, number: int) -> None:
        collection, body = account(number % self.accounts)
        path = f"{collection}/{body['metadata']['name']}"
        patch = {"metadata": {"labels": {"changed": str(number)}}}
        async with opened.patch(self.plane.url + path, data=orjson.dumps(patch)) as answer:
            self.made += answer.status == 200  # OK


def session(plane: ControlPlane, headers: dict[str, str] = _HEADERS) -> aiohttp.ClientSession:
    """Return a session of the cluster's administrator, with JSON for a body."""
    context = ssl.create_default_context(cafile=plane.pki.ca)
    context.load_cert_chain(plane.pki.certificate("admin"), plane.pki.key("admin"))
    connector = aiohttp.TCPConnector(limit=_AT_ONCE, ssl=context)
    return aiohttp.ClientSession(connector=connector, headers=headers)
