"""The emulator as a whole: listeners, TLS, and which host is what.

`Emulator` runs in the caller's event loop; `caios-testbed coreweave serve` runs it as a process.
"""

from __future__ import annotations

import logging
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from aiohttp import web

from caios_testbed import directories
from caios_testbed.authority import Authority
from caios_testbed.coreweave import api, s3
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.keys import timestamp
from caios_testbed.coreweave.requestlog import Entry
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION, DEMO_TOKEN, Knobs
from caios_testbed.coreweave.state import State, callers
from caios_testbed.coreweave.tunnel import Tunnel
from caios_testbed.coreweave.wire import split_target

logger = logging.getLogger(__name__)

S3_HOSTS = ("cwobject.com", "cwlota.com")
HOSTS = (
    "api.coreweave.com",
    "cwobject.com",
    "*.cwobject.com",
    "cwlota.com",
    "*.cwlota.com",
    "localhost",
    "127.0.0.1",
)
"""What the certificate is for."""
LARGEST_BODY = 512 * 2**20
"""Bytes; bodies are held in memory. Larger objects go by multipart upload."""
LONGEST_FIELD = 64 * 2**10
"""Bytes of a header: a JWT is one."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the emulator is started."""

    organization: str = DEMO_ORGANIZATION
    api_tokens: Sequence[str] = field(default=(DEMO_TOKEN,), repr=False)
    """Tokens of administrators."""
    limited_api_tokens: Sequence[str] = field(default=(), repr=False)
    """Tokens whose rights come from organization policies alone."""
    issuers: Mapping[str, IssuerSource] = field(default_factory=dict)
    knobs: Knobs = field(default_factory=Knobs)
    http: tuple[str, int] | None = ("127.0.0.1", 0)
    https: tuple[str, int] | None = ("127.0.0.1", 0)
    """Where to listen; port 0 for a free one, `None` for not at all."""
    proxy: tuple[str, int] | None = None
    """Where to listen as an HTTPS proxy that leads to the HTTPS listener; see `tunnel.py`."""
    s3_hosts: Sequence[str] = ()
    """More host names of which the buckets are subdomains."""
    sans: Sequence[str] = ()
    """More names for the certificate."""
    ca_directory: Path | None = None
    """Where the certificate authority is kept; `ca` in the testbed's state when absent."""


class Emulator:
    """CoreWeave on loopback: `async with Emulator() as emulator: ...`."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.state = State(
            organization=self.options.organization,
            callers=callers(tuple(self.options.api_tokens), tuple(self.options.limited_api_tokens)),
            sources=self.options.issuers,
            initial_knobs=self.options.knobs,
        )
        self.url = ""
        """Base URL over HTTP, `http://127.0.0.1:PORT`: the control API, and a proxy for S3."""
        self.https_url = ""
        """Base URL over HTTPS, `https://localhost:PORT`."""
        self.proxy_url = ""
        """What HTTPS_PROXY is set to, where a proxy was asked for."""
        self._tunnel: Tunnel | None = None
        self._directory = self.options.ca_directory or directories.state("ca")
        self._s3_hosts = (*S3_HOSTS, *self.options.s3_hosts)
        self._runner: web.AppRunner | None = None

    @property
    def organization(self) -> str:
        """The organization's id, part of the exchange's path."""
        return self.options.organization

    @property
    def api_token(self) -> str:
        """The first administrator's API token."""
        return self.options.api_tokens[0]

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that clients must trust."""
        return self._directory / "ca.crt"

    @property
    def credentials_url(self) -> str:
        """What AWS_CONTAINER_CREDENTIALS_FULL_URI is set to (loopback HTTP)."""
        return f"{self.url}/v1/cwobject/temporary-credentials/oidc/{self.organization}"

    @property
    def s3_http_endpoint(self) -> str:
        """The S3 endpoint for clients that use `url` as their HTTP proxy."""
        return "http://cwlota.com"

    @property
    def s3_https_endpoint(self) -> str:
        """The S3 endpoint for clients that resolve it to the HTTPS listener."""
        return "https://cwobject.com"

    async def start(self) -> None:
        """Listen. Raises OSError when an address is taken."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # it would write query strings, and so signatures
            auto_decompress=False,  # bodies are signed and stored as they were sent
            max_field_size=LONGEST_FIELD,
            max_line_size=LONGEST_FIELD,
            shutdown_timeout=2.0,
        )
        await self._runner.setup()
        if self.options.http is not None:
            port = await self._listen(self.options.http, None)
            self.url = f"http://127.0.0.1:{port}"
        if self.options.https is not None:
            port = await self._listen(self.options.https, self._tls())
            self.https_url = f"https://localhost:{port}"
            if self.options.proxy is not None:
                self._tunnel = Tunnel((self.options.https[0], port))
                port = await self._tunnel.start(*self.options.proxy)
                self.proxy_url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Finish requests, close the listeners, forget what was stored."""
        if self._tunnel is not None:
            await self._tunnel.stop()
            self._tunnel = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self.state.storage.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _listen(self, address: tuple[str, int], context: ssl.SSLContext | None) -> int:
        assert self._runner is not None  # noqa: S101  # start() has made it
        host, port = address
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        await site.start()
        # With port 0 the system has chosen; the runner lists addresses in the order of the sites.
        chosen: int = self._runner.addresses[-1][1]
        return chosen

    def _tls(self) -> ssl.SSLContext:
        authority = Authority.at(self._directory, "caios-testbed")
        names = dict.fromkeys((*HOSTS, *_with_wildcards(self.options.s3_hosts), *self.options.sans))
        pair = authority.issue("api.coreweave.com", hosts=tuple(names))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
            pair.write(certificate, key)
            context.load_cert_chain(certificate, key)
        return context

    def bucket_of(self, host: str) -> str | None:
        """Return the bucket that a host names: empty for a bare S3 host, `None` for no S3 host."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().rstrip(".")
        for suffix in self._s3_hosts:
            if name == suffix:
                return ""
            if name.endswith(f".{suffix}"):
                return name.removesuffix(f".{suffix}")
        return None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, _ = split_target(request.raw_path)
        bucket = self.bucket_of(request.host)
        if bucket is None and path.startswith("/testbed/"):
            return await api.serve(self.state, request, path, _entry(self.state, request, path))
        entry = _entry(self.state, request, path)
        self.state.log.append(entry)
        try:
            if bucket is None:
                response = await api.serve(self.state, request, path, entry)
            else:
                response = await s3.serve(self.state, request, bucket, entry)
        except web.HTTPException as error:
            entry.status = error.status
            raise
        entry.status = response.status
        logger.info(
            "request served: %s %s status=%s principal=%s decision=%s",
            entry.operation,
            entry.host,
            entry.status,
            entry.principal or "-",
            entry.decision or "-",
        )
        return response


def _entry(state: State, request: web.Request, path: str) -> Entry:
    return Entry(
        time=timestamp(state.clock.now()),
        method=request.method,
        host=request.host,
        path=unquote(path),
    )


def _with_wildcards(hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for host in hosts for name in (host, f"*.{host}"))
