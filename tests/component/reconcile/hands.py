"""What a reconciliation acts with, around a client of some API server."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable

from caios_federation.clients.coreweave import connect
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.reconcile.acting import Acting
from caios_federation.reconcile.looks import Looks
from caios_federation.reconcile.organizations import Organizations
from caios_federation.reconcile.retained import Retained
from caios_federation.settings import Settings


@contextlib.asynccontextmanager
async def hands(
    client: KubernetesClient, clock: Callable[[], dt.datetime]
) -> AsyncIterator[Acting]:
    """Yield hands whose client is `client`, at the time that `clock` tells."""
    settings = Settings()
    async with connect(settings.coreweave) as coreweave:
        yield Acting(
            client=client,
            clock=clock,
            wrote=lambda _change: None,
            settings=settings,
            coreweave=coreweave,
            organizations=Organizations(coreweave, client, settings.namespace),
            retained=Retained(client, settings.namespace),
            looks=Looks(settings.reconcile.probe_seconds),
        )
