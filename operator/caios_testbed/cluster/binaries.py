"""Programs of others (Kubernetes, etcd, helm, promtool), built from Go modules once per user.

The modules' go.sum pins every dependency by checksum. What is built is kept outside of the
checkout, below a key made of the modules and the Go version, so that a fresh clone builds nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caios_testbed import directories
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.sources import MODULES, SOURCES, Source

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE = (*CONTROL_PLANE, "kube-scheduler", "kubelet", "kube-proxy")
BUILD_SECONDS = 1800
"""One program, cold: kube-apiserver needs 250 s on two cores, and cores may be busy or few."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each program is."""

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def ensure_binaries(names: Sequence[str], progress: Progress) -> Binaries:
    """Return the programs called `names`: from KUBEBUILDER_ASSETS, the cache, or a build.

    Raises ClusterError when one has to be built and cannot be.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    paths = {}
    for name in names:
        given = Path(assets, name) if assets else None
        if given and os.access(given, os.X_OK):
            paths[name] = given
        else:
            paths[name] = _built(name, progress)
    return Binaries(paths)


def module_key(directory: Path) -> str:
    """Return what changes when the module in `directory` is to be built or fetched anew."""
    key = hashlib.sha256()
    for file in ("go.mod", "go.sum"):
        key.update((directory / file).read_bytes())
    key.update(_go_version().encode())
    return key.hexdigest()[:16]


def _built(name: str, progress: Progress) -> Path:
    source = SOURCES[name]
    cache = directories.cache("binaries", f"{source.module}-{module_key(source.directory)}")
    binary = cache / name
    if binary.exists():
        return binary
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another command may be building the same
        if not binary.exists():
            with progress.step(f"{name} built", f"building {name}, once; later runs reuse it"):
                _build(name, source, binary)
    return binary


def _build(name: str, source: Source, binary: Path) -> None:
    draft = binary.with_suffix(f".{os.getpid()}")
    try:
        subprocess.run(
            source.build_command(draft),
            cwd=source.directory,
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
            check=True,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"{name}: not built within {BUILD_SECONDS} s; run the command again, "
            "Go goes on where it was"
        ) from error
    except subprocess.CalledProcessError as error:
        last = "\n".join(f"    {line}" for line in error.stderr.splitlines()[-15:])
        raise ClusterError(f"{name}: go build failed\n{last}") from error
    draft.replace(binary)


def _go_version() -> str:
    if not shutil.which("go"):
        raise ClusterError(
            "go: not found in PATH; install Go 1.26 or later, which builds Kubernetes from its "
            "modules, or point KUBEBUILDER_ASSETS at a directory that holds the programs"
        )
    done = subprocess.run(
        ["go", "env", "GOVERSION", "GOOS", "GOARCH"],
        check=True,
        capture_output=True,
        text=True,
        cwd=MODULES,
    )
    return done.stdout
