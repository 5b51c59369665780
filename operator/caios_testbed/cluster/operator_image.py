"""The operator's image, of the Dockerfile that is shipped, without an image registry.

The base is Debian's Python, made here. Wheels are fetched by this machine's pip as it is set up,
before the build, which then needs no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from caios_testbed import directories
from caios_testbed.cluster import rootfs
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.oci import Image, write_image, write_tree_layer
from caios_testbed.cluster.packages import OPERATOR_IMAGE, ensure_packages
from caios_testbed.cluster.progress import Progress

CHECKOUT = Path(__file__).parents[3]
DOCKERFILE = "deploy/image/Dockerfile"
IGNORE = ".dockerignore"
REFERENCE = "docker.io/library/caios-federation:{}-{}"
"""Pods may leave out all before the last slash. A tag of content is never pulled anew."""

BASE = "localhost/caios-testbed/python:{}"
FORMAT = "1"
"""Part of every key: to be raised when the code below makes other images of the same parts."""
KEPT = 3
"""How many images are kept, of 100 MB each."""
KEPT_LAYERS = 500
"""How many of buildah's images, a dozen per build and most without files, until all make room."""
BUILD_SECONDS = 900

POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
"""Which signatures images need: none, since they are made here."""
PIP = "[global]\nno-index = true\nfind-links = /wheels\n"


def ensure_operator_image(progress: Progress, checkout: Path = CHECKOUT) -> Image:
    """Return the image of the operator in a checkout, by default this one.

    The first one takes a minute, one for changed sources some seconds, and the same one nothing.
    Raises ClusterError when it cannot be built.
    """
    cache = directories.cache("images", "operator")
    with tempfile.TemporaryDirectory(dir=cache) as scratch, (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        context = Path(scratch, "context")  # a copy: the checkout may change meanwhile
        key = _copy_context(checkout, context)
        version = tomllib.loads((context / "pyproject.toml").read_text())["project"]["version"]
        image = Image(REFERENCE.format(version, key), cache / f"image-{key}.tar")
        if not image.tar.exists():
            ensure_packages(OPERATOR_IMAGE, progress)
            for old in sorted(cache.glob("image-*.tar"), key=_age)[KEPT - 1 :]:
                old.unlink()
            with progress.step("image of the operator built", "building the operator's image"):
                base = _ensure_base(cache)
                wheels = _ensure_wheels(cache, context / "constraints", base.python)
                arguments = {"VERSION": version, "COMMIT": key}
                _build(Buildah(cache, Path(scratch)), context, base, wheels, image, arguments)
        image.tar.touch()
    return image


def context_files(root: Path) -> Iterator[Path]:
    """Yield the files below `root` that are part of the build, as .dockerignore says."""
    for line in (root / IGNORE).read_text().splitlines():
        if line.startswith("!"):
            for found in sorted(root.glob(line[1:])):
                inside = sorted(found.rglob("*")) if found.is_dir() else [found]
                yield from (p for p in inside if p.is_file() and p.parent.name != "__pycache__")


@dataclass(frozen=True, slots=True)
class Base:
    """The image that the Dockerfile starts from, for its build and for its result."""

    reference: str
    tar: Path
    python: str
    """Version of its Python, such as 3.11."""


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with a storage of its own below `cache`."""

    cache: Path
    scratch: Path

    def run(self, command: str, *arguments: str) -> str:
        """Return what a command prints. Raises ClusterError with the end of what it said."""
        places = {name: str(self.cache / "buildah" / name) for name in ("root", "runroot")}
        options = [f"--{name}={place}" for name, place in places.items()]
        argv = ["buildah", *options, command, *arguments]
        try:
            done = subprocess.run(
                argv, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"buildah {command}: not done within {BUILD_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            said = (error.stdout + error.stderr).splitlines()[-20:]
            last = "\n".join(f"    {line}" for line in said)
            raise ClusterError(f"buildah {command}: failed\n{last}") from error
        return done.stdout

    @property
    def policy(self) -> str:
        """The option that every command about images needs where nobody configured one."""
        path = self.scratch / "policy.json"
        path.write_text(POLICY)
        return f"--signature-policy={path}"


def _build(  # noqa: PLR0913, PLR0917  # each is a part of the build
    buildah: Buildah,
    context: Path,
    base: Base,
    wheels: Path,
    image: Image,
    arguments: dict[str, str],
) -> None:
    if len(buildah.run("images", "--all", "--quiet").splitlines()) > KEPT_LAYERS:
        buildah.run("rmi", "--all", "--force")
    if not buildah.run("images", "--quiet", "--filter", f"reference={base.reference}").strip():
        pulled = buildah.run("pull", "--quiet", buildah.policy, f"oci-archive:{base.tar}")
        buildah.run("tag", pulled.strip(), base.reference)
    pip = buildah.scratch / "pip.conf"
    pip.write_text(PIP)
    arguments = {"BUILD_IMAGE": base.reference, "BASE_IMAGE": base.reference, **arguments}
    buildah.run(
        "build",
        "--isolation=chroot",  # needs no container runtime, and less of the machine
        "--layers",
        "--format=oci",
        "--pull-never",
        buildah.policy,
        f"--file={context / DOCKERFILE}",
        f"--secret=id=pip,src={pip}",
        f"--volume={wheels}:/wheels:ro",
        *(f"--build-arg={name}={text}" for name, text in arguments.items()),
        f"--tag={image.reference}",
        str(context),
    )
    draft = buildah.scratch / "image.tar"
    target = f"docker-archive:{draft}:{image.reference}"
    buildah.run("push", "--quiet", "--disable-compression", buildah.policy, image.reference, target)
    draft.replace(image.tar)


def _ensure_base(cache: Path) -> Base:
    key = _key(rootfs.codename().encode())
    reference, tar, version = BASE.format(key), cache / f"base-{key}.tar", cache / f"base-{key}"
    if not tar.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            root, layer = Path(scratch, "root"), Path(scratch, "layer.tar")
            version.write_text(rootfs.bootstrap(root, "python3-pip", "ca-certificates"))
            write_tree_layer(layer, root, without=("dev", "proc", "sys", "run", "tmp"))
            write_image(tar, reference, [layer], {})
    return Base(reference, tar, version.read_text())


def _ensure_wheels(cache: Path, constraints: Path, python: str) -> Path:
    """Return a directory with the wheels that both constraints files pin; pip checks their hashes.

    Their hashes are checked once more when they are installed.
    """
    files = [constraints / "run.txt", constraints / "build.txt"]
    wheels = cache / f"wheels-{_key(python.encode(), *(file.read_bytes() for file in files))}"
    if not wheels.exists():
        for old in cache.glob("wheels-*"):
            shutil.rmtree(old)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            draft = Path(scratch, "wheels")
            chosen = ("--no-deps", "--only-binary=:all:", f"--python-version={python}")
            for file in files:
                pip = (sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes")
                rootfs.run(*pip, *chosen, f"--dest={draft}", f"--requirement={file}")
            draft.rename(wheels)
    return wheels


def _copy_context(checkout: Path, target: Path) -> str:
    """Copy what goes into the build from a checkout; return a key of it."""
    paths = [checkout / IGNORE, checkout / DOCKERFILE, *context_files(checkout)]
    parts = []
    for path in paths:
        name = path.relative_to(checkout)
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        parts += [str(name).encode(), copy.read_bytes()]
    return _key(rootfs.codename().encode(), *parts)


def _key(*parts: bytes) -> str:
    whole = hashlib.sha256(FORMAT.encode())
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def _age(path: Path) -> float:
    return -path.stat().st_mtime
