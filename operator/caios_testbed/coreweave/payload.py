"""The body of a signed request: compared with its hash, or taken out of `aws-chunked`.

Source: AWS docs, signature calculations for chunked uploads and for trailing headers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from caios_testbed.coreweave.errors import S3Error
from caios_testbed.coreweave.sigv4 import Verified

UNSIGNED = "UNSIGNED-PAYLOAD"
CHUNKED = {
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
}
CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data).digest(),  # noqa: S324  # the client's choice
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "content-md5": lambda data: hashlib.md5(data).digest(),  # noqa: S324  # the client's choice
}
"""Checksums that are compared; CRC32C and CRC64NVME are stored as they were sent."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as it was meant, and the headers that trailed it."""

    data: bytes = field(repr=False)
    trailers: Mapping[str, str] = field(default_factory=dict)


def open_payload(body: bytes, payload_hash: str, verified: Verified) -> Payload:
    """Return what was sent, proved as far as the client signed it. Raises S3Error."""
    if payload_hash == UNSIGNED:
        return Payload(body)
    if payload_hash in CHUNKED:
        return _dechunked(body, payload_hash, verified)
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), payload_hash.lower()):
        raise S3Error(
            "XAmzContentSHA256Mismatch", "the body does not have the hash x-amz-content-sha256"
        )
    return Payload(body)


def check_checksums(data: bytes, headers: Mapping[str, str]) -> None:
    """Compare the checksums that came with the data. Raises S3Error with BadDigest."""
    for name, value in headers.items():
        compute = CHECKSUMS.get(name.lower())
        if compute and base64.b64encode(compute(data)).decode() != value:
            raise S3Error("BadDigest", f"the body does not have the checksum {name}")


def _dechunked(body: bytes, payload_hash: str, verified: Verified) -> Payload:
    """Take the chunks apart: `SIZE[;chunk-signature=S]`, data, and after the last the trailers."""
    signed = "HMAC" in payload_hash
    data, position, previous = bytearray(), 0, verified.seed
    while True:
        line, position = _line(body, position)
        size_text, _, extension = line.partition(";")
        try:
            size = int(size_text, 16)
        except ValueError as error:
            raise _incomplete() from error
        chunk = body[position : position + size]
        if len(chunk) != size:
            raise _incomplete()
        if signed:
            previous = _checked(
                extension.removeprefix("chunk-signature="),
                verified.chunk_signature("PAYLOAD", previous, b"", chunk),
            )
        if size == 0:
            break
        data += chunk
        position += size
        if body[position : position + 2] != b"\r\n":
            raise _incomplete()
        position += 2
    trailers = _trailers(body, position)
    signature = trailers.pop("x-amz-trailer-signature", "")
    if signed and payload_hash.endswith("TRAILER"):
        canonical = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
        _checked(signature, verified.chunk_signature("TRAILER", previous, canonical.encode()))
    return Payload(bytes(data), trailers)


def _trailers(body: bytes, position: int) -> dict[str, str]:
    trailers = {}
    for line in body[position:].decode("latin-1").split("\r\n"):
        name, colon, value = line.strip().partition(":")
        if colon:
            trailers[name.strip().lower()] = value.strip()
    return trailers


def _line(body: bytes, position: int) -> tuple[str, int]:
    end = body.find(b"\r\n", position)
    if end < 0:
        raise _incomplete()
    return body[position:end].decode("latin-1"), end + 2


def _checked(claimed: str, expected: str) -> str:
    if not hmac.compare_digest(claimed.encode(), expected.encode()):
        raise S3Error("SignatureDoesNotMatch", "the signature of a chunk does not match")
    return expected


def _incomplete() -> S3Error:
    return S3Error("IncompleteBody", "the body ends before its last chunk, or is not aws-chunked")
