"""Servers that do the least that an admission server does, to measure ours against.

    python -m benchmarks.yardsticks aiohttp|protocol PORT DIRECTORY

`aiohttp` is how one writes such a server in an afternoon; `protocol` is about as little as Python
can do: no routes, no limits, no timeouts, no log. Both run on uvloop, as ours does, with the pair
of DIRECTORY. A Pod of the ServiceAccount `plain` is allowed; each other one gets a patch of twelve
operations, which are ready.
"""

import asyncio
import base64
import ssl
import sys
from pathlib import Path
from typing import Any, cast

import httptools
import orjson
import uvloop
from aiohttp import web

from benchmarks.reviews import PLAIN

_VARIABLES = ("FULL_URI", "TOKEN_FILE", "REGION", "DEFAULT_REGION")
OPERATIONS = [
    {
        "op": "add",
        "path": "/spec/volumes/-",
        "value": {
            "name": "token",
            "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
        },
    },
    *(
        {"op": "add", "path": f"/spec/containers/{at}/env/-", "value": {"name": name, "value": "x"}}
        for at in range(2)
        for name in _VARIABLES
    ),
    *(
        {
            "op": "add",
            "path": f"/spec/containers/{at}/volumeMounts/-",
            "value": {"name": "token", "mountPath": "/token"},
        }
        for at in range(2)
    ),
    {"op": "add", "path": "/metadata/labels/caios.coreweave.com~1federated", "value": "true"},
]


def answer(body: bytes) -> bytes:
    """Return the answer to a review, or to a probe."""
    if not body:
        return b"ready"
    request = orjson.loads(body)["request"]
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    if request["object"]["spec"]["serviceAccountName"] != PLAIN:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(OPERATIONS)).decode()
    return orjson.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    )


async def serve_aiohttp(port: int, context: ssl.SSLContext) -> None:
    """Serve with aiohttp."""

    async def mutate(request: web.Request) -> web.Response:
        return web.Response(body=answer(await request.read()), content_type="application/json")

    app = web.Application(client_max_size=16 << 20)
    app.add_routes([web.post("/mutate-pods", mutate)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()


class Bare(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        """Go on."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Answer."""
        told = answer(self.body)
        self.body = b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(told) + told)


async def serve_protocol(port: int, context: ssl.SSLContext) -> None:
    """Serve with a protocol of our own."""
    await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, ssl=context)


async def main() -> None:
    """Serve until the process is ended."""
    kind, port, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    await {"aiohttp": serve_aiohttp, "protocol": serve_protocol}[kind](port, context)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
