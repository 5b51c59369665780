"""The cluster's network namespace, and the veth pair through which the host and it meet.

Nothing else of the host's network is touched, and from inside nothing but the host's end of the
pair can be reached.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from caios_testbed.cluster.failure import ClusterError

NODE_ADDRESS = "10.200.0.1"
"""The node's address. Every cluster has the same one, each in a namespace of its own."""
POD_NETWORK = "10.244.0.0/24"
POOL = IPv4Network("10.201.0.0/16")
"""Where the veth pairs' networks are taken from; unusual enough to be free on most machines."""
MOUNTS = Path("/run/netns")
"""Where `ip netns` keeps namespaces, itself a mount point that `ip` makes."""


@dataclass(frozen=True, slots=True)
class Network:
    """The namespace and interfaces of the cluster called `name`."""

    name: str

    @property
    def namespace(self) -> str:
        """The namespace's name, as `ip netns` lists it."""
        return f"testbed-{self.name}"

    @property
    def path(self) -> Path:
        """The file by which nsenter enters the namespace."""
        return Path("/var/run/netns", self.namespace)

    @property
    def interface(self) -> str:
        """The host's end of the pair; names of interfaces have 15 characters at most."""
        return f"tb-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command so that it runs inside.

        Not `ip netns exec`: that mounts /sys anew, and what runs inside loses sight of cgroups.
        """
        return ("nsenter", f"--net={self.path}")

    def create(self, subnet: IPv4Network) -> None:
        """Make namespace, node address and pair; they must not exist. Raises ClusterError."""
        host, cluster = ends(subnet)
        _ip("netns", "add", self.namespace)
        pair = ("veth", "peer", "name", "uplink", "netns", self.namespace)
        _ip("link", "add", self.interface, "type", *pair)
        _ip("address", "add", f"{host}/{subnet.prefixlen}", "dev", self.interface)
        _ip("link", "set", self.interface, "up")
        inside = (
            "link set lo up",
            # A bridge without ports: an interface that needs no module beyond those of containers.
            "link add node0 type bridge",
            f"address add {NODE_ADDRESS}/24 dev node0",
            "link set node0 up",
            f"address add {cluster}/{subnet.prefixlen} dev uplink",
            "link set uplink up",
            # Components look for a default route to learn which address is theirs.
            "route add default dev node0",
        )
        _ip("-netns", self.namespace, "-batch", "-", text="\n".join(inside))
        forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run([*self.enter, "sh", "-c", forward], check=True)

    def delete(self) -> None:
        """Remove what `create` made, as far as it is there."""
        if Path("/sys/class/net", self.interface).exists():
            _ip("link", "delete", self.interface)
        if self.path.exists():
            _ip("netns", "delete", self.namespace)
        if MOUNTS.is_dir() and not any(MOUNTS.iterdir()):
            # `ip` mounts the directory on itself for its first namespace and never undoes it. When
            # it did not, this fails, and that is fine.
            subprocess.run(["umount", str(MOUNTS)], check=False, capture_output=True)


def ends(subnet: IPv4Network) -> tuple[IPv4Address, IPv4Address]:
    """Return the two addresses of a /30: the host's, then the cluster's."""
    host, cluster = subnet.hosts()
    return host, cluster


def choose_subnet(name: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """Return a /30 of the pool that overlaps nothing in `taken`.

    The same `name` gets the same network again while that is free, so that a kubeconfig stays
    valid over restarts. Raises ClusterError when the pool is used up.
    """
    used = [network for network in taken if network.overlaps(POOL)]
    count = POOL.num_addresses // 4
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % count
    for step in range(count):
        base = POOL.network_address + 4 * ((first + step) % count)
        subnet = IPv4Network((base, 30))
        if not any(subnet.overlaps(network) for network in used):
            return subnet
    raise ClusterError(f"no free /30 in {POOL}: this machine routes all of it elsewhere")


def taken_networks() -> list[IPv4Network]:
    """Return the IPv4 networks that the host has addresses in or specific routes to."""
    routes = json.loads(_ip("-json", "-4", "route", "show", "table", "all"))
    return [IPv4Network(r["dst"], strict=False) for r in routes if r["dst"] != "default"]


def _ip(*argv: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["ip", *argv], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise ClusterError(f"ip {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
