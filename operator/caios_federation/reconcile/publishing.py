"""The webhook configuration at the API server: read, applied, healed."""

import asyncio
from collections.abc import Sequence
from typing import Final

from cryptography import x509

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    CLUSTER_ROLE,
    WEBHOOK_CONFIGURATION,
    KubernetesClient,
)
from caios_federation.observe.logging import logger
from caios_federation.reconcile.pace import Once, Pace
from caios_federation.reconcile.pki import pem_of
from caios_federation.reconcile.webhook import (
    at_version_of,
    in_place_of,
    is_as_wanted,
    render_webhook_configuration,
)
from caios_federation.settings import Settings

_BURST: Final = 10
_PERIOD_SECONDS: Final = 6.0
"""Writes at once, and how often one more is allowed: as many as people and a rotation need, and
far fewer than two controllers that undo each other's writes would make."""

log = logger("controller")


class Publishing:
    """Keeps the configuration; used by one reconciliation at a time."""

    def __init__(self, settings: Settings, client: KubernetesClient) -> None:
        self._settings = settings
        self._client = client
        self._pace = Pace(_BURST, _PERIOD_SECONDS)
        self._once = Once()

    async def read(self) -> Json:
        """Return the configuration as it is, empty where there is none. Raises ClientError."""
        try:
            return await self._client.read(WEBHOOK_CONFIGURATION, "", words.WEBHOOK_CONFIGURATION)
        except errors.NotFound:
            return {}

    async def publish(self, current: Json, trusted: Sequence[x509.Certificate]) -> float:
        """Have `current` as rendered, written only when it differs; refused when it changed since.

        Returns in how many seconds that may be done, 0 when it is done. Raises ClientError.
        """
        owner = await self._owner()
        wanted = render_webhook_configuration(self._settings, pem_of(trusted), owner)
        if is_as_wanted(current, wanted):
            return 0
        name, now = words.WEBHOOK_CONFIGURATION, asyncio.get_running_loop().time()
        wait = self._pace.wait(now)
        if wait:
            if self._once.news("contested", "somebody undoes each write"):
                log.warning("webhook configuration contested", name=name, retryAfterSeconds=wait)
            return wait
        if self._pace.rested(now):
            self._once.news("contested", "")
        self._pace.took(now)
        applied = await self._client.apply(WEBHOOK_CONFIGURATION, at_version_of(current, wanted))
        log.info("webhook configuration applied", name=name)
        if not is_as_wanted(applied, wanted):
            # Applying leaves alone what another field manager added: a webhook, a matchCondition.
            await self._client.replace(WEBHOOK_CONFIGURATION, in_place_of(applied, wanted))
            log.info("webhook configuration replaced", name=name)
        return 0

    async def _owner(self) -> Json | None:
        """Return the ClusterRole that the configuration goes with; None where there is none.

        Read each time: one that was made anew has another uid, and what names the old one is
        collected as garbage.
        """
        name = self._settings.webhook.owner
        if name is None:
            return None
        try:
            owner = await self._client.read(CLUSTER_ROLE, "", name)
        except errors.Terminal as error:
            if self._once.news("owner", str(error)):
                log.warning("webhook configuration has no owner", name=name, err=str(error))
            return None
        self._once.news("owner", "")
        return {"apiVersion": CLUSTER_ROLE.api_version, "kind": CLUSTER_ROLE.kind, **owner}
