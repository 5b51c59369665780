"""The controller: one queue, and what each kind of key is reconciled by."""

import datetime as dt

from caios_federation.caches import Caches, Change
from caios_federation.clients.coreweave import CoreWeave
from caios_federation.clients.kubernetes import (
    BINDING,
    FEDERATION,
    SERVICE_ACCOUNT,
    KubernetesClient,
)
from caios_federation.observe.metrics import Metrics
from caios_federation.reconcile.acting import Acting
from caios_federation.reconcile.binding import reconcile_binding
from caios_federation.reconcile.federation import reconcile_federation
from caios_federation.reconcile.looks import Looks
from caios_federation.reconcile.organizations import Organizations
from caios_federation.reconcile.pods import Restarts
from caios_federation.reconcile.queue import Key, Queue
from caios_federation.reconcile.retained import Retained
from caios_federation.reconcile.service_account import reconcile_service_account
from caios_federation.reconcile.serving import Serving
from caios_federation.reconcile.triggers import WEBHOOK_KEY, affected, everything
from caios_federation.settings import Settings


class Controller:
    """What acts: told of changes, it looks at what they have a bearing on."""

    def __init__(
        self,
        settings: Settings,
        caches: Caches,
        client: KubernetesClient,
        coreweave: CoreWeave,
        metrics: Metrics,
    ) -> None:
        self._caches = caches
        self.queue = Queue(self._reconcile, settings.reconcile, done=metrics.reconciled)
        self._acting = Acting(
            client=client,
            clock=lambda: dt.datetime.now(dt.UTC),
            wrote=lambda change: self.queue.add(*affected(caches, change, own=True)),
            settings=settings,
            coreweave=coreweave,
            organizations=Organizations(
                coreweave, client, settings.namespace, metrics.policy_written
            ),
            retained=Retained(client, settings.namespace),
            looks=Looks(settings.reconcile.probe_seconds),
            metrics=metrics,
        )
        self._restarts = Restarts(settings.remediation)
        self.serving = Serving(settings, client, self._acting.clock)

    def changed(self, change: Change) -> None:
        """Have looked at what `change` has a bearing on."""
        self.queue.add(*affected(self._caches, change))

    def heal_webhook(self) -> None:
        """Have the webhook configuration and the certificate looked at."""
        self.queue.add(WEBHOOK_KEY)

    async def run(self) -> None:
        """Reconcile until told to finish, once the caches are filled: absence is known then."""
        await self._caches.synced.wait()
        await self.queue.run(self._resync)

    def finish(self) -> None:
        """Begin nothing any more: `run` returns when what is under way has ended."""
        self.queue.finish()

    def _resync(self) -> list[Key]:
        """Return everything, to be compared with policies that are listed anew."""
        self._acting.organizations.expire()
        return list(everything(self._caches))

    async def _reconcile(self, key: Key) -> float | None:
        caches, acting = self._caches, self._acting
        match key.kind:
            case BINDING.kind:
                return await reconcile_binding(
                    caches, acting, self._restarts, key.namespace, key.name
                )
            case FEDERATION.kind:
                return await reconcile_federation(caches, acting, key.name)
            case SERVICE_ACCOUNT.kind:
                return await reconcile_service_account(caches, acting, key.namespace, key.name)
            case WEBHOOK_KEY.kind:
                return await self.serving.reconcile()
        return None
