"""The Debian packages that a node needs, installed when they are missing and may be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.progress import Progress

PLUGINS = Path("/usr/lib/cni")
"""Where Debian puts the CNI plugins."""
BUSYBOX = Path("/bin/busybox")

NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    str(PLUGINS / "ptp"): "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "nsenter": "util-linux",
    str(BUSYBOX): "busybox-static",
}
"""What is looked for, a program in PATH or a file, and the package that brings it."""

SANDBOX_IMAGE = {str(BUSYBOX): "busybox-static"}
"""As NODE: what the image of busybox is made of."""

AWS_CLI_IMAGE = {"mmdebstrap": "mmdebstrap"}
"""As NODE: what building the image of the AWS CLI needs in addition."""

OPERATOR_IMAGE = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}
"""As NODE: what building the operator's image needs."""

INSTALL_SECONDS = 900


def missing_packages(wanted: Mapping[str, str], there: Callable[[str], bool]) -> list[str]:
    """Return the packages of `wanted` of which something is not `there`, sorted."""
    return sorted({package for thing, package in wanted.items() if not there(thing)})


def ensure_packages(wanted: Mapping[str, str], progress: Progress) -> None:
    """Install what is missing of `wanted`.

    Raises ClusterError, with one command that mends it, when this process may not install or
    apt fails.
    """
    missing = missing_packages(wanted, is_there)
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(
            f"packages are missing: {' '.join(missing)}; install them as root: {' '.join(command)}"
        )
    with progress.step(f"packages installed: {' '.join(missing)}", "installing packages"):
        _apt(["apt-get", "update"])
        _apt(command)


def is_there(thing: str) -> bool:
    """Whether a program is in PATH (or where administrators' programs are), or a file exists."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(thing, path=f"{path}:/usr/sbin:/sbin") is not None


def _apt(command: list[str]) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode != 0:
        last = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-15:])
        raise ClusterError(f"{' '.join(command)}: failed\n{last}")
