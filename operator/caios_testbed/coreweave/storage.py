"""Buckets and objects, kept by moto's S3, which is called in this process.

The emulator's front has authenticated and authorized whatever arrives here. moto sees path-style
requests of one account of its own; its checks of signatures and policies are never reached.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from moto.core.request import Request as MotoRequest
from moto.s3.models import S3Backend, s3_backends
from moto.s3.responses import S3Response
from werkzeug.exceptions import HTTPException

from caios_testbed.coreweave.bucket_policies import BucketPolicy

_accounts = itertools.count(100_000_000_000)
"""moto keeps its accounts per process; each storage takes one of its own."""


@dataclass(slots=True)
class Bucket:
    """What the emulator itself knows of a bucket."""

    name: str
    zone: str
    created_at: dt.datetime
    policy: BucketPolicy | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer of moto's."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Storage:
    """The buckets of the organization.

    Bucket names are unique per process, because moto's are, as S3's are worldwide.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._account = str(next(_accounts))
        # One thread: moto's models are not made for several.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moto")

    async def send(  # noqa: PLR0913, PLR0917  # the parts of an HTTP request
        self,
        method: str,
        bucket: str,
        key: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Stored:
        """Perform one S3 request, `query` encoded, `bucket` empty for the service itself."""
        path = f"/{bucket}/{quote(key, safe='/~')}" if key else f"/{bucket}"
        url = f"http://localhost{path}" + (f"?{query}" if query else "")
        plain = {
            **headers,
            "Host": "localhost",
            "x-moto-account-id": self._account,
            # moto treats requests without a signature as anonymous.
            "Authorization": "AWS4-HMAC-SHA256 Credential=moto/20200101/us-east-1/s3/aws4_request",
        }
        loop = asyncio.get_running_loop()
        serve = S3Response.key_dispatch if key else S3Response.bucket_dispatch
        return await loop.run_in_executor(self._thread, _perform, serve, method, url, plain, body)

    async def clear(self) -> None:
        """Delete every bucket and object."""
        self.buckets.clear()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, _dispose, self._account)

    async def close(self) -> None:
        """Delete everything and end the thread."""
        await self.clear()
        self._thread.shutdown()


def _perform(
    serve: Callable[..., Any], method: str, url: str, headers: Mapping[str, str], body: bytes
) -> Stored:
    request = MotoRequest.from_primitives(method, url, headers, body)
    # The path as it was encoded: moto decodes it itself, once.
    request.environ["RAW_URI"] = urlsplit(url).path
    try:
        status, answered, content = serve(request, request.raw_url, request.headers)
    except HTTPException as error:
        status, answered, content = error.code or 500, dict(error.get_headers()), error.get_body()
    if isinstance(content, str):
        content = content.encode()
    return Stored(int(status), {str(k): str(v) for k, v in answered.items()}, content or b"")


def _dispose(account: str) -> None:
    """Close the temporary files of one account's objects; moto's own reset ends all accounts'."""
    backend: S3Backend = s3_backends[account]["aws"]
    for bucket in backend.buckets.values():
        keys: list[Any] = [key for name in bucket.keys for key in bucket.keys.getlist(name)]
        for stored in (*keys, *bucket.multiparts.values()):
            if hasattr(stored, "dispose"):
                stored.dispose()
        s3_backends.bucket_accounts.pop(bucket.name, None)
    backend.buckets.clear()
