"""Chunked uploads with signed chunks, which other SDKs than boto3 send: signed by hand here."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import zlib
from collections.abc import Mapping

import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from component.coreweave.world import MINT, ZONE, Keys, World

BODY = bytes(range(256)) * 300
PLAIN = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()


class Upload:
    """A PUT whose chunks are signed as AWS describes it."""

    def __init__(self, keys: Keys, payload: str) -> None:
        self._signer = S3SigV4Auth(Credentials(keys.access_key_id, keys.secret), "s3", ZONE)
        timestamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "x-amz-content-sha256": payload,
            "x-amz-date": timestamp,
            "x-amz-decoded-content-length": str(len(BODY)),
            "content-encoding": "aws-chunked",
        }
        if payload == TRAILER:
            headers["x-amz-trailer"] = "x-amz-checksum-crc32"
        self.request = AWSRequest("PUT", "http://data.cwlota.com/streamed", headers=headers)
        self.request.context["timestamp"] = timestamp
        canonical = self._signer.canonical_request(self.request)
        text = self._signer.string_to_sign(self.request, canonical)
        self.previous = self._signer.signature(text, self.request)
        names = self._signer.signed_headers(self._signer.headers_to_sign(self.request))
        self.request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._signer.scope(self.request)}, "
            f"SignedHeaders={names}, Signature={self.previous}"
        )

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self.request.headers.items())

    def chunk(self, data: bytes) -> bytes:
        self.previous = self._sign("PAYLOAD", b"", data)
        return f"{len(data):x};chunk-signature={self.previous}\r\n".encode() + data + b"\r\n"

    def trailer(self, checksum: str) -> bytes:
        line = f"x-amz-checksum-crc32:{checksum}\n".encode()
        signature = self._sign("TRAILER", line)
        return line.strip() + f"\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()

    def _sign(self, kind: str, *parts: bytes) -> str:
        scope = self._signer.credential_scope(self.request)
        timestamp = self.request.context["timestamp"]
        lines = [f"AWS4-HMAC-SHA256-{kind}", timestamp, scope, self.previous]
        lines += [hashlib.sha256(part).hexdigest() for part in parts]
        signature: str = self._signer.signature("\n".join(lines), self.request)
        return signature


@pytest.fixture
def keys(world: World) -> Keys:
    """Give keys that may do everything, and a bucket."""
    world.grant("s3:*", MINT)
    keys = world.keys()
    world.s3(keys).create_bucket(
        Bucket="data",
        CreateBucketConfiguration={"LocationConstraint": ZONE},  # type: ignore[typeddict-item]
    )
    return keys


def put(world: World, upload: Upload, body: bytes) -> tuple[int, bytes]:
    with urllib3.ProxyManager(world.emulator.url) as pool:
        answer = pool.request(
            "PUT", "http://data.cwlota.com/streamed", body=body, headers=dict(upload.headers)
        )
        return answer.status, answer.data


def stored(world: World, keys: Keys) -> bytes:
    return world.s3(keys).get_object(Bucket="data", Key="streamed")["Body"].read()


def test_signed_chunks_are_stored(world: World, keys: Keys) -> None:
    upload = Upload(keys, PLAIN)
    body = upload.chunk(BODY[:65_536]) + upload.chunk(BODY[65_536:]) + upload.chunk(b"")
    assert put(world, upload, body)[0] == 200
    assert stored(world, keys) == BODY


def test_signed_trailers_are_proved(world: World, keys: Keys) -> None:
    upload = Upload(keys, TRAILER)
    body = upload.chunk(BODY) + upload.chunk(b"").removesuffix(b"\r\n") + upload.trailer(CRC)
    assert put(world, upload, body)[0] == 200
    assert stored(world, keys) == BODY


@pytest.mark.parametrize("fault", ["chunk", "signature", "order", "short", "checksum", "trailer"])
def test_broken_uploads_are_refused(world: World, keys: Keys, fault: str) -> None:
    upload = Upload(keys, TRAILER)
    first, second = upload.chunk(BODY[:100]), upload.chunk(BODY[100:])
    end = upload.chunk(b"").removesuffix(b"\r\n")
    wrong = base64.b64encode(b"none").decode()
    trailer = upload.trailer(wrong if fault == "checksum" else CRC)
    other_trailer = trailer.replace(CRC.encode(), wrong.encode())
    body, code = {
        "chunk": (first.replace(b"\x01", b"\x02") + second + end + trailer, b"Signature"),
        "signature": (first + second.replace(b"signature=", b"signature=0") + end, b"Signature"),
        "order": (second + first + end + trailer, b"Signature"),
        "short": (first + second, b"IncompleteBody"),
        "checksum": (first + second + end + trailer, b"BadDigest"),
        "trailer": (
            first + second + end + other_trailer,
            b"Signature",
        ),
    }[fault]
    status, answer = put(world, upload, body)
    assert status in {400, 403}
    assert code in answer
    assert world.requests(operation="S3.PutObject", status="200") == []


def test_a_body_that_was_changed_on_the_way_is_refused(world: World, keys: Keys) -> None:
    upload = Upload(keys, hashlib.sha256(BODY).hexdigest())
    status, answer = put(world, upload, BODY[:-1])
    assert (status, b"XAmzContentSHA256Mismatch" in answer) == (400, True)
