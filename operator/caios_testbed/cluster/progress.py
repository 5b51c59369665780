"""Tell a person at a terminal what takes time: one line per step, a heartbeat for long ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HEARTBEAT_SECONDS = 15
"""How long a step may be silent. People begin to doubt a silent terminal at about this time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Writes lines with `write`, which must not fail."""

    write: Callable[[str], None]

    @classmethod
    def quiet(cls) -> Progress:
        """Return one that says nothing: for tests and libraries."""
        return cls(lambda _line: None)

    def note(self, line: str) -> None:
        """Say something that takes no time."""
        self.write(f"==> {line}")

    @contextmanager
    def step(self, done: str, doing: str = "") -> Iterator[None]:
        """Time the block; say `done` with its seconds, and that it is `doing` while it lasts.

        Nothing is said of a block that raises: its error says it better.
        """
        begin = time.monotonic()
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_SECONDS):
                self.write(f"    ... {doing or done} ({time.monotonic() - begin:.0f} s)")

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
        seconds = time.monotonic() - begin
        self.write(f"==> {done} ({seconds:.{0 if seconds >= 10 else 1}f} s)")  # noqa: PLR2004  # digits that tell
