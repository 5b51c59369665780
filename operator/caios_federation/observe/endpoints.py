"""Where the process is observed: `/metrics`, `/healthz` and `/readyz`, plain HTTP.

Served from before anything else of the process to after all of it, so that probes are always
answered. Nothing secret is to be seen here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from caios_federation.api.vocabulary import READY_PATH
from caios_federation.observe.logging import logger
from caios_federation.settings import ObservabilitySettings

log = logger("observability")


@asynccontextmanager
async def endpoints(
    settings: ObservabilitySettings, registry: CollectorRegistry, unready: Callable[[], str]
) -> AsyncIterator[int]:
    """Serve while the context lasts; yield the port.

    `unready` tells what the process lacks to do its work, nothing when it is ready. Raises OSError
    when the port cannot be had.
    """

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")  # who answers here has an event loop that turns

    async def ready(_request: web.Request) -> web.Response:
        lacking = unready()
        return web.Response(status=503 if lacking else 200, text=f"{lacking or 'ok'}\n")

    app = web.Application()
    app.add_routes(
        [
            web.get("/metrics", make_aiohttp_handler(registry)),
            web.get("/healthz", healthy),
            web.get(READY_PATH, ready),
        ]
    )
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        port: int = runner.addresses[0][1]
        log.info("observability serving", port=port)
        yield port
    finally:
        await runner.cleanup()
