"""End and remove what the container runtime leaves: Pods' processes, shims, mounts, cgroups.

None of it dies with containerd, and none of it is in a state file. Each is found by a place that
belongs to one cluster alone: its containerd's state and socket, its directories.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.process import PROC, start_time
from caios_testbed.cluster.waiting import eventually

BUNDLES = "io.containerd.runtime.v2.task/k8s.io"
"""Where containerd's state has a directory for each container, called like the container."""

END_SECONDS = 20
"""SIGKILL and unmounting are quick, unless the disk is very busy."""


def cgroup_roots(mounts: str) -> list[Path]:
    """Return the mount points of all cgroup hierarchies in `mounts`, a text like /proc/mounts."""
    columns = (line.split() for line in mounts.splitlines())
    return [Path(c[1]) for c in columns if c[2] in {"cgroup", "cgroup2"}]


def mount_points(mountinfo: str, below: Sequence[Path]) -> list[str]:
    """Return mount points in or below the given directories, the innermost first."""
    found = []
    for line in mountinfo.splitlines():
        # The kernel writes blanks, tabs, newlines and backslashes of a path as octal numbers.
        path = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
        if any(Path(path).is_relative_to(directory) for directory in below):
            found.append(path)
    return found[::-1]


def container_ids(containerd_state: Path) -> list[str]:
    """Return the containers, sandboxes included, of which a containerd's state has a bundle."""
    return sorted(path.name for path in containerd_state.glob(f"{BUNDLES}/*"))


def end_containers(ids: Sequence[str]) -> None:
    """End every process of the given containers, and remove their cgroups.

    Raises ClusterError when some do not end.
    """
    parents = [root / "k8s.io" for root in cgroup_roots((PROC / "mounts").read_text())]
    cgroups = [path for parent in parents for id_ in ids if (path := parent / id_).is_dir()]

    def gone() -> bool:
        for pid in {pid for cgroup in cgroups for pid in _members(cgroup)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for cgroup in cgroups:
            _remove(cgroup)  # refused as long as the kernel is busy ending its processes
        return not any(cgroup.exists() for cgroup in cgroups)

    if not eventually(gone, END_SECONDS):
        left = ", ".join(str(cgroup) for cgroup in cgroups if cgroup.exists())
        raise ClusterError(f"containers do not end: {left}")
    for parent in parents:
        _remove_empty(parent)  # of no use, once it is empty


def end_shims(socket: Path) -> None:
    """End the shims that report to the containerd at `socket`; raises ClusterError if they stay."""
    shims = {pid: started for pid in _shims(socket) if (started := start_time(pid)) is not None}
    for pid in shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not eventually(lambda: all(start_time(p) != t for p, t in shims.items()), END_SECONDS):
        raise ClusterError(f"shims of the containerd at {socket} do not end: {sorted(shims)}")


def remove_shim_sockets(containerd_state: Path, sockets: Path = Path("/run/containerd/s")) -> None:
    """Remove the sockets of ended shims: shims make them in a place of the host."""
    for address in containerd_state.glob(f"{BUNDLES}/*/address"):
        with contextlib.suppress(OSError):
            Path(address.read_text().strip().removeprefix("unix://")).unlink()
    _remove_empty(sockets, sockets.parent)


def unmount(below: Sequence[Path]) -> None:
    """Unmount everything in or below the given directories; raises ClusterError if one stays."""
    mountinfo = PROC / "self/mountinfo"

    def gone() -> bool:
        points = mount_points(mountinfo.read_text(), below)
        if points:
            # Lazily, since a process that ends holds its files for a moment longer.
            subprocess.run(["umount", "-l", *points], check=False, capture_output=True)
        return not mount_points(mountinfo.read_text(), below)

    if not eventually(gone, END_SECONDS):
        stay = ", ".join(mount_points(mountinfo.read_text(), below))
        raise ClusterError(f"cannot be unmounted: {stay}")


def remove_log_links(logs: Path, links: Path = Path("/var/log/containers")) -> None:
    """Remove kubelet's links to Pods' logs below `logs`: it makes them in a place of the host."""
    for link in links.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(logs):
            link.unlink()
    _remove_empty(links)


def remove_network_results(
    ids: Sequence[str], results: Path = Path("/var/lib/cni/results")
) -> None:
    """Remove what the CNI library remembers of the given sandboxes, in a place of the host."""
    for result in (path for id_ in ids for path in results.glob(f"*-{id_}-*")):
        result.unlink(missing_ok=True)
    _remove_empty(results, results.parent)


def _members(cgroup: Path) -> Iterator[int]:
    for directory, _, _ in os.walk(cgroup):  # which passes over what goes meanwhile
        with contextlib.suppress(OSError):
            yield from map(int, Path(directory, "cgroup.procs").read_text().split())


def _remove(cgroup: Path) -> None:
    """Remove a tree of cgroups, as far as it is free: its files vanish with its directories."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()


def _remove_empty(*directories: Path) -> None:
    """Remove directories that are there and empty; others may be in use by other programs."""
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()


def _shims(socket: Path) -> Iterable[int]:
    wanted = f"\0-address\0{socket}\0".encode()
    for cmdline in PROC.glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in cmdline.read_bytes():
                yield int(cmdline.parent.name)
