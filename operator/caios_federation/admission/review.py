"""AdmissionReview on the wire: what is read of a request, and how an answer is written."""

import binascii
from typing import Any, NamedTuple

import orjson

from caios_federation.admission.decide import Decision


class BadReviewError(ValueError):
    """The body is no AdmissionReview with a request. The message names the field."""


class Request(NamedTuple):
    """The part of an AdmissionReview's request that we read."""

    api_version: str
    uid: str
    namespace: str
    operation: str
    group: str
    kind: str
    dry_run: bool
    pod: Any
    resource: dict[str, Any]

    @property
    def creates_pod(self) -> bool:
        """Whether this is what the webhook is registered for; all else is allowed unseen."""
        return (
            self.operation == "CREATE"
            and self.kind == "Pod"
            and not self.group  # a Pod of the core group, not of somebody's CRD
            and isinstance(self.pod, dict)
        )

    @property
    def pod_name(self) -> str:
        """The Pod's name, or the prefix that its name will be made of."""
        metadata = self.pod.get("metadata") if isinstance(self.pod, dict) else None
        named = metadata if isinstance(metadata, dict) else {}
        return str(named.get("name") or f"{named.get('generateName') or ''}*")


def parse_review(body: bytes) -> Request:
    """Read an AdmissionReview. Raises BadReviewError for what has no request to answer."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReviewError(f"body: not JSON (at character {error.pos})") from error
    if not isinstance(review, dict):
        raise BadReviewError("body: must be an AdmissionReview object")
    request = review.get("request")
    if not isinstance(request, dict):
        raise BadReviewError("request: must be an object")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise BadReviewError("request.uid: must be a string")
    kind, resource = request.get("kind"), request.get("resource")
    return Request(
        api_version=str(review.get("apiVersion") or "admission.k8s.io/v1"),
        uid=uid,
        namespace=str(request.get("namespace") or ""),
        operation=str(request.get("operation") or ""),
        group=str(kind.get("group") or "") if isinstance(kind, dict) else "",
        kind=str(kind.get("kind")) if isinstance(kind, dict) else "",
        dry_run=request.get("dryRun") is True,
        pod=request.get("object"),
        resource=resource if isinstance(resource, dict) else {},
    )


def render_answer(request: Request, decision: Decision | None = None) -> bytes:
    """Write the answer: always allowed, with a patch where the Pod needs one."""
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    if decision and decision.warnings:
        response["warnings"] = decision.warnings
    if decision and decision.operations:
        response["patchType"] = "JSONPatch"
        patch = binascii.b2a_base64(orjson.dumps(decision.operations), newline=False)
        response["patch"] = orjson.Fragment(b'"%b"' % patch)  # base64 needs no escapes
    return orjson.dumps(
        {"apiVersion": request.api_version, "kind": "AdmissionReview", "response": response}
    )
