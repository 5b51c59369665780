"""The release before this one: chart and sources of the previous commit."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import yaml

from caios_testbed.product import CHECKOUT

PARTS = ("deploy", "crds", "constraints", "operator/caios_federation")
FILES = (".dockerignore", "pyproject.toml", "README.md", "LICENSE")
NEEDED = (".dockerignore", "deploy/chart/Chart.yaml", "deploy/image/Dockerfile")
OLDER_TEXT = "What an older release said of this field."


def previous_checkout(directory: Path) -> Path:
    """Return a checkout of the previous commit, made in `directory`.

    Where there is none, or where it could not be installed by Helm yet, this checkout under
    another version.
    """
    archive = directory / "previous.tar"
    target = directory / "previous"
    command = ["git", "-C", str(CHECKOUT), "archive", f"--output={archive}", "HEAD~1"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        if all((target / name).exists() for name in NEEDED):
            return target
        shutil.rmtree(target)
    for name in PARTS:
        shutil.copytree(CHECKOUT / name, target / name)
    for name in FILES:
        shutil.copy(CHECKOUT / name, target / name)
    project = target / "pyproject.toml"
    project.write_text(re.sub(r'(?m)^version = ".*"$', 'version = "0.0.1"', project.read_text()))
    return target


def older_crds(checkout: Path) -> list[dict[str, Any]]:
    """Return the CRDs of a checkout with another text of one field each."""
    found = [
        yaml.safe_load(path.read_text()) for path in sorted((checkout / "crds").glob("*.yaml"))
    ]
    for crd in found:
        spec_of(crd)["description"] = OLDER_TEXT
    return found


def spec_of(crd: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a CRD's `spec`."""
    (version,) = crd["spec"]["versions"]
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec
