"""Choose TCP ports on loopback that stay free between choosing and using them."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

FIRST, LAST = 20000, 32000
"""Below the range from which Linux takes the ports of outgoing connections, so that none of those
sits on a port while its server is restarted."""


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int, free: Callable[[int], bool] = _bindable) -> list[int]:
    """Return `count` different ports that nobody listens on.

    Random ones, so that two who choose at the same time rarely choose the same. Raises OSError
    when the range is (nearly) full.
    """
    chosen: set[int] = set()
    for _ in range(1000 * count):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if port not in chosen and free(port):
            chosen.add(port)
            if len(chosen) == count:
                return sorted(chosen)
    raise OSError(f"no {count} free TCP ports between {FIRST} and {LAST} on 127.0.0.1")
