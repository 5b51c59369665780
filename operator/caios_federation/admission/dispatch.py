"""Through Kopf to the mutation handler, and back past Kopf's patches.

Kopf is given a review reduced to what it reads, and the handler finds the Pod in the exchange and
leaves its decision there, so that nothing is copied or compared.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import kopf

from caios_federation.admission.decide import Decision
from caios_federation.admission.review import Request

HANDLER_ID: Final = "mutate-pods"
"""Kopf's id of the mutation handler; a test holds it to `handlers.py`."""


@dataclass(slots=True)
class Exchange:
    """One request on its way through Kopf: the handler reads it and leaves its decision."""

    request: Request
    decision: Decision | None = None


_exchange: ContextVar[Exchange] = ContextVar("exchange")


def current_exchange() -> Exchange:
    """Return the request that the calling handler is asked about."""
    return _exchange.get()


async def decision_of(review: Request, dispatch: kopf.WebhookFn) -> Decision:
    """Let Kopf run the handler; return the decision it left.

    To be awaited in a task of the request's own. Raises what the handler raised, or RuntimeError
    with Kopf's words where it left no decision.
    """
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
