"""A webhook is tried as the API server calls it, and what keeps it from serving is told apart."""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from caios_federation.admission.certificate import server_context
from caios_federation.clients.webhook_probe import Outcome, Probed, probe, trust_only
from caios_federation.reconcile.mirror import write_files
from caios_testbed.cluster.ports import free_ports
from issuing import Bundle, issue_bundle

HOURS = dt.timedelta(hours=1)
NOW = dt.datetime.now(dt.UTC)


def issued(*hosts: str, at: dt.datetime = NOW) -> Bundle:
    return issue_bundle(hosts or ["127.0.0.1"], at)


def serving_context(directory: Path, bundle: Bundle) -> ssl.SSLContext:
    write_files(directory, {"tls.crt": bundle.certificate, "tls.key": bundle.key})
    context = server_context()
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return context


@contextlib.asynccontextmanager
async def answering(context: ssl.SSLContext | None, statuses: Sequence[int]) -> AsyncIterator[str]:
    """Serve the statuses in turn, the last one for ever; yield the URL over HTTPS."""
    rest = list(statuses)

    async def answer(_request: web.Request) -> web.Response:
        status = rest.pop(0) if len(rest) > 1 else rest[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_get("/readyz", answer)
    server = TestServer(app)
    await server.start_server(ssl=context)
    try:
        yield f"https://127.0.0.1:{server.port}/readyz"
    finally:
        await server.close()


async def probed(
    directory: Path,
    bundle: Bundle,
    *,
    trusting: Bundle | None = None,
    statuses: Sequence[int] = (200,),
    patience_seconds: float = 0,
) -> Probed:
    """Serve with `bundle`, and try who trusts the CA of `trusting`, or the same."""
    trusted = trust_only((trusting or bundle).ca.decode())
    async with answering(serving_context(directory, bundle), statuses) as url:
        return await probe(url, trusted, patience_seconds=patience_seconds)


async def test_who_is_ready_and_trusted_serves(tmp_path: Path) -> None:
    assert await probed(tmp_path, issued()) == Probed(Outcome.SERVING)


async def test_any_ca_of_a_bundle_will_do(tmp_path: Path) -> None:
    """While a CA is replaced, the old one and the new one are published."""
    served, next_one = issued(), issued()
    both = replace(served, ca=next_one.ca + served.ca)
    assert await probed(tmp_path, served, trusting=both) == Probed(Outcome.SERVING)


async def test_a_published_certificate_is_trusted_itself_as_an_api_server_does(
    tmp_path: Path,
) -> None:
    bundle = issued()
    itself = replace(bundle, ca=bundle.certificate)
    assert await probed(tmp_path, bundle, trusting=itself) == Probed(Outcome.SERVING)


@pytest.mark.parametrize("status", [503, 404, 302])
async def test_who_does_not_say_ready_is_not(tmp_path: Path, status: int) -> None:
    expected = Probed(Outcome.UNREADY, f"the answer is {status}")
    assert await probed(tmp_path, issued(), statuses=[status]) == expected


async def test_who_gets_ready_a_moment_later_serves(tmp_path: Path) -> None:
    found = await probed(tmp_path, issued(), statuses=[503, 200], patience_seconds=5)
    assert found == Probed(Outcome.SERVING)


async def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    expired = issued(at=NOW - 2 * HOURS)
    expected = Probed(Outcome.EXPIRED, "its certificate, or that of its CA, has expired")
    assert await probed(tmp_path, expired, patience_seconds=60) == expected


async def test_a_certificate_of_the_future_is_told(tmp_path: Path) -> None:
    expected = Probed(Outcome.UNTRUSTED, "its certificate is not valid yet: compare the clocks")
    assert await probed(tmp_path, issued(at=NOW + 2 * HOURS)) == expected


async def test_a_certificate_of_another_ca_is_told(tmp_path: Path) -> None:
    expected = Probed(Outcome.UNTRUSTED, "its certificate is not signed by a CA of the caBundle")
    assert await probed(tmp_path, issued(), trusting=issued(), patience_seconds=60) == expected


@pytest.mark.parametrize("host", ["webhook.example", "127.0.0.2"])
async def test_a_certificate_for_another_name_is_told(tmp_path: Path, host: str) -> None:
    expected = Probed(Outcome.UNTRUSTED, "its certificate is for another name")
    assert await probed(tmp_path, issued(host)) == expected


async def test_a_closed_port_is_told() -> None:
    trusted = trust_only(issued().ca.decode())
    url = f"https://127.0.0.1:{free_ports(1)[0]}/readyz"
    expected = Probed(Outcome.UNREACHABLE, "the connection is refused")
    assert await probe(url, trusted, patience_seconds=0) == expected


async def test_who_hangs_is_not_waited_for() -> None:
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass
        writer.close()
        left.set()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        trusted = trust_only(issued().ca.decode())
        found = await probe(f"https://127.0.0.1:{port}/readyz", trusted, patience_seconds=0)
        await asyncio.wait_for(left.wait(), 20)
    assert found == Probed(Outcome.UNREACHABLE, "no answer within 2 s")


async def test_who_speaks_no_tls_is_told() -> None:
    trusted = trust_only(issued().ca.decode())
    async with answering(None, [200]) as url:
        found = await probe(url, trusted, patience_seconds=0)
    assert found == Probed(Outcome.UNREACHABLE, "no TLS is spoken there")


async def test_who_hangs_up_is_told() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        trusted = trust_only(issued().ca.decode())
        found = await probe(f"https://127.0.0.1:{port}/readyz", trusted, patience_seconds=0)
    assert found.outcome is Outcome.UNREACHABLE


async def test_what_is_no_address_is_told() -> None:
    trusted = trust_only(issued().ca.decode())
    found = await probe("https:///readyz", trusted, patience_seconds=0)
    assert found == Probed(Outcome.UNREACHABLE, "the connection fails")


async def test_no_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert await probed(tmp_path, issued()) == Probed(Outcome.SERVING)


@pytest.mark.parametrize("bundle", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_what_holds_no_certificate_is_refused(bundle: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        trust_only(bundle)
