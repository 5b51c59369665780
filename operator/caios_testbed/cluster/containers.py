"""Talk to a cluster's containerd, with its own tool."""

from __future__ import annotations

import subprocess
from pathlib import Path

from caios_testbed.cluster import leftovers
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.oci import manifest_digest
from caios_testbed.cluster.process import PROC

IMPORT_SECONDS = 300
"""Unpacking 300 MB takes 3 s; disks may be busy."""


def answers(socket: Path) -> bool:
    """Whether the containerd at `socket` serves requests."""
    return socket.exists() and _ctr(socket, "version").returncode == 0


def import_image(socket: Path, tar: Path) -> None:
    """Import the image in `tar` for kubelet's use, unless exactly this one is there.

    Raises ClusterError when there is no such file, or containerd refuses it.
    """
    if not tar.is_file():
        raise ClusterError(f"{tar}: no such file; an image is given as a tar")
    digest = manifest_digest(tar)
    known = _ctr(socket, "--namespace", "k8s.io", "images", "list", f"target.digest=={digest}")
    if digest and digest in known.stdout:
        return
    done = _ctr(socket, "--namespace", "k8s.io", "images", "import", str(tar))
    if done.returncode != 0:
        raise ClusterError(f"{tar}: containerd cannot import it: {done.stderr.strip()}")


def main_pid(containerd_state: Path, container: str) -> int:
    """Return the pid, as this machine sees it, of a running container's first process.

    Raises ClusterError when the containerd with this state has no such container running.
    """
    bundle = containerd_state / leftovers.BUNDLES / container
    try:
        pid = int((bundle / "init.pid").read_text())
        inside = container in (PROC / str(pid) / "cgroup").read_text()
    except (OSError, ValueError):
        inside, pid = False, 0
    if not inside:  # the pid may be another program's by now
        raise ClusterError(f"container {container}: does not run on this node")
    return pid


def remove_all(socket: Path) -> bool:
    """Remove all containers, which must have ended, with their snapshots. Return whether it did.

    Images stay.
    """
    namespace = ("--namespace", "k8s.io", "containers")
    listed = _ctr(socket, *namespace, "list", "--quiet")
    if listed.returncode != 0:
        return False
    found = listed.stdout.split()
    if found and _ctr(socket, *namespace, "delete", *found).returncode != 0:
        return False
    # containerd deletes files some time later, when it may be gone. It does at once when a lease
    # ends that is deleted with --sync.
    lease = ("--namespace", "k8s.io", "leases")
    _ctr(socket, *lease, "create", "--id", "collect")
    return _ctr(socket, *lease, "delete", "--sync", "collect").returncode == 0


def _ctr(socket: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ctr", "--address", str(socket), *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=IMPORT_SECONDS,
    )
