"""Images are OCI layouts: every blob is called by its digest, and everything refers to blobs."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from caios_testbed.cluster.oci import (
    File,
    manifest_digest,
    write_image,
    write_layer,
    write_tree_layer,
)

FILES = {
    "bin/tool": File(b"content", 0o755),
    "bin/alias": File(link="tool", mode=0o777),
}


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        return {
            member.name: stream.read()
            for member in opened
            if (stream := opened.extractfile(member)) is not None
        }


def image(tmp_path: Path) -> Path:
    layers = [tmp_path / "low.tar", tmp_path / "high.tar"]
    write_layer(layers[0], FILES)
    write_layer(layers[1], {"etc/word": File(b"said")})
    tar = tmp_path / "image.tar"
    write_image(tar, "docker.io/a/b:1", layers, {"Cmd": ["/bin/tool"]})
    return tar


def test_every_blob_is_called_by_its_digest(tmp_path: Path) -> None:
    blobs = {name: content for name, content in members(image(tmp_path)).items() if "/" in name}

    assert len(blobs) == 4
    for name, content in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_index_leads_to_manifest_configuration_and_layers(tmp_path: Path) -> None:
    content = members(image(tmp_path))

    def blob(descriptor: dict[str, Any]) -> bytes:
        found = content["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(found) == descriptor["size"]
        return found

    (entry,) = json.loads(content["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    configuration = json.loads(blob(manifest["config"]))

    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert entry["annotations"] == {
        "io.containerd.image.name": "docker.io/a/b:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert configuration["config"] == {"Cmd": ["/bin/tool"]}
    assert configuration["rootfs"]["diff_ids"] == [d["digest"] for d in manifest["layers"]]
    assert [blob(layer) for layer in manifest["layers"]] == [
        (tmp_path / "low.tar").read_bytes(),
        (tmp_path / "high.tar").read_bytes(),
    ]


def test_same_content_gives_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    assert manifest_digest(image(tmp_path)) == manifest_digest(image(tmp_path / "other"))


def test_file_that_is_no_layout_has_no_digest(tmp_path: Path) -> None:
    no_tar, other_tar = tmp_path / "a", tmp_path / "b.tar"
    no_tar.write_text("text")
    write_layer(other_tar, FILES)

    assert manifest_digest(no_tar) == ""
    assert manifest_digest(other_tar) == ""


def test_layer_keeps_modes_and_links(tmp_path: Path) -> None:
    write_layer(tmp_path / "layer.tar", FILES)

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getmember("bin/tool").mode == 0o755
        assert tar.getmember("bin/alias").linkname == "tool"
        assert tar.getmember("bin/tool").mtime == 0


def test_layer_of_a_tree_leaves_out_the_content_of_some_directories(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in ("usr/bin/tool", "dev/null", "usr/dev/kept"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "usr/bin/alias").symlink_to("tool")
    os.utime(root / "usr/bin/tool", (1, 1))

    write_tree_layer(tmp_path / "layer.tar", root, without=("dev",))

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert sorted(tar.getnames()) == [
            "dev",
            "usr",
            "usr/bin",
            "usr/bin/alias",
            "usr/bin/tool",
            "usr/dev",
            "usr/dev/kept",
        ]
        assert tar.getmember("usr/bin/tool").mtime == 1
        assert tar.getmember("usr/bin/alias").issym()
