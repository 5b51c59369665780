"""Both families of errors that the emulator answers with.

ApiError    control API: a gRPC code, rendered as google.rpc.Status (REST) or as a Connect error
S3Error     AI Object Storage: an S3 code, rendered as XML

Messages are shown to clients: never put a token, key or signature into one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any
from xml.sax.saxutils import escape


class Code(IntEnum):
    """The gRPC codes that are answered here."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16

    @property
    def status(self) -> int:
        """The HTTP status, the same for grpc-gateway and for the Connect protocol."""
        return _STATUS[self]

    @classmethod
    def of_status(cls, status: int) -> Code:
        """Return the code that belongs to an HTTP status; INTERNAL where none does."""
        return next((code for code in cls if code.status == status), cls.INTERNAL)


_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


class ApiError(Exception):
    """A refusal of the control API."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def as_status(self) -> dict[str, Any]:
        """Return google.rpc.Status JSON, the envelope of REST."""
        return {"code": int(self.code), "message": self.message, "details": []}

    def as_connect(self) -> dict[str, Any]:
        """Return the envelope of the Connect protocol."""
        return {"code": self.code.name.lower(), "message": self.message}


class TokenRejectedError(ApiError):
    """The one answer to any unacceptable JWT; `reason` is for the request log only.

    The text was seen from the real service, which does not name the claim at fault.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT, "invalid request sent to auth endpoint, Invalid token"
        )
        self.reason = reason


class S3Error(Exception):
    """A refusal of AI Object Storage."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or S3_STATUS.get(code, 400)

    def as_xml(self, resource: str, request_id: str) -> bytes:
        """Return the error document of S3."""
        fields = {
            "Code": self.code,
            "Message": self.message,
            "Resource": resource,
            "RequestId": request_id,
        }
        inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()


S3_STATUS = {
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "RequestTimeTooSkewed": 403,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchKey": 404,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "TooManyRequests": 429,
    "InternalError": 500,
    "NotImplemented": 501,
    "SlowDown": 503,
    "ServiceUnavailable": 503,
}
"""HTTP statuses of S3 codes; all others are 400."""
