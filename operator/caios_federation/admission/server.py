"""The HTTPS front of admission, on Kopf's public admission-server protocol.

Kopf's own server answers before caches are full, closes its port to rotate certificates, turns
exceptions into denials and knows neither readiness nor drain (docs/concepts/admission.md). This one

- listens once the caches are synced, and serves `POST /mutate-pods`, `GET /readyz`, nothing else;
- answers at once for Pods whose ServiceAccount is known and not federated;
- passes the others through Kopf's dispatch to the mutation handler, with a review reduced to what
  Kopf reads, and renders the handler's operations itself, so that nothing is copied or compared;
- never denies: what goes wrong on our side is HTTP 500, and the failurePolicy decides;
- on termination turns `/readyz` to 503, serves on while endpoints forget it, then drains (how, and
  what that does to connections: docs/operations/high-availability.md).
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import kopf
from aiohttp import web

from caios_federation.admission.certificate import ServingCertificate
from caios_federation.admission.decide import Decider, Decision
from caios_federation.admission.review import (
    BadReviewError,
    Request,
    parse_review,
    render_answer,
)
from caios_federation.api.vocabulary import MUTATE_PATH, READY_PATH, Outcome, SkipReason
from caios_federation.observe.admission import AdmissionCounts
from caios_federation.observe.logging import Seldom, logger
from caios_federation.settings import AdmissionSettings

HANDLER_ID: Final = "mutate-pods"
"""Kopf's id of the mutation handler; a test holds it to `handlers.py`."""

_KEEPALIVE_SECONDS: Final = 3600
"""How long a connection may be idle. Clients are to end it first, since only they know that they
are not about to use it: Go's do after 90 s, and would lose what they write to one that we close."""
_LAST_SECONDS: Final = 1.0
"""Between closing the port and closing what is idle."""

log = logger("admission")


@dataclass(slots=True)
class Exchange:
    """One request on its way through Kopf: the handler reads it and leaves its decision."""

    request: Request
    decision: Decision | None = None


_exchange: ContextVar[Exchange] = ContextVar("exchange")


def current_exchange() -> Exchange:
    """Return the request that the calling handler is asked about."""
    return _exchange.get()


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
        runner = web.AppRunner(
            self._application(dispatch),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            shutdown_timeout=self._settings.drain_seconds,
        )
        await runner.setup()
        site = web.TCPSite(
            runner,
            self._settings.host,
            self._settings.port,
            ssl_context=self._certificate.front,
            reuse_port=True,
        )
        try:
            await site.start()
            self.listening.set()
            log.info("admission serving", port=self._settings.port)
            yield {"url": f"https://{self._settings.host}:{self._settings.port}{MUTATE_PATH}"}
            while True:
                await asyncio.sleep(self._settings.tls_poll_seconds)
                self._refresh_certificate()
        finally:
            await self._retire(runner, site)

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

    async def _retire(self, runner: web.AppRunner, site: web.TCPSite) -> None:
        """Turn unready, serve on for a while, then drain.

        From the first moment on each answer ends its connection, so that those in use are gone
        when the rest are closed: a client does not repeat a review that it wrote to a connection
        which is being closed (Go: net/http.Transport, of a POST).
        """
        self._draining = True
        lame_duck = self._settings.lame_duck_seconds
        try:
            if self.listening.is_set():
                log.info("admission draining", lameDuckSeconds=lame_duck)
                await asyncio.sleep(lame_duck)
                await site.stop()
                # What was accepted at the last moment may still be about to send its request.
                await asyncio.sleep(min(_LAST_SECONDS, lame_duck))
        finally:  # a second cancellation cuts the waits short, not the drain
            await runner.cleanup()
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

    def _application(self, dispatch: kopf.WebhookFn) -> web.Application:
        async def mutate(request: web.Request) -> web.Response:
            return self._last(await self._mutate(request, dispatch))

        app = web.Application(client_max_size=self._settings.body_limit_bytes)
        app.add_routes([web.post(MUTATE_PATH, mutate), web.get(READY_PATH, self._ready)])
        return app

    async def _ready(self, _request: web.Request) -> web.Response:
        problem = self.unready()
        return self._last(web.Response(status=503 if problem else 200, text=problem or "ready"))

    def _last(self, response: web.Response) -> web.Response:
        """Have `response` end its connection while we drain."""
        if self._draining:
            response.force_close()
        return response

    async def _mutate(self, http: web.Request, dispatch: kopf.WebhookFn) -> web.Response:
        started = time.perf_counter()
        review = await self._read(http)
        if isinstance(review, web.Response):
            self._counts.answered(Outcome.REFUSED, time.perf_counter() - started)
            return review
        if not review.creates_pod:
            return self._unchanged(review, started, Outcome.UNCHANGED)
        if self._decider.certainly_unaffected(review.namespace, review.pod):
            self._counts.skipped(SkipReason.NOT_FEDERATED)
            return self._unchanged(review, started, Outcome.SKIPPED)
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                decision = await self._dispatch(review, dispatch)
        except Exception as error:  # noqa: BLE001  # the edge of a request: failurePolicy decides
            log.error(  # noqa: TRY400  # a traceback could quote the Pod
                "pod admission failed",
                requestUID=review.uid,
                namespace=review.namespace,
                pod=review.pod_name,
                outcome=Outcome.FAILED,
                err=f"{type(error).__name__}: {error}"[:256],
            )
            self._counts.answered(Outcome.FAILED, time.perf_counter() - started)
            return _failure(500, "the admission server failed; its log has the reason")
        _log(
            review,
            started,
            outcome=decision.outcome,
            reason=decision.skipped,
            serviceAccount=decision.service_account,
            principal=decision.principal,
        )
        answer = _answer(review, decision)
        self._count(decision, time.perf_counter() - started)
        return answer

    def _unchanged(self, review: Request, started: float, outcome: Outcome) -> web.Response:
        """Answer a request that nothing is done about."""
        answer = _answer(review, None)
        self._counts.answered(outcome, time.perf_counter() - started)
        return answer

    def _count(self, decision: Decision, seconds: float) -> None:
        self._counts.answered(decision.outcome, seconds)
        self._counts.warned(decision.warnings)
        if decision.skipped is not None:
            self._counts.skipped(decision.skipped)

    async def _read(self, http: web.Request) -> Request | web.Response:
        """Return the review that was sent, or the refusal of what is none."""
        limit = self._settings.body_limit_bytes
        if http.content_type != "application/json":
            return _refused(415, "Content-Type: must be application/json")
        seconds = self._settings.deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                body = await http.read()
            return parse_review(body)
        except TimeoutError:
            return _refused(408, f"body: not complete within {seconds:g} s")
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"body: longer than {limit} bytes")
        except BadReviewError as error:
            return _refused(400, str(error))
        except ConnectionError:
            return _refused(400, "body: the client left before it was complete")

    async def _dispatch(self, review: Request, dispatch: kopf.WebhookFn) -> Decision:
        """Let Kopf run the handler; return the decision it left."""
        exchange = Exchange(review)
        _exchange.set(exchange)
        answer = await dispatch(_slim(review), webhook=HANDLER_ID)
        if exchange.decision is None:
            status = answer["response"].get("status") or {}
            raise RuntimeError(status.get("message") or "the handler left no decision")
        return exchange.decision


def _slim(review: Request) -> Any:  # noqa: ANN401  # Kopf asks for more than it reads
    """Return all that Kopf reads of a review; the handler reads the Pod from the exchange."""
    return {
        "apiVersion": review.api_version,
        "kind": "AdmissionReview",
        "request": {
            "uid": review.uid,
            "operation": review.operation,
            "resource": review.resource,
            "subResource": None,
            "dryRun": review.dry_run,
            "userInfo": {},
            "object": {"metadata": {"namespace": review.namespace, "name": review.pod_name}},
        },
    }


def _answer(review: Request, decision: Decision | None) -> web.Response:
    return web.Response(body=render_answer(review, decision), content_type="application/json")


def _refused(status: int, problem: str) -> web.Response:
    """Say what is wrong with a request, to its sender and in the log."""
    log.warning("admission refused", err=problem)
    return _failure(status, problem)


def _failure(status: int, message: str) -> web.Response:
    """Return a failure of the call, never a denial of the Pod."""
    return web.Response(status=status, text=f"{message}\n")


def _log(review: Request, started: float, **facts: Any) -> None:  # noqa: ANN401  # log values
    log.info(
        "pod admitted",
        requestUID=review.uid,
        namespace=review.namespace,
        pod=review.pod_name,
        dryRun=review.dry_run,
        durationSeconds=round(time.perf_counter() - started, 6),
        **{key: fact for key, fact in facts.items() if fact},
    )
