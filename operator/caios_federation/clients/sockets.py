"""Sockets that notice when their other end is gone without a word: a node, a link, a firewall.

A watch only listens. Without such a socket it would wait on a dead connection until the next
sign of life is overdue, more than a minute, and know nothing of what happens meanwhile.
"""

import socket
from typing import Final

import aiohttp

_IDLE_SECONDS: Final = 5
_PROBES: Final = 3
SILENCE_SECONDS: Final = _IDLE_SECONDS * (1 + _PROBES)
"""After so long without an answer to a probe, or to what was sent, a connection is given up."""

_OPTIONS: Final = {
    "TCP_KEEPIDLE": _IDLE_SECONDS,
    "TCP_KEEPINTVL": _IDLE_SECONDS,
    "TCP_KEEPCNT": _PROBES,
    "TCP_USER_TIMEOUT": SILENCE_SECONDS * 1000,
}
"""Linux has them all (tcp(7)); where one is missing, the system's own values hold."""


def watchful_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket for `address`, which aiohttp then connects."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if option := getattr(socket, name, None):
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
