"""Where the testbed keeps things: a cache that may be deleted, and state that runs.

Both are per user and outside any checkout, so that a fresh clone finds what an earlier one built.
The places follow the XDG base directory specification.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache(*parts: str) -> Path:
    """Return a directory below the user's cache: binaries, images. Made when absent."""
    return _made(os.environ.get("XDG_CACHE_HOME") or "~/.cache", *parts)


def state(*parts: str) -> Path:
    """Return a directory below the user's state: clusters, the emulator's CA, logs."""
    return _made(os.environ.get("XDG_STATE_HOME") or "~/.local/state", *parts)


def _made(base: str, *parts: str) -> Path:
    path = Path(base).expanduser().joinpath("caios-testbed", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path
