"""What the API server needs to call the webhook: its configuration, and a certificate it trusts.

One key of the queue, level-triggered: read both objects, decide, publish the CAs, and only then
write the Secret. Whoever is interrupted anywhere leaves what the next look goes on from.
"""

import asyncio
import base64
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography import x509

from caios_federation.api import vocabulary as words
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import SECRET, KubernetesClient
from caios_federation.core.rotation import Decision, Step
from caios_federation.observe.logging import logger
from caios_federation.reconcile.certificates import (
    CA_KEY_FILE,
    CERTIFICATE_FILE,
    TLS_TYPE,
    Lives,
    Plan,
    Published,
    Stored,
    parse_secret,
    plan_rotation,
    trust,
)
from caios_federation.reconcile.pace import Once
from caios_federation.reconcile.pki import Authority, dated, read_certificates
from caios_federation.reconcile.publishing import Publishing
from caios_federation.reconcile.webhook import published_bundle, serving_hosts
from caios_federation.settings import CertificateProvider, Settings

TAKEN_UP_SECONDS: Final = 5.0
"""How long a pair waits after its CA was published: API servers learn of it by a watch."""
_MISSING_SECONDS: Final = 5.0
"""How often to look for a CA that somebody else is about to bring."""

log = logger("certificates")


class Serving:
    """Keeps configuration and certificate; one reconciliation at a time, as the queue has it."""

    def __init__(
        self,
        settings: Settings,
        client: KubernetesClient,
        clock: Callable[[], dt.datetime],
        *,
        taken_up_seconds: float = TAKEN_UP_SECONDS,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._taken_up_seconds = taken_up_seconds
        self._publishing = Publishing(settings, client)
        self._seen: Mapping[str, float] = {}
        """Identities of the published CAs, and since when they have been seen there."""
        self._draft: Authority | None = None
        """A CA that may be published and could not be written to the Secret: used again, lest
        each try publishes another one."""
        self._once = Once()
        self.expires: dt.datetime | None = None
        """When the certificate in the Secret expires; None while there is none."""

    async def reconcile(self) -> float:
        """Do what is next; return in how many seconds to look again. Raises ClientError."""
        # The configuration before the Secret: its version is written over, so that nothing older
        # than what the Secret says ever replaces it.
        current = await self._publishing.read()
        published = self._published(read_certificates(published_bundle(current)))
        stored = await self._read_secret()
        self.expires = stored.expires
        now = self._clock()
        plan = self._plan(now, stored, published)
        if not plan.trusted:
            return _MISSING_SECONDS
        wait = await self._publishing.publish(current, plan.trusted)
        if wait:
            return wait
        if plan.files:
            await self._write_secret(stored, plan)
        if plan.files or plan.decision.step is Step.WAIT:
            return self._taken_up_seconds
        check = self._settings.certificates.check_seconds
        return min((plan.renewal - now).total_seconds(), check) if plan.renewal else check

    def _plan(self, now: dt.datetime, stored: Stored, published: Published) -> Plan:
        problem = self._not_ours_to_write(stored)
        if problem is None:
            self._once.news("secret", "")
            plan = plan_rotation(now, stored, published, self._lives, self._draft)
            self._draft = plan.draft
            return plan
        trusted = trust(now, stored.authorities, published.authorities)
        if not problem and not trusted:
            problem = "ca.crt holds no CA that is in force, so there is none to publish"
        if self._once.news("secret", problem):
            name = f"{self._settings.namespace}/{self._settings.certificates.secret_name}"
            log.warning("certificate Secret unusable", name=name, err=problem)
        return Plan(Decision(Step.KEEP), trusted)

    def _not_ours_to_write(self, stored: Stored) -> str | None:
        """Return what is wrong with a Secret that is only read; None for one that we keep."""
        provider = self._settings.certificates.provider
        if provider is CertificateProvider.OPERATOR:
            if not stored.version:
                return None
            if not stored.ours:
                return (
                    f"it lacks the label {words.MANAGED_BY}={words.MANAGER}, so somebody else's, "
                    "and never renewed; delete it, and a new one is made, or set another "
                    "CAIOS_CERTIFICATES__PROVIDER or __SECRET_NAME"
                )
            if stored.immutable:
                return "it is immutable, so never renewed; delete it, and a new one is made"
            return None
        if not stored.version:
            return f"it does not exist; with the provider {provider} somebody else has to make it"
        return ""

    @property
    def _lives(self) -> Lives:
        certificates = self._settings.certificates
        return Lives(
            serving_hosts(self._settings),
            dt.timedelta(seconds=certificates.lifetime_seconds),
            dt.timedelta(seconds=certificates.ca_lifetime_seconds),
        )

    def _published(self, authorities: Sequence[x509.Certificate]) -> Published:
        """Tell of the published CAs which of them API servers have had time to learn of.

        Since when they are published is not written down: who takes over waits anew.
        """
        now = asyncio.get_running_loop().time()
        identities = [dated(each).identity for each in authorities]
        self._seen = {each: self._seen.get(each, now) for each in identities}
        settled = {each for each, at in self._seen.items() if now - at >= self._taken_up_seconds}
        return Published(authorities, settled)

    async def _read_secret(self) -> Stored:
        name = self._settings.certificates.secret_name
        try:
            return parse_secret(await self._client.read(SECRET, self._settings.namespace, name))
        except errors.NotFound:
            return Stored()

    async def _write_secret(self, stored: Stored, plan: Plan) -> None:
        """Write what `plan` says, unless the Secret changed since it was read."""
        namespace, name = self._settings.namespace, self._settings.certificates.secret_name
        meta = {"namespace": namespace, "name": name}
        data = {key: base64.b64encode(content).decode() for key, content in plan.files.items()}
        if stored.version:
            there = {"metadata": {**meta, "resourceVersion": stored.version}, "data": data}
            written = await self._client.merge(SECRET, there)
        else:
            labelled = {**meta, "labels": {words.MANAGED_BY: words.MANAGER}}
            fresh = {"metadata": labelled, "type": TLS_TYPE, "data": data}
            written = await self._client.create(SECRET, fresh)
        self._draft = None
        self.expires = parse_secret(written).expires
        reason = plan.decision.reason
        if CA_KEY_FILE in plan.files:
            log.info("CA issued", name=f"{namespace}/{name}", reason=reason)
        if CERTIFICATE_FILE in plan.files:
            log.info("certificate issued", name=f"{namespace}/{name}", reason=reason)
