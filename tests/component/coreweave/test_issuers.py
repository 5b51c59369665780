"""Discovery and key sets: fetched over HTTP, cached, fetched again for a new key."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc.jwk import RSAKey

from caios_testbed.authority import Authority
from caios_testbed.coreweave.issuers import Issuers, IssuerSource, IssuerUnavailableError
from component.coreweave.world import ISSUER, KEY, key_set

SECOND = RSAKey.generate_key(2048, {"kid": "second", "use": "sig", "alg": "RS256"})


@dataclass
class Published:
    """An issuer's web server, and how often it was asked."""

    url: str = ""
    issuer: str = ""
    jwks_uri: str = ""
    keys: dict[str, Any] = field(default_factory=lambda: key_set(KEY))
    fetches: int = 0
    status: int = 200
    runner: web.AppRunner | None = None

    async def discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer or self.url,
                "jwks_uri": self.jwks_uri or f"{self.url}/openid/v1/jwks",
            }
        )

    async def jwks(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response(self.keys, status=self.status)


@pytest.fixture
async def published() -> AsyncIterator[Published]:
    server = Published()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", server.discovery)
    app.router.add_get("/openid/v1/jwks", server.jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.runner = runner
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Watch:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def issuers(watch: Watch, source: IssuerSource | None = None) -> Issuers:
    return Issuers({ISSUER: source} if source else {}, lambda: (300, 5), watch)


async def test_a_loopback_issuer_is_read_as_discovery_says(published: Published) -> None:
    keys = await issuers(Watch()).keys(published.url, "first")
    assert [key.kid for key in keys] == ["first"]


async def test_keys_are_asked_for_once(published: Published) -> None:
    found = issuers(Watch())
    await asyncio.gather(*(found.keys(published.url, "first") for _ in range(10)))
    assert published.fetches == 1


async def test_a_new_key_is_found_but_unknown_ids_cannot_flood(published: Published) -> None:
    watch = Watch()
    found = issuers(watch)
    await found.keys(published.url, "first")
    published.keys = key_set(KEY, SECOND)
    await found.keys(published.url, "second")
    assert published.fetches == 1
    watch.now = 5
    assert len(list(await found.keys(published.url, "second"))) == 2
    for _ in range(10):
        await found.keys(published.url, "invented")
    assert published.fetches == 2


async def test_keys_are_not_believed_for_ever(published: Published) -> None:
    watch = Watch()
    found = issuers(watch)
    await found.keys(published.url, "first")
    watch.now = 300
    await found.keys(published.url, "first")
    assert published.fetches == 2


async def test_an_override_moves_the_keys_to_the_reachable_host(published: Published) -> None:
    published.issuer = ISSUER
    published.jwks_uri = "https://10.1.2.3:6443/openid/v1/jwks"
    found = issuers(Watch(), IssuerSource(base_url=published.url))
    assert [key.kid for key in await found.keys(ISSUER, "first")] == ["first"]


async def test_an_api_server_is_read_over_tls_with_its_own_authority(
    published: Published, tmp_path: Path
) -> None:
    authority = Authority.create("cluster")
    authority.issue("kube-apiserver", hosts=["127.0.0.1"]).write(tmp_path / "crt", tmp_path / "key")
    (tmp_path / "ca").write_bytes(authority.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    published.issuer, published.jwks_uri = ISSUER, "https://10.1.2.3:6443/openid/v1/jwks"
    assert published.runner is not None
    await web.TCPSite(published.runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{published.runner.addresses[-1][1]}"
    trusted = issuers(Watch(), IssuerSource(base_url=url, ca_file=tmp_path / "ca"))
    assert [key.kid for key in await trusted.keys(ISSUER, "first")] == ["first"]
    with pytest.raises(IssuerUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        await issuers(Watch(), IssuerSource(base_url=url)).keys(ISSUER, "first")


async def test_a_file_is_read_again_for_a_new_key(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(key_set(KEY)))
    watch = Watch()
    found = issuers(watch, IssuerSource(file=file))
    await found.keys(ISSUER, "first")
    file.write_text(json.dumps(key_set(SECOND)))
    watch.now = 5
    assert [key.kid for key in await found.keys(ISSUER, "second")] == ["second"]


async def test_an_issuer_that_says_it_is_another_is_not_believed(published: Published) -> None:
    published.issuer = published.url + "/"
    with pytest.raises(IssuerUnavailableError, match="names another issuer"):
        await issuers(Watch()).keys(published.url, "first")


async def test_keys_at_a_plain_http_host_are_not_fetched(published: Published) -> None:
    published.jwks_uri = "http://keys.example.com/jwks"
    with pytest.raises(IssuerUnavailableError, match="must use https"):
        await issuers(Watch()).keys(published.url, "first")


async def test_an_issuer_in_trouble_is_unavailable(published: Published) -> None:
    published.status = 500
    with pytest.raises(IssuerUnavailableError, match="answered 500"):
        await issuers(Watch()).keys(published.url, "first")
