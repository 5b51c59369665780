"""Sockets that notice a silent end: what the kernel is told."""

import socket
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from caios_federation.clients.sockets import SILENCE_SECONDS, watchful_socket

OPTIONS = {
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: SILENCE_SECONDS * 1000,
}


@pytest.fixture
def made() -> Iterator[socket.socket]:
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))
    with watchful_socket(address) as found:
        yield found


def test_a_silent_connection_is_asked_for_a_sign_of_life(made: socket.socket) -> None:
    assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert {name: made.getsockopt(socket.IPPROTO_TCP, name) for name in OPTIONS} == OPTIONS


def test_nothing_is_held_on_to_for_longer_than_probes_are_sent() -> None:
    idle, between, probes = (OPTIONS[name] for name in list(OPTIONS)[:3])
    assert idle + between * probes == SILENCE_SECONDS


async def test_a_client_connects_by_it() -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", hello)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        connector = aiohttp.TCPConnector(socket_factory=watchful_socket)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://127.0.0.1:{port}/") as response,
        ):
            assert await response.text() == "hello"
    finally:
        await runner.cleanup()
