"""HTTP/1.1 for admission, on asyncio's own protocol: the fast path, and why it is fast.

An API server keeps a few connections and sends one review after the other on each. So

- llhttp reads the heads, in C (httptools); two headers are looked at;
- what can be answered from memory is, within the call that brought the last byte: no task, no
  future and no queue stand between the socket and the answer; only what has to wait is a task;
- an answer is one write of ready bytes around the body.

A framework does more for each request than deciding about a Pod costs (docs/performance.md). What
need not be fast is as usual: bodies and heads have limits, a request has to be complete in time,
what comes ahead of its turn waits, and what is no HTTP ends the connection.
"""

import asyncio
import contextlib
import email.utils
import ssl
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol, cast

import httptools

_HEAD_BYTES: Final = 65_536
"""Of a request's line and headers, about. An API server sends some hundred."""
_LINGER_SECONDS: Final = 0.5
"""For a client that is refused while it still sends, so that it reads why."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Reply(NamedTuple):
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""
    """The methods that there are, where another one was asked for."""


class Received(NamedTuple):
    """A request that has come in whole."""

    method: bytes
    path: bytes
    content_type: bytes
    body: bytes
    began: float
    """When its head was complete, by `time.perf_counter`."""
    keeps: bool
    """Whether the client may send another one on the connection."""


class Handler(Protocol):
    """Answers requests. Raises nothing."""

    def __call__(self, received: Received) -> Reply | Coroutine[Any, Any, Reply]:
        """Answer at once, or return what has to be awaited for the answer."""

    def refused(self, status: HTTPStatus, problem: str) -> Reply:
        """Return the answer to what is not even a whole request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client is given."""

    body_bytes: int
    request_seconds: float
    """From the first byte of a request to its last."""
    idle_seconds: float
    """How long a connection may be idle."""


class Listener:
    """Listens on one port, and knows its connections."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler = handler
        self.limits = limits
        self.ending = False
        """Whether each answer ends its connection."""
        self.closed = False
        """Whether connections are ended at once: those whose handshake took until now."""
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._lost = asyncio.Event()

    async def open(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Begin to listen. Raises OSError for a port that is taken."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), host, port, ssl=context, reuse_port=True
        )

    def stop(self) -> None:
        """Accept nothing more."""
        if self._server is not None:
            self._server.close()

    async def close(self, seconds: float) -> None:
        """End idle connections now, others after their answer, and what is left after `seconds`."""
        self.stop()
        self.ending = True
        try:
            for each in tuple(self.connections):
                each.end_if_idle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self.connections:
                        self._lost.clear()
                        await self._lost.wait()
        finally:
            self.closed = True
            for each in tuple(self.connections):
                each.abort()

    def lost(self, connection: "Connection") -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self._lost.set()


class _Reading(Enum):
    """Where in a request a connection is."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class Connection(asyncio.Protocol):
    """One client's connection. llhttp calls the methods whose names begin with `on_`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._handler, self._limits = listener.handler, listener.limits
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast("asyncio.Transport", None)  # from connection_made on
        self._reading = _Reading.NOTHING
        self._head_bytes = self._body_bytes = 0
        self._path = self._content_type = b""
        self._body: list[bytes] = []
        self._began = 0.0
        self._task: asyncio.Task[Reply] | None = None
        """What the request under way waits for."""
        self._waiting: deque[Received] = deque()
        """What came ahead of its turn."""
        self._deadline: asyncio.TimerHandle | None = None
        """While a request is incomplete."""
        self._idle: asyncio.TimerHandle | None = None
        self._used = 0.0
        """When a request was last complete, by the loop's clock."""
        self._ended = False
        """Whether nothing is read or answered any more."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, once its TLS handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.connections.add(self)
        if self._listener.closed:
            self.abort()
        self._used = self._loop.time()
        self._idle = self._loop.call_later(self._limits.idle_seconds, self._look_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's protocol
        """Let go of it all; a decision under way is of no use to anybody."""
        self._ended = True
        for timer in (self._deadline, self._idle):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._listener.lost(self)

    def data_received(self, data: bytes) -> None:
        """Read on, and answer what is complete."""
        if self._ended:
            return  # what was refused is not read any more
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # it was answered as if it had not asked for that, and ends the connection
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.1")
        if self._reading is not _Reading.NOTHING and not self._ended:
            self._wait_for_more(len(data))

    def pause_writing(self) -> None:
        """Read nothing from a client that does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    # What llhttp calls. An exception would be taken for bad HTTP, so these raise none.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reading = _Reading.HEAD
        self._head_bytes = self._body_bytes = 0
        self._path = self._content_type = b""
        self._body = []

    def on_url(self, url: bytes) -> None:
        """Take the path, or a part of it."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take what is needed of a header."""
        lowered = name.lower()
        if lowered == b"content-type":
            self._content_type = value
        elif lowered == b"expect" and value.lower() == b"100-continue":
            self._transport.write(_CONTINUE)

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._reading = _Reading.BODY
        self._began = time.perf_counter()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"body: longer than {self._limits.body_bytes} bytes",
            )
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, now or in its turn."""
        self._reading = _Reading.NOTHING
        if self._ended:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        body = self._body
        received = Received(
            method=self._parser.get_method(),
            path=self._path,
            content_type=self._content_type,
            body=body[0] if len(body) == 1 else b"".join(body),
            began=self._began,
            keeps=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
        )
        self._used = self._loop.time()
        if self._task is None:
            self._answer(received)
        else:
            self._waiting.append(received)
            self._transport.pause_reading()

    # What becomes of a request.

    def _answer(self, received: Received) -> None:
        """Answer at once where the handler can, else as soon as it could."""
        reply = self._handler(received)
        if isinstance(reply, Reply):
            self._write(reply, received)
        else:
            self._task = self._loop.create_task(reply)
            self._task.add_done_callback(lambda task: self._answered(received, task))

    def _answered(self, received: Received, task: asyncio.Task[Reply]) -> None:
        """Write what was awaited, and turn to what came meanwhile."""
        self._task = None
        if self._ended or task.cancelled():
            return
        self._write(task.result(), received)
        while self._waiting and not self._engaged:
            self._answer(self._waiting.popleft())
        if not self._waiting and not self._ended:
            self._transport.resume_reading()

    def _write(self, reply: Reply, received: Received) -> None:
        """Write an answer; the last one of a connection ends it."""
        last = self._listener.ending or not received.keeps
        self._transport.write(_render(reply, last=last, bare=received.method == b"HEAD"))
        if last:
            self._ended = True
            self._transport.close()

    def _refuse(self, status: HTTPStatus, problem: str) -> None:
        """Say what is wrong with a request that need not be read to its end; end the connection.

        What the client still sends is read for a moment and thrown away: a connection that is
        closed before that is reset, and the client never reads why.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None:
            self._ended = True
            self._transport.close()
            return  # the answer that is due is another one
        reply = self._handler.refused(status, problem)
        self._transport.write(_render(reply, last=True))
        self._ended = True
        self._deadline = self._loop.call_later(_LINGER_SECONDS, self._transport.close)

    # Waiting.

    def _wait_for_more(self, more: int) -> None:
        """Give an incomplete request its time, and its head no more than its length."""
        if self._reading is _Reading.HEAD:
            self._head_bytes += more
            if self._head_bytes > _HEAD_BYTES:
                problem = f"headers: longer than {_HEAD_BYTES} bytes"
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, problem)
                return
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._limits.request_seconds, self._too_late)

    def _too_late(self) -> None:
        seconds = self._limits.request_seconds
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"body: not complete within {seconds:g} s")

    def _look_if_idle(self) -> None:
        """End a connection that was idle for too long; else look again when it may be."""
        left = self._used + self._limits.idle_seconds - self._loop.time()
        if left > 0:
            self._idle = self._loop.call_later(left, self._look_if_idle)
        elif self._busy:
            self._idle = self._loop.call_later(self._limits.idle_seconds, self._look_if_idle)
        else:
            self._transport.close()

    @property
    def _engaged(self) -> bool:
        """Whether nothing can be answered now."""
        return self._ended or self._task is not None

    @property
    def _busy(self) -> bool:
        """Whether a request is under way."""
        return self._task is not None or self._reading is not _Reading.NOTHING

    def end_if_idle(self) -> None:
        """End the connection if no request is under way on it."""
        if not self._busy:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()


def _render(reply: Reply, *, last: bool, bare: bool = False) -> bytes:
    """Return an answer as it is written; `bare` is without its body."""
    head = _head(reply.status, reply.content_type, reply.allow, last, int(time.time()))
    return b"%b%d\r\n\r\n%b" % (head, len(reply.body), b"" if bare else reply.body)


@lru_cache(maxsize=16)
def _head(status: int, content_type: str, allow: str, last: bool, now: int) -> bytes:  # noqa: FBT001  # lru_cache is faster by position
    """Return the head of an answer up to the length of its body; it is the same for a second."""
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Date: {email.utils.formatdate(now, usegmt=True)}",
        f"Content-Type: {content_type}",
        *([f"Allow: {allow}"] if allow else []),
        *(["Connection: close"] if last else []),
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode()
