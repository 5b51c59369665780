"""The images that a cluster without a registry needs, made here and cached per user.

Each is kept under a key made of what went into it, so that it is made anew when that changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from caios_testbed import directories
from caios_testbed.cluster import rootfs
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.oci import File, Image, write_image, write_layer, write_tree_layer
from caios_testbed.cluster.packages import (
    AWS_CLI_IMAGE,
    BUSYBOX,
    SANDBOX_IMAGE,
    ensure_packages,
)
from caios_testbed.cluster.progress import Progress

BUSYBOX_REFERENCE = "docker.io/caios-testbed/busybox:1"
AWS_CLI_REFERENCE = "docker.io/amazon/aws-cli:{}"
"""The tutorial's image, with a tag: one without is `latest`, which kubelet always tries to pull."""

CONSTRAINTS = Path(__file__).parents[3] / "constraints" / "awscli.txt"
"""Pinned and hashed; it comes with the checkout."""

KEPT = 3
"""How many images of the AWS CLI are kept, of 230 MB each: every CA has its own."""

FORMAT = "2"
"""Part of every key: to be raised when the code below makes other images of the same parts."""

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUNDLE = f"{rootfs.AWS_CLI}/awscli/botocore/cacert.pem"
"""The only certificates that the AWS CLI accepts of an https:// credentials endpoint."""

PAUSE = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
"""What a sandbox does: nothing, but end when it is told to, and reap what is orphaned to it."""


def ensure_sandbox_image(progress: Progress) -> Image:
    """Return an image of a static busybox: a Pod's sandbox, and a shell for tests.

    Raises ClusterError when busybox cannot be run.
    """
    ensure_packages(SANDBOX_IMAGE, progress)
    content = BUSYBOX.read_bytes()
    key = _key(content)
    tar = directories.cache("images") / f"busybox-{key}.tar"
    if tar.exists():
        return Image(BUSYBOX_REFERENCE, tar)
    applets = _run(str(BUSYBOX), "--list").split()
    files = {"bin/busybox": File(content, 0o755)}
    files |= {f"bin/{name}": File(link="busybox", mode=0o777) for name in applets}
    files["bin/busybox"] = File(content, 0o755)  # it lists itself
    files["etc/passwd"] = File(b"root:x:0:0:root:/:/bin/sh\n")
    files["etc/group"] = File(b"root:x:0:\n")
    with tempfile.TemporaryDirectory() as scratch:
        layer = Path(scratch, "layer.tar")
        write_layer(layer, files)
        config = {"Env": [PATH], "Cmd": ["/bin/sh", "-c", PAUSE], "WorkingDir": "/"}
        image = write_image(tar, BUSYBOX_REFERENCE, [layer], config)
    progress.note("image of busybox made")
    return image


def ensure_aws_cli_image(authority_pem: bytes, progress: Progress) -> Image:
    """Return an image of the AWS CLI that trusts the CA `authority_pem` besides the public ones.

    The first one takes a minute; one for another CA shares all but a thin layer with it. Raises
    ClusterError when it cannot be built.
    """
    if not CONSTRAINTS.exists():
        raise ClusterError(f"{CONSTRAINTS}: not found; run caios-testbed from a checkout")
    constraints = CONSTRAINTS.read_text()
    key = _key(constraints.encode(), rootfs.codename().encode())
    cache = directories.cache("images", f"aws-cli-{key}")
    reference = AWS_CLI_REFERENCE.format(aws_cli_version(constraints))
    tar = cache / f"image-{_key(authority_pem)}.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base, bundle = cache / "base.tar", cache / "cacert.pem"
        if not (base.exists() and bundle.exists()):
            ensure_packages(AWS_CLI_IMAGE, progress)
            with progress.step("image of the AWS CLI built", "building the image of the AWS CLI"):
                _build_aws_cli(base, bundle)
        if not tar.exists():
            newest = sorted(cache.glob("image-*.tar"), key=lambda path: -path.stat().st_mtime)
            for old in newest[KEPT - 1 :]:
                old.unlink()
            trust = cache / "trust.tar"
            write_layer(trust, {BUNDLE: File(bundle.read_bytes() + b"\n" + authority_pem)})
            config = {"Env": [PATH], "Entrypoint": [rootfs.AWS_ENTRY], "WorkingDir": "/aws"}
            write_image(tar, reference, [base, trust], config)
        tar.touch()  # used now: the next one for another CA removes an older one
    return Image(reference, tar)


def aws_cli_version(constraints: str) -> str:
    """Return the version of awscli that the text of a constraints file pins; raises ValueError."""
    found = re.search(r"^awscli==(\S+)", constraints, re.MULTILINE)
    if not found:
        raise ValueError(f"{CONSTRAINTS}: pins no awscli")
    return found[1]


def _build_aws_cli(base: Path, bundle: Path) -> None:
    # Below the cache and not in /tmp, which may be small, or mounted without device files.
    with tempfile.TemporaryDirectory(dir=base.parent) as scratch:
        root = Path(scratch, "root")
        rootfs.build_aws_cli(root, CONSTRAINTS)
        shutil.copyfile(root / BUNDLE, bundle)
        draft = Path(scratch, "base.tar")
        write_tree_layer(draft, root, without=("dev", "proc", "sys", "run", "tmp"))
        draft.replace(base)


def _key(*parts: bytes) -> str:
    whole = hashlib.sha256(FORMAT.encode())
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def _run(*argv: str) -> str:
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ClusterError(f"{' '.join(argv)}: failed: {error}") from error
