"""What is answered: `POST /mutate-pods`, `GET /readyz`, nothing else.

A Pod is never denied: what goes wrong on our side is HTTP 500, and the failurePolicy decides.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

import kopf

from caios_federation.admission.decide import Decider, Decision
from caios_federation.admission.dispatch import decision_of
from caios_federation.admission.http import Received, Reply
from caios_federation.admission.review import (
    BadReviewError,
    Request,
    parse_review,
    render_answer,
)
from caios_federation.api.vocabulary import MUTATE_PATH, READY_PATH, Outcome, SkipReason
from caios_federation.observe.admission import AdmissionCounts
from caios_federation.observe.logging import logger

_MUTATE: Final = MUTATE_PATH.encode()
_READY: Final = READY_PATH.encode()
_JSON: Final = "application/json"
_JSON_BYTES: Final = _JSON.encode()
_PROBES: Final = (b"GET", b"HEAD")

log = logger("admission")


class Endpoint:
    """Answers requests: at once as before where nothing has changed, the rest by way of Kopf."""

    def __init__(
        self,
        decider: Decider,
        dispatch: kopf.WebhookFn,
        counts: AdmissionCounts,
        unready: Callable[[], str],
        *,
        deadline_seconds: float,
    ) -> None:
        self._decider = decider
        self._dispatch = dispatch
        self._counts = counts
        self._unready = unready
        self._deadline_seconds = deadline_seconds

    def __call__(self, received: Received) -> Reply | Coroutine[Any, Any, Reply]:
        """Answer a request. API servers add a query to the path, which says their timeout."""
        path = received.path.partition(b"?")[0]
        if path == _MUTATE:
            if received.method == b"POST":
                return self._mutate(received)
            return _failure(HTTPStatus.METHOD_NOT_ALLOWED, "send a POST", allow="POST")
        if path == _READY:
            if received.method in _PROBES:
                return self._ready()
            return _failure(HTTPStatus.METHOD_NOT_ALLOWED, "send a GET", allow="GET, HEAD")
        return _failure(HTTPStatus.NOT_FOUND, f"there is {MUTATE_PATH} and {READY_PATH}")

    def refused(self, status: HTTPStatus, problem: str) -> Reply:
        """Say what is wrong with a request, to its sender and in the log."""
        log.warning("admission refused", err=problem)
        self._counts.answered(Outcome.REFUSED, 0)
        return _failure(status, problem)

    def _ready(self) -> Reply:
        problem = self._unready()
        return Reply(503 if problem else 200, (problem or "ready").encode())

    def _mutate(self, received: Received) -> Reply | Coroutine[Any, Any, Reply]:
        content_type = received.content_type
        if content_type != _JSON_BYTES and not _is_json(content_type):
            problem = f"Content-Type: must be {_JSON}"
            return self.refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, problem)
        try:
            review = parse_review(received.body)
        except BadReviewError as error:
            return self.refused(HTTPStatus.BAD_REQUEST, str(error))
        if not review.creates_pod:
            return self._unchanged(review, received.began, Outcome.UNCHANGED)
        if self._decider.certainly_unaffected(review.namespace, review.pod):
            self._counts.skipped(SkipReason.NOT_FEDERATED)
            return self._unchanged(review, received.began, Outcome.SKIPPED)
        return self._as_before(review, received.began) or self._asked(review, received.began)

    def _unchanged(self, review: Request, began: float, outcome: Outcome) -> Reply:
        """Answer a request that nothing is done about."""
        answer = Reply(200, render_answer(review), _JSON)
        self._counts.answered(outcome, time.perf_counter() - began)
        return answer

    def _as_before(self, review: Request, began: float) -> Reply | None:
        """Answer as for an earlier Pod of the ServiceAccount, where nothing has changed since."""
        try:
            decision = self._decider.decide_as_before(review.namespace, review.pod)
            return None if decision is None else self._decided(review, began, decision)
        except Exception as error:  # noqa: BLE001  # the edge of a request: failurePolicy decides
            return self._failed(review, began, error)

    async def _asked(self, review: Request, began: float) -> Reply:
        """Answer as the mutation handler decides."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                decision = await decision_of(review, self._dispatch)
            return self._decided(review, began, decision, awaited=True)
        except Exception as error:  # noqa: BLE001  # the edge of a request: failurePolicy decides
            return self._failed(review, began, error)

    def _failed(self, review: Request, began: float, error: Exception) -> Reply:
        log.error(
            "pod admission failed",
            requestUID=review.uid,
            namespace=review.namespace,
            pod=review.pod_name,
            outcome=Outcome.FAILED,
            err=f"{type(error).__name__}: {error}"[:256],  # no traceback: it could quote the Pod
        )
        self._counts.answered(Outcome.FAILED, time.perf_counter() - began)
        problem = "the admission server failed; its log has the reason"
        return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, problem)

    def _decided(
        self, review: Request, began: float, decision: Decision, *, awaited: bool = False
    ) -> Reply:
        """Answer with what was decided, count it, and log it once the answer is on its way.

        One that is `awaited` is on its way a turn of the event loop later.
        """
        answer = Reply(200, render_answer(review, decision), _JSON)
        seconds = time.perf_counter() - began
        # Texts alone: the Pod would stay in memory, and out of the caches, until it is told.
        told = review.uid, review.namespace, review.pod_name, review.dry_run
        outcome, skipped = decision.outcome, decision.skipped
        account, principal = decision.service_account, decision.principal

        def tell() -> None:
            _log(
                *told,
                seconds,
                outcome=outcome,
                reason=skipped,
                serviceAccount=account,
                principal=principal,
            )

        soon = asyncio.get_running_loop().call_soon
        if awaited:
            soon(soon, tell)
        else:
            soon(tell)
        self._counts.answered(outcome, seconds)
        self._counts.warned(decision.warnings)
        if skipped is not None:
            self._counts.skipped(skipped)
        return answer


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == _JSON_BYTES


def _failure(status: HTTPStatus, message: str, *, allow: str = "") -> Reply:
    """Return a failure of the call, never a denial of the Pod."""
    return Reply(status, f"{message}\n".encode(), allow=allow)


def _log(
    uid: str,
    namespace: str,
    pod: str,
    dry_run: bool,  # noqa: FBT001  # always given by position
    seconds: float,
    **facts: str | None,
) -> None:
    log.info(
        "pod admitted",
        requestUID=uid,
        namespace=namespace,
        pod=pod,
        dryRun=dry_run,
        durationSeconds=round(seconds, 6),
        **{key: fact for key, fact in facts.items() if fact},
    )
