"""An admission server on loopback, with real TLS and something that stands for Kopf."""

import asyncio
import contextlib
import datetime as dt
import io
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import kopf
import orjson
from aiohttp import ClientSession, TCPConnector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from kubernetes.aio.client import ApiClient, Configuration

import builders
from caios_federation.admission.certificate import ServingCertificate
from caios_federation.admission.decide import Decider, Decision
from caios_federation.admission.dispatch import current_exchange
from caios_federation.admission.review import Request
from caios_federation.admission.server import AdmissionServer
from caios_federation.caches import Caches
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.core.patch import Operation
from caios_federation.core.plan import Placement
from caios_federation.observe.admission import AdmissionCounts
from caios_federation.settings import AdmissionSettings
from caios_testbed.cluster.ports import free_ports

DEADLINE_SECONDS = 20.0
LONG = 3600.0
"""Seconds that no test waits for: what ends earlier was ended by something else."""
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Decide = Callable[[Request], Awaitable[Decision | None]]
T = TypeVar("T")

ADDITION: Operation = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
INJECTED = Decision(operations=(ADDITION,), service_account="reader")


async def soon(wait: Awaitable[T]) -> T:
    """Wait for what has to come; fail where it does not."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await wait


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes; fail where it never is."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await holds():  # noqa: ASYNC110  # another process' view gives no event
            await asyncio.sleep(0.01)


async def inject(_request: Request) -> Decision:
    """Decide as the handler does for a federated Pod."""
    return INJECTED


class Dispatch:
    """Stands for Kopf: calls a handler, and answers as Kopf does when it fails."""

    def __init__(self, decide: Decide = inject) -> None:
        self.decide = decide
        self.reviews: list[Any] = []
        self.webhooks: list[str | None] = []

    async def __call__(
        self,
        request: Any,  # noqa: ANN401  # Kopf's protocol
        *,
        webhook: str | None = None,
        headers: Any = None,  # noqa: ANN401, ARG002  # Kopf's protocol
        sslpeer: Any = None,  # noqa: ANN401, ARG002  # Kopf's protocol
    ) -> Any:  # noqa: ANN401  # Kopf's protocol
        self.reviews.append(request)
        self.webhooks.append(webhook)
        exchange = current_exchange()
        response: dict[str, Any] = {"uid": request["request"]["uid"], "allowed": True}
        try:
            exchange.decision = await self.decide(exchange.request)
        except LookupError as error:
            response |= {"allowed": False, "status": {"message": str(error), "code": 500}}
        return {**request, "response": response}


class Held:
    """A decision that is made when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, _request: Request) -> Decision:
        self.asked.set()
        await self.released.wait()
        return INJECTED


@dataclass(slots=True)
class Serving:
    """A server under test, as its clients see it."""

    server: AdmissionServer
    port: int
    caches: Caches
    decider: Decider
    synced: asyncio.Event
    task: asyncio.Task[None]
    session: ClientSession
    configs: list[kopf.WebhookClientConfig] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    async def send(
        self,
        body: bytes,
        *,
        content_type: str = "application/json",
        method: str = "POST",
        path: str = "/mutate-pods",
    ) -> tuple[int, str]:
        """Return status and text of the answer to `body`."""
        headers = {"Content-Type": content_type}
        async with self.session.request(
            method, self.url(path), data=io.BytesIO(body), headers=headers
        ) as answer:
            return answer.status, await answer.text()

    async def review(self, **request: Any) -> Any:  # noqa: ANN401  # any JSON
        """Send a review of a Pod, with some fields set; return the answer."""
        status, text = await self.send(orjson.dumps(review(**request)))
        assert status == 200, text
        return orjson.loads(text)

    async def ready(self) -> int:
        """Return the status of the readiness probe, on a connection of its own."""
        async with fresh_session() as session, session.get(self.url("/readyz")) as answer:
            return answer.status

    async def is_open(self) -> bool:
        """Tell whether somebody listens: whether the port cannot be had.

        Not by connecting, since asyncio forgets a connection that it accepts while it closes.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return True
        return False

    async def serial(self) -> int:
        """Return the serial number of the certificate that a new connection is shown."""
        async with connection(self.port) as opened:
            return opened.serial

    async def stop(self) -> None:
        """Cancel as Kopf does on SIGTERM, and wait for the end."""
        self.task.cancel()
        await soon(asyncio.wait([self.task]))


def review(**request: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    """Return an AdmissionReview of a Pod as the API server sends it."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "team-a",
            "operation": "CREATE",
            "userInfo": {"username": "somebody"},
            "object": builders.pod(),
            "oldObject": None,
            "dryRun": False,
            **request,
        },
    }


@contextlib.asynccontextmanager
async def serving(
    directory: Path,
    dispatch: kopf.WebhookFn | None = None,
    *known: builders.Json,
    synced: bool = True,
    listening: bool = True,
    counts: AdmissionCounts | None = None,
    **settings: Any,  # noqa: ANN401  # fields of AdmissionSettings
) -> AsyncIterator[Serving]:
    """Serve with the pair in `directory`, which is made where there is none."""
    if listening and not (directory / "tls.crt").exists():
        write_pair(directory)
    port = free_ports(1)[0]
    fields = {"lame_duck_seconds": 0, "tls_poll_seconds": 0.01, **settings}
    caches = Caches()
    for body in known:
        caches.accounts.observe(None, body)
    async with ApiClient(Configuration(host="http://127.0.0.1:1")) as api, fresh_session() as http:
        decider = Decider(caches, KubernetesClient(api), Placement(), live_read_seconds=1)
        server = AdmissionServer(
            AdmissionSettings(host="127.0.0.1", port=port, **fields),
            ServingCertificate(directory),
            decider,
            caches.synced,
            counts,
        )
        configs: list[kopf.WebhookClientConfig] = []

        async def consume() -> None:
            async for config in server(dispatch or Dispatch()):
                configs.append(config)  # noqa: PERF401  # to be seen while it serves

        task = asyncio.create_task(consume())
        if synced:
            caches.synced.set()
        try:
            if synced and listening:
                await soon(server.listening.wait())
            yield Serving(server, port, caches, decider, caches.synced, task, http, configs)
        finally:
            task.cancel()
            await asyncio.wait([task])


@dataclass(slots=True)
class Connection:
    """A connection that is kept."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def serial(self) -> int:
        shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).serial_number

    async def start(self, body: bytes, length: int | None = None) -> None:
        """Send a request, or the beginning of one of `length` bytes."""
        self.writer.write(
            b"POST /mutate-pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {length or len(body)}\r\n\r\n".encode()
            + body
        )
        await self.writer.drain()

    async def answer(self) -> int:
        """Return the status of the next answer."""
        head = await soon(self.reader.readuntil(b"\r\n\r\n"))
        length = next(
            int(line.partition(b":")[2])
            for line in head.lower().splitlines()
            if line.startswith(b"content-length")
        )
        await soon(self.reader.readexactly(length))
        return int(head.split()[1])


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    """Open a connection of one's own, whatever certificate is shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting_anybody())
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def fresh_session() -> ClientSession:
    return ClientSession(connector=TCPConnector(ssl=trusting_anybody()))


def trusting_anybody() -> ssl.SSLContext:
    """Return a client's context that looks at certificates itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def write_pair(directory: Path, key: PrivateKey | None = None) -> int:
    """Write a self-signed pair; return its serial number."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key)
    (directory / "tls.crt").write_bytes(pem_of(certificate))
    (directory / "tls.key").write_bytes(pem_of(key))
    return certificate.serial_number


def self_signed(key: PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )


def pem_of(thing: x509.Certificate | PrivateKey) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
