"""The front of AI Object Storage: addressing, authentication, policies; then the storage.

Buckets are subdomains; path style is refused. Every request is signed, and every operation is
looked up in `operations.py` and decided by `evaluation.py` before anything is touched.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

from caios_testbed.coreweave import buckets
from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.evaluation import Decision, Request, decide_bucket, decide_organization
from caios_testbed.coreweave.injection import injected
from caios_testbed.coreweave.keys import AccessKey
from caios_testbed.coreweave.operations import Access, S3Operation, identify
from caios_testbed.coreweave.payload import check_checksums, open_payload
from caios_testbed.coreweave.requestlog import Entry
from caios_testbed.coreweave.sigv4 import check_moment, read_signature, verify
from caios_testbed.coreweave.state import State
from caios_testbed.coreweave.wire import Wire, encoded_query, split_target

UNFORWARDED = {
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-moto-account-id",
}
"""Headers that are about the way here, not about the object."""
SIGNING = {
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-content-sha256",
    "x-id",
}
"""Query parameters that are about the way here."""
PATH_STYLE = (
    "path-style requests are not allowed; address the bucket as a subdomain "
    "(s3.addressing_style = virtual)"
)
"""The code is documented, the text is ours."""
CODES = {403: "AccessDenied", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}
"""S3 codes of injected statuses."""


async def serve(
    state: State, request: web.Request, bucket: str, entry: Entry
) -> web.StreamResponse:
    """Answer one request to an S3 host; `bucket` is the subdomain, empty for the bare host."""
    path, query = split_target(request.raw_path)
    wire = Wire(request.method, request.scheme, request.host, path, query, request.headers)
    request_id = uuid.uuid4().hex.upper()

    def refused(error: S3Error) -> web.Response:
        entry.reason = entry.reason or f"{error.code}: {error.message}"
        body = b"" if request.method == "HEAD" else error.as_xml(unquote(path), request_id)
        return web.Response(status=error.status, body=body, content_type="application/xml")

    if not bucket and wire.key:
        return refused(S3Error("PathStyleRequestNotAllowed", PATH_STYLE))
    try:
        headers = CIMultiDict({**wire.headers, **_in_query(wire)})
        operation = identify(wire.method, bucket, wire.key, wire.parameters(), headers)
    except S3Error as error:
        return refused(error)
    entry.operation = f"S3.{operation.name}"

    async def answer() -> web.Response:
        try:
            response = await _perform(state, wire, operation, await request.read(), entry)
        except S3Error as error:
            return refused(error)
        except web.HTTPRequestEntityTooLarge:
            return refused(S3Error("EntityTooLarge", "the emulator takes no body of this size"))
        response.headers["x-amz-request-id"] = request_id
        return response

    def failure(status: int, message: str) -> web.Response:
        code = CODES.get(status, "InternalError" if status >= 500 else "InvalidRequest")  # noqa: PLR2004
        return refused(S3Error(code, message, status=status))

    return await injected(state.faults, request, entry, answer, failure)


async def _perform(
    state: State, wire: Wire, operation: S3Operation, body: bytes, entry: Entry
) -> web.Response:
    signed = read_signature(wire)
    key = state.keys.find(signed.access_key_id)
    if key is None or key.revoked:
        raise S3Error("InvalidAccessKeyId", "the access key id does not exist")
    entry.principal = key.principal
    verified = verify(wire, signed, key.secret)
    check_moment(signed, state.clock.real(), state.knobs.signature_skew_seconds)
    payload = open_payload(body, signed.payload_hash, verified)
    _check_key(state, key, signed.security_token)
    _authorize(state, key.principal, operation.accesses, operation.context, entry)
    headers = _forwarded(wire, payload.trailers)
    check_checksums(payload.data, headers)
    if operation.name == "CreateBucket":
        return await buckets.create(state, operation.bucket, payload.data)
    if operation.name == "ListBuckets":
        return await _store(state, wire, operation, headers, b"")
    _check_bucket(state, operation.bucket)
    if own := buckets.OWN.get(operation.name):
        return own(state, operation.bucket, payload.data)
    if operation.name == "DeleteObjects":
        return await buckets.delete_objects(
            state,
            operation.bucket,
            payload.data,
            lambda access: _decide(state, key.principal, access, operation.context),
            entry,
        )
    response = await _store(state, wire, operation, headers, payload.data)
    if operation.name == "DeleteBucket" and response.status == 204:  # noqa: PLR2004  # S3's own
        del state.storage.buckets[operation.bucket]
    return response


def _check_key(state: State, key: AccessKey, security_token: str) -> None:
    now = state.clock.now()
    if security_token != key.token:
        raise S3Error("InvalidToken", "the session token is not the one of the access key")
    if key.expired(now):
        raise S3Error(state.knobs.expired_key_error, "the access key has expired")
    if now < key.issued_at + dt.timedelta(seconds=state.knobs.key_propagation_seconds):
        raise S3Error("AccessDenied", "the access key is not known everywhere yet")


def _check_bucket(state: State, name: str) -> None:
    bucket = state.storage.buckets.get(name)
    if bucket is None:
        raise S3Error("NoSuchBucket", f"the bucket {name} does not exist")
    delay = dt.timedelta(seconds=state.knobs.bucket_propagation_seconds)
    if state.clock.now() < bucket.created_at + delay:
        raise S3Error("InvalidRegion", "Region does not match.")


def _authorize(
    state: State,
    principal: str,
    accesses: tuple[Access, ...],
    context: Mapping[str, tuple[str, ...]],
    entry: Entry,
) -> None:
    for access in accesses:
        decision = _decide(state, principal, access, context)
        entry.decision = "allowed" if decision.allowed else "denied"
        entry.reason = decision.reason
        if not decision.allowed:
            raise S3Error("AccessDenied", f"Access Denied: {decision.reason}")


def _decide(
    state: State, principal: str, access: Access, context: Mapping[str, tuple[str, ...]]
) -> Decision:
    request = Request(
        principal,
        state.organization,
        access.action,
        access.resource,
        {**context, "cw:PrincipalOrgID": (state.organization,)},
    )
    decision = decide_organization(state.effective_policies(), request)
    bucket = state.storage.buckets.get(access.resource.partition("/")[0])
    # CoreWeave docs: s3:PutBucketPolicy looks at organization policies only, so nobody can lock
    # everybody out. Global and bucket-creating actions have no bucket policy to ask.
    if not decision.allowed or bucket is None or access.action == "s3:PutBucketPolicy":
        return decision
    return decision if bucket.policy is None else decide_bucket(bucket.policy, request)


def _forwarded(wire: Wire, trailers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that belong to the object, wherever the client has put them."""
    headers = {
        name: value for name, value in wire.headers.items() if name.lower() not in UNFORWARDED
    }
    headers.update(_in_query(wire))
    encoding = wire.headers.get("Content-Encoding", "")
    kept = [part.strip() for part in encoding.split(",") if part.strip() not in {"", "aws-chunked"}]
    if kept:
        headers["Content-Encoding"] = ", ".join(kept)
    return {**headers, **trailers}


def _in_query(wire: Wire) -> dict[str, str]:
    """Return the x-amz-* headers that a presigned URL carries as parameters."""
    return {
        name: value
        for name, value in wire.query
        if name.lower().startswith("x-amz-") and name.lower() not in SIGNING
    }


async def _store(
    state: State, wire: Wire, operation: S3Operation, headers: Mapping[str, str], body: bytes
) -> web.Response:
    query = tuple(
        (name, value) for name, value in wire.query if not name.lower().startswith("x-amz-")
    )
    query = tuple(pair for pair in query if pair[0] not in SIGNING)
    stored = await state.storage.send(
        wire.method, operation.bucket, operation.key, encoded_query(query), headers, body
    )
    return buckets.rendered(stored)
