"""Verifies AWS Signature Version 4 with botocore's own signer: headers, and presigned URLs.

The canonical request is built by the code that signs in boto3 and in the AWS CLI; this module only
feeds it what the client said it had signed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.wire import Wire, encoded_query

ALGORITHM = "AWS4-HMAC-SHA256"
TIMESTAMP = "%Y%m%dT%H%M%SZ"
LONGEST_PRESIGNED_SECONDS = 604_800
_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_REGION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request says about its own signature."""

    access_key_id: str
    region: str
    date: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    security_token: str = field(repr=False)
    payload_hash: str
    expires_seconds: int | None
    """Set for presigned URLs only."""

    @property
    def moment(self) -> dt.datetime:
        """When it was signed."""
        return dt.datetime.strptime(self.timestamp, TIMESTAMP).replace(tzinfo=dt.UTC)

    @property
    def scope(self) -> str:
        """The credential scope."""
        return f"{self.date}/{self.region}/s3/aws4_request"


def read_signature(wire: Wire) -> Signed:
    """Return what the request says. Raises S3Error."""
    if "X-Amz-Signature" in wire.parameters():
        return _presigned(wire)
    header = wire.headers.get("Authorization")
    if header is None:
        raise S3Error("AccessDenied", "the request is not signed; anonymous access is not granted")
    parts = _HEADER.fullmatch(header.strip())
    if parts is None:
        raise S3Error(
            "AuthorizationHeaderMalformed", f"the authorization header is not of {ALGORITHM}"
        )
    payload_hash = wire.headers.get("x-amz-content-sha256")
    if not payload_hash:
        raise S3Error("InvalidRequest", "the header x-amz-content-sha256 is missing")
    signed_headers = tuple(parts["signed"].split(";"))
    unsigned = {name.lower() for name in wire.headers if name.lower().startswith("x-amz-")} - set(
        signed_headers
    )
    if unsigned:
        raise S3Error("AccessDenied", f"the header {min(unsigned)} is not signed")
    return _signed(
        credential=parts["credential"],
        timestamp=wire.headers.get("x-amz-date", ""),
        signed_headers=signed_headers,
        signature=parts["signature"],
        security_token=wire.headers.get("x-amz-security-token", ""),
        payload_hash=payload_hash,
        expires_seconds=None,
    )


def verify(wire: Wire, signed: Signed, secret: str) -> Verified:
    """Compare the signature. Raises S3Error with SignatureDoesNotMatch."""
    signer_of = _HeaderSigner if signed.expires_seconds is None else _QuerySigner
    signer = signer_of(signed, secret)
    query = tuple(pair for pair in wire.query if pair[0] != "X-Amz-Signature")
    text = encoded_query(query)
    request = AWSRequest(
        method=wire.method,
        url=f"{wire.scheme}://{wire.host}{wire.path}" + (f"?{text}" if text else ""),
    )
    for name in signed.signed_headers:
        for value in wire.headers.getall(name, ()):
            request.headers[name] = value
    if signed.expires_seconds is None:
        del request.headers["x-amz-content-sha256"]
        request.headers["x-amz-content-sha256"] = signed.payload_hash
    request.context["timestamp"] = signed.timestamp
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    if not hmac.compare_digest(expected, signed.signature):
        raise S3Error(
            "SignatureDoesNotMatch",
            "the signature does not match; check the secret key and the signing method",
        )
    return Verified(signer, request, signed)


def check_moment(signed: Signed, now: dt.datetime, skew_seconds: int) -> None:
    """Refuse signatures of another time; `now` is the machine's time, as the client's is.

    Raises S3Error with RequestTimeTooSkewed, or AccessDenied for a presigned URL that is over.
    """
    age = (now - signed.moment).total_seconds()
    if signed.expires_seconds is None:
        if abs(age) > skew_seconds:
            raise S3Error("RequestTimeTooSkewed", "the clocks of client and server differ too much")
    elif age > signed.expires_seconds:
        raise S3Error("AccessDenied", "the presigned URL has expired")
    elif age < -skew_seconds:
        raise S3Error("AccessDenied", "the presigned URL is not valid yet")


class Verified:
    """A request whose signature was right; signs the chunks of its body in the same way."""

    def __init__(
        self, signer: S3SigV4Auth | S3SigV4QueryAuth, request: AWSRequest, signed: Signed
    ) -> None:
        self._signer = signer
        self._request = request
        self._signed = signed

    def chunk_signature(self, kind: str, previous: str, *hashed: bytes) -> str:
        """Return the signature of a chunk (`PAYLOAD`) or of the trailers (`TRAILER`)."""
        lines = [f"{ALGORITHM}-{kind}", self._signed.timestamp, self._signed.scope, previous]
        lines += [hashlib.sha256(part).hexdigest() for part in hashed]
        signature: str = self._signer.signature("\n".join(lines), self._request)
        return signature

    @property
    def seed(self) -> str:
        """The signature that the first chunk builds upon."""
        return self._signed.signature


class _HeaderSigner(S3SigV4Auth):
    """botocore's signer, told which headers count: the client has chosen them already."""

    def __init__(self, signed: Signed, secret: str) -> None:
        super().__init__(Credentials(signed.access_key_id, secret), "s3", signed.region)
        self._signed_headers = signed.signed_headers

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return _only(request.headers, self._signed_headers)


class _QuerySigner(S3SigV4QueryAuth):
    """The same for presigned URLs."""

    def __init__(self, signed: Signed, secret: str) -> None:
        super().__init__(Credentials(signed.access_key_id, secret), "s3", signed.region)
        self._signed_headers = signed.signed_headers

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return _only(request.headers, self._signed_headers)


def _only(headers: HTTPHeaders, names: tuple[str, ...]) -> HTTPHeaders:
    kept = HTTPHeaders()
    for name in names:
        for value in headers.get_all(name, ()):
            kept[name] = value
    return kept


def _presigned(wire: Wire) -> Signed:
    parameters = wire.parameters()
    if parameters.get("X-Amz-Algorithm") != ALGORITHM:
        raise _malformed_query(f"X-Amz-Algorithm must be {ALGORITHM}")
    expires = parameters.get("X-Amz-Expires", "")
    if not expires.isdigit() or not 1 <= int(expires) <= LONGEST_PRESIGNED_SECONDS:
        raise _malformed_query(f"X-Amz-Expires must be 1 to {LONGEST_PRESIGNED_SECONDS}")
    return _signed(
        credential=parameters.get("X-Amz-Credential", ""),
        timestamp=parameters.get("X-Amz-Date", ""),
        signed_headers=tuple(parameters.get("X-Amz-SignedHeaders", "").split(";")),
        signature=parameters["X-Amz-Signature"],
        security_token=parameters.get("X-Amz-Security-Token", ""),
        payload_hash=wire.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        expires_seconds=int(expires),
    )


def _signed(  # noqa: PLR0913  # the parts of a signature
    *,
    credential: str,
    timestamp: str,
    signed_headers: tuple[str, ...],
    signature: str,
    security_token: str,
    payload_hash: str,
    expires_seconds: int | None,
) -> Signed:
    refuse = _malformed_header if expires_seconds is None else _malformed_query
    access_key_id, *scope = credential.split("/")
    if len(scope) != 4 or scope[3] != "aws4_request":  # noqa: PLR2004  # date, region, service, end
        raise refuse("the credential is not KEY/DATE/REGION/s3/aws4_request")
    date, region, service, _ = scope
    if service != "s3":
        raise refuse(f"the credential is for the service {service}, not s3")
    if not _REGION.fullmatch(region):
        raise refuse("the region of the credential is not a DNS label")
    try:
        dt.datetime.strptime(timestamp, TIMESTAMP)  # noqa: DTZ007  # only its shape matters
    except ValueError as error:
        raise refuse("X-Amz-Date is missing or not YYYYMMDDTHHMMSSZ") from error
    if not timestamp.startswith(date):
        raise refuse("the date of the credential is not that of X-Amz-Date")
    if "host" not in signed_headers or any(name != name.lower() for name in signed_headers):
        raise refuse("SignedHeaders must be lower case and contain host")
    return Signed(
        access_key_id=access_key_id,
        region=region,
        date=date,
        timestamp=timestamp,
        signed_headers=signed_headers,
        signature=signature,
        security_token=security_token,
        payload_hash=payload_hash,
        expires_seconds=expires_seconds,
    )


def _malformed_header(message: str) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", message)


def _malformed_query(message: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", message)
