"""Cut clients off the API server, on purpose and for a bounded time, inside of the cluster.

Only in the cluster's network namespace: its rules and connections are nobody else's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.network import POD_NETWORK, Network
from caios_testbed.cluster.waiting import eventually

TABLE = "testbed-severing"
SECONDS = 30
"""One command in the namespace."""

CLOSE_SECONDS = 10
"""Until connections that are to be closed are."""

SS = ("--no-header", "--tcp", "--numeric")

RULES = """\
table inet {table} {{
  set clients {{
    type ipv4_addr
    flags interval, timeout
  }}
  chain input {{
    # Before kube-proxy's own at priority 0.
    type filter hook input priority -5
    ip saddr @clients tcp dport {port} drop
  }}
  chain output {{
    type filter hook output priority -5
    ip daddr @clients tcp sport {port} drop
  }}
}}
"""
"""Packets between the API server and `clients` vanish in both directions: nobody is told. An entry
of the set ends by itself in the kernel, so that a test that is killed leaves no blackout."""


def drop_connections(network: Network, port: int, clients: Sequence[str]) -> int:
    """Close the established connections of `clients` to the API server at `port`; return how many.

    `clients` are addresses or networks. Both ends see a reset, and may connect again at once.
    Raises ClusterError.
    """
    # Without `state`, with which ss says that it kills but does not.
    return sum(
        _close(network, ("dst", client, "and", "sport", "=", f":{port}")) for client in clients
    )


@contextmanager
def blackout(
    network: Network, port: int, seconds: float, clients: Sequence[str] = (POD_NETWORK,)
) -> Iterator[None]:
    """Let packets between `clients` and the API server at `port` vanish, inside of the `with`.

    It ends with the `with`, and in any case after `seconds`. Raises ClusterError.
    """
    elements = ", ".join(
        f"{client} timeout {max(1, round(seconds * 1000))}ms" for client in clients
    )
    text = RULES.format(table=TABLE, port=port)
    _run(
        network, "nft", "-f", "-", text=f"{text}add element inet {TABLE} clients {{ {elements} }}\n"
    )
    try:
        yield
    finally:
        _run(network, "nft", "delete", "table", "inet", TABLE)


def _close(network: Network, filters: Sequence[str]) -> int:
    before = _connections(network, filters)

    def gone() -> bool:
        # Not always at once: what the kernel has in use just then, it passes over.
        _run(network, "ss", "--kill", *SS, *filters)
        return not before & _connections(network, filters)

    if not eventually(gone, CLOSE_SECONDS):
        raise ClusterError(
            f"connections to the API server do not close ({' '.join(filters)}); "
            "has the kernel CONFIG_INET_DIAG_DESTROY?"
        )
    return len(before)


def _connections(network: Network, filters: Sequence[str]) -> set[tuple[str, ...]]:
    """Return the pairs of addresses and ports of established connections."""
    listed = _run(network, "ss", *SS, "state", "established", *filters)
    return {tuple(line.split()[2:4]) for line in listed.splitlines()}


def _run(network: Network, *argv: str, text: str | None = None) -> str:
    done = subprocess.run(
        [*network.enter, *argv],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
