"""Where the process is observed: `/metrics`, `/healthz` and `/readyz`, plain HTTP.

Open from before anything else of the process to after all of it, so that probes are always
answered. Nothing secret is to be seen here.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from caios_federation.api.vocabulary import READY_PATH
from caios_federation.observe.logging import logger
from caios_federation.settings import ObservabilitySettings

log = logger("observability")


class Endpoints:
    """The server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.unready: Callable[[], str] = lambda: "starting"
        """Tells what the process lacks to do its work, nothing when it is ready."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", make_aiohttp_handler(registry)),
                web.get("/healthz", self._healthy),
                web.get(READY_PATH, self._ready),
            ]
        )
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1)
        self.port = 0
        """The port, once it is open."""

    async def open(self, settings: ObservabilitySettings) -> None:
        """Listen. Raises OSError when the port cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, settings.host, settings.port).start()
        except OSError:
            await self.close()
            raise
        self.port = self._runner.addresses[0][1]
        log.info("observability serving", port=self.port)

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthy(self, _request: web.Request) -> web.Response:
        """Answer: whoever can has an event loop that turns."""
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        lacking = self.unready()
        return web.Response(status=503 if lacking else 200, text=f"{lacking or 'ok'}\n")
