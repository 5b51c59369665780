"""The emulator for code without an event loop: it runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from caios_testbed.coreweave.app import Emulator, Options


@contextmanager
def running(options: Options | None = None) -> Iterator[Emulator]:
    """Start an emulator, give it out, and stop it.

    The state belongs to the other thread: look at it and change it over HTTP.
    """
    emulator = Emulator(options)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="coreweave", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(emulator.start(), loop).result()
            yield emulator
        finally:
            asyncio.run_coroutine_threadsafe(emulator.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
