"""An HTTPS proxy that leads every host to the emulator: for clients whose DNS cannot be changed.

`HTTPS_PROXY` set to it, a client resolves no name, says CONNECT, and meets the emulator's TLS
listener. Plain HTTP needs no tunnel: the emulator itself takes a proxy's requests.
"""

from __future__ import annotations

import asyncio
import contextlib

HEAD_SECONDS = 10
"""How long a client may take to say where it wants to go."""


class Tunnel:
    """Listens, and connects whoever comes with `target`, whatever host was asked for."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Future[None]] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, host, port)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Close the listener and every tunnel."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.gather(*self._open.values())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open[writer] = ended
        try:
            # OSError: either side went away, which ends a tunnel.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await self._tunnel(reader, writer)
        finally:
            writer.close()
            del self._open[writer]
            ended.set_result(None)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection(*self._target)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back))
                group.create_task(_pump(there, writer))
        except* OSError:
            pass
        finally:
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
