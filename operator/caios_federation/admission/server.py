"""The HTTPS front of admission, on Kopf's public admission-server protocol.

Kopf's own server answers before caches are full, closes its port to rotate certificates, turns
exceptions into denials and knows neither readiness nor drain (docs/concepts/admission.md). This one

- listens once the caches are synced (`http.py`), and has requests answered (`endpoint.py`): Pods
  whose ServiceAccount is known and not federated at once, the others by Kopf's dispatch to the
  mutation handler (`dispatch.py`);
- swaps certificates while it serves (`certificate.py`);
- on termination turns `/readyz` to 503, serves on while endpoints forget it, then drains (how, and
  what that does to connections: docs/operations/high-availability.md).
"""

import asyncio
import datetime as dt
import gc
from collections.abc import AsyncIterator
from typing import Final

import kopf

from caios_federation.admission.certificate import ServingCertificate
from caios_federation.admission.decide import Decider
from caios_federation.admission.endpoint import Endpoint
from caios_federation.admission.http import Limits, Listener
from caios_federation.api.vocabulary import MUTATE_PATH
from caios_federation.observe.admission import AdmissionCounts
from caios_federation.observe.logging import Seldom, logger
from caios_federation.settings import AdmissionSettings

_KEEPALIVE_SECONDS: Final = 3600
"""How long a connection may be idle. Clients are to end it first, since only they know that they
are not about to use it: Go's do after 90 s, and would lose what they write to one that we close."""
_LAST_SECONDS: Final = 1.0
"""Between closing the port and closing what is idle."""

log = logger("admission")


class AdmissionServer:
    """Serves admission requests; given to Kopf as `settings.admission.server`."""

    def __init__(
        self,
        settings: AdmissionSettings,
        certificate: ServingCertificate,
        decider: Decider,
        synced: asyncio.Event,
        counts: AdmissionCounts | None = None,
    ) -> None:
        self._settings = settings
        self._certificate = certificate
        self._decider = decider
        self._synced = synced
        self._counts = AdmissionCounts() if counts is None else counts
        self._draining = False
        self._problem = "not looked for yet"
        self._seldom = Seldom()
        self.listening = asyncio.Event()
        """Set while the port is open."""

    async def __call__(self, dispatch: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        """Serve until cancelled: Kopf's protocol asks for an iterator of client configurations.

        The one that is yielded is unused, because Kopf does not manage the webhook configuration.
        """
        await self._synced.wait()
        await self._first_certificate()
        settings = self._settings
        listener = Listener(
            Endpoint(
                self._decider,
                dispatch,
                self._counts,
                self.unready,
                deadline_seconds=settings.deadline_seconds,
            ),
            Limits(settings.body_limit_bytes, settings.deadline_seconds, _KEEPALIVE_SECONDS),
        )
        try:
            await listener.open(settings.host, settings.port, self._certificate.front)
            _spare_garbage_collection()
            self.listening.set()
            log.info("admission serving", port=self._settings.port)
            yield {"url": f"https://{self._settings.host}:{self._settings.port}{MUTATE_PATH}"}
            while True:
                await asyncio.sleep(self._settings.tls_poll_seconds)
                self._refresh_certificate()
        finally:
            await self._retire(listener)

    @property
    def certificate_expires(self) -> dt.datetime | None:
        """When the pair that serves expires; None while there is none."""
        return self._certificate.expires

    def unready(self) -> str:
        """Return why nobody should send requests here; nothing when they should."""
        expires = self._certificate.expires
        if self._draining:
            return "terminating"
        if expires is None:
            return f"certificate not loaded: {self._problem}"
        if expires <= dt.datetime.now(dt.UTC):
            return f"the serving certificate expired at {expires:%Y-%m-%dT%H:%M:%SZ}"
        return "" if self.listening.is_set() else "not listening yet"

    async def _retire(self, listener: Listener) -> None:
        """Turn unready, serve on for a while, then drain.

        From the first moment on each answer ends its connection, so that those in use are gone
        when the rest are closed: a client does not repeat a review that it wrote to a connection
        which is being closed (Go: net/http.Transport, of a POST).
        """
        self._draining = listener.ending = True
        lame_duck = self._settings.lame_duck_seconds
        try:
            if self.listening.is_set():
                log.info("admission draining", lameDuckSeconds=lame_duck)
                await asyncio.sleep(lame_duck)
                listener.stop()
                # What was accepted at the last moment may still be about to send its request.
                await asyncio.sleep(min(_LAST_SECONDS, lame_duck))
        finally:  # a second cancellation cuts the waits short, not the drain
            await listener.close(self._settings.drain_seconds)
            self.listening.clear()
            log.info("admission stopped")

    async def _first_certificate(self) -> None:
        """Wait until there is a pair that can serve."""
        while not self._refresh_certificate():  # noqa: ASYNC110  # files give no event
            await asyncio.sleep(self._settings.tls_poll_seconds)

    def _refresh_certificate(self) -> bool:
        try:
            changed = self._certificate.refresh()
        except OSError as error:
            self._problem = f"{type(error).__name__}: {error}"
            if self._seldom.due(self._problem):
                log.warning("certificate not loaded", err=self._problem)
            return False
        if changed:
            self._seldom.over()
            log.info("certificate loaded")
        return changed


def _spare_garbage_collection() -> None:
    """Let garbage collection pass over the caches, too, as over the modules (`cli/run.py`).

    A full collection stops the process for as long as it takes to visit everything: 90 ms with
    empty caches, in the middle of an answer (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
