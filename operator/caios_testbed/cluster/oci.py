"""Write container images: OCI layouts in a tar, as containerd imports them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
"""Layers are not compressed: they never travel, and importing is all that is done with them."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names, which OCI uses, of what `uname -m` says."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a file."""

    reference: str
    """Its full name, with registry and tag, as Pods may write it."""
    tar: Path


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a symbolic link, in a layer."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""
    """Where it points; empty for a file."""


def manifest_digest(tar: Path) -> str:
    """Return the digest that identifies the image in `tar`; empty when it is no OCI layout."""
    try:
        with tarfile.open(tar) as layout:
            index = layout.extractfile("index.json")
            manifests = json.load(index)["manifests"] if index else []
    except (tarfile.TarError, KeyError, ValueError):
        return ""
    return str(manifests[0]["digest"]) if len(manifests) == 1 else ""


def write_layer(path: Path, files: Mapping[str, File]) -> None:
    """Write a layer that adds `files`; the same files always give the same bytes."""
    with tarfile.open(path, "w") as tar:
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = file.mode
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            entry.size = len(file.content)
            tar.addfile(entry, io.BytesIO(file.content))


def write_tree_layer(path: Path, root: Path, without: Sequence[str] = ()) -> None:
    """Write a layer of everything below `root`, with modes, owners and times as they are.

    The content of the directories in `without`, paths relative to `root`, is left out.
    """
    with tarfile.open(path, "w") as tar:
        for directory, names, files in os.walk(root):
            here = Path(directory).relative_to(root)
            if str(here) in without:
                names.clear()
                continue
            names.sort()
            for name in sorted((*names, *files)):
                tar.add(Path(directory, name), str(here / name), recursive=False)


def write_image(
    path: Path, reference: str, layers: Sequence[Path], config: Mapping[str, Any]
) -> Image:
    """Write an image of `layers`, the lowest first, that runs as `config` says.

    `config` is the OCI configuration's inner object: Env, Cmd, Entrypoint, WorkingDir.
    """
    digests = [_digest(layer) for layer in layers]
    machine = platform.machine()
    configuration = _encode(
        {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": [{"created_by": "caios-testbed"} for _ in digests],  # buildah counts them
        }
    )
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, configuration),
            "layers": [
                {"mediaType": LAYER, "digest": digest, "size": layer.stat().st_size}
                for layer, digest in zip(layers, digests, strict=True)
            ],
        }
    )
    named = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{**_descriptor(MANIFEST, manifest), "annotations": named}],
    }
    draft = path.with_suffix(f".{os.getpid()}")
    with tarfile.open(draft, "w") as tar:
        _add(tar, "oci-layout", _encode({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _encode(index))
        for blob in (configuration, manifest):
            _add(tar, _blob(_digest(blob)), blob)
        for layer, digest in dict(zip(layers, digests, strict=True)).items():
            tar.add(layer, _blob(digest), recursive=False)
    draft.replace(path)
    return Image(reference, path)


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return f"sha256:{hashlib.sha256(source).hexdigest()}"
    with source.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
