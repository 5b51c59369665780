"""The controller while this process leads: it holds the Lease, and nobody else acts.

Each term begins with nothing remembered of an earlier one, since another process acted meanwhile:
a new queue, policies that are listed anew, and caches that were compared with a LIST that began in
this term. A watch that is behind could otherwise have an old declaration written over a new one.
Warnings are not posted twice because of that: they have the same name each time (observe/events).
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from caios_federation.caches import Caches, Change
from caios_federation.clients import errors
from caios_federation.clients.coreweave import CoreWeave
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.clients.lease import Election
from caios_federation.observe.logging import Seldom, logger
from caios_federation.observe.metrics import Metrics
from caios_federation.reconcile.controller import Controller
from caios_federation.settings import Settings

_LONGEST_WAIT_SECONDS: Final = 10.0
log = logger("lease")


class Leader:
    """Competes for the Lease, and has a controller while it holds it."""

    def __init__(
        self,
        settings: Settings,
        caches: Caches,
        client: KubernetesClient,
        remote: CoreWeave,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._caches = caches
        self._client = client
        self._remote = remote
        self._metrics = metrics
        self._seldom = Seldom()
        self.controller: Controller | None = None
        """None while this process does not act: changes are not collected then."""
        self.election = Election(client, settings.namespace, settings.lease, trouble=self._trouble)

    def changed(self, change: Change) -> None:
        """Have looked at what `change` has a bearing on, where this process acts."""
        if self.controller is not None:
            self.controller.changed(change)

    def heal_webhook(self) -> None:
        """Have the webhook configuration looked at, where this process acts."""
        if self.controller is not None:
            self.controller.heal_webhook()

    async def run(self, ending: asyncio.Event) -> None:
        """Compete until `ending` is set, and run the controller in each term.

        Not before the caches are filled: who cannot fill them must not keep others from acting.
        """
        waits = {asyncio.create_task(event.wait()) for event in (ending, self._caches.synced)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await self.election.run(lambda: self._act(ending), ending)

    async def _act(self, ending: asyncio.Event) -> None:
        log.info("leading", identity=self.election.identity)
        try:
            await self._look_around()
            self.controller = Controller(
                self._settings, self._caches, self._client, self._remote, self._metrics
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.controller.run())
                await ending.wait()
                self.controller.finish()
        finally:
            self.controller = None
            log.info("no longer leading", identity=self.election.identity)

    async def _look_around(self) -> None:
        """Have the caches hold all that was written before this term."""
        for wait in _waits():
            try:
                await self._caches.audit(self._client, self._settings.caches)
            except errors.ClientError as error:
                self._trouble(str(error))
                await asyncio.sleep(wait)
            else:
                return

    def _trouble(self, problem: str) -> None:
        if self._seldom.due(problem):
            log.warning("leading is in trouble", identity=self.election.identity, err=problem)


def _waits() -> Iterator[float]:
    wait = 0.5
    while True:
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
