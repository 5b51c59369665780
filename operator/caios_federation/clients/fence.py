"""A term of acting, and the fence at its end: what acts for it sends nothing once it is over.

Tasks are cancelled when a term ends, but a process that was stopped for a while, or a loop that was
busy, may run one of them first. So every request is checked where it is sent, by the term of the
task that sends it; those that belong to none, such as a webhook's reads, are let through. It is
checked once more when it has its connection: a process may be stopped while it waits for one.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import aiohttp


class Term:
    """A time in which to act, until a moment that may be put off while it is not over."""

    def __init__(self, until: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.until = until
        """By `clock`, in seconds."""
        self.cut = False
        """Whether a write was given up: nobody knows whether, or when, it comes about."""
        self._clock = clock

    @property
    def over(self) -> bool:
        """Whether nothing may be sent any more."""
        return self._clock() >= self.until

    def extend(self, until: float) -> bool:
        """Put the end off to `until`; tell whether it was not over yet."""
        if self.over:
            return False
        self.until = until
        return True

    def end(self) -> None:
        """Be over from now on."""
        self.until = -math.inf


_term: ContextVar[Term | None] = ContextVar("term", default=None)


def act_for(term: Term) -> None:
    """Have the calling task, and all that it starts, act for `term`."""
    _term.set(term)


@contextmanager
def sending(*, writes: bool) -> Iterator[None]:
    """Enclose the sending of a request, up to its answer.

    Raises CancelledError where the caller's term is over: the cancellation is under way.
    """
    _check()
    term = _term.get()
    try:
        yield
    except asyncio.CancelledError:
        if term is not None:
            term.cut |= writes
        raise


class FencedRequest(aiohttp.ClientRequest):
    """A request of aiohttp that is kept back where the caller's term ended before it was written.

    What is sent again on another connection comes by here again.
    """

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Write the request. Raises CancelledError as `sending` does."""
        _check()
        return await super().send(conn)


def _check() -> None:
    term = _term.get()
    if term is not None and term.over:
        raise asyncio.CancelledError("the term of leading is over")
