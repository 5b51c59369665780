"""What is there for those without Helm is what Helm would install."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.progress import Progress
from caios_testbed.product import Kubectl
from chart.rendering import Helm
from meta.repository import ROOT

KUSTOMIZE = ROOT / "deploy/kustomize"


def kustomized(folder: str) -> list[dict[str, Any]]:
    program = ensure_binaries(["kubectl"], Progress.quiet())["kubectl"]
    text = Kubectl(program, Path("/dev/null")).run("kustomize", KUSTOMIZE / folder)
    return list(yaml.safe_load_all(text))


def test_the_files_are_a_fresh_render(helm: Helm) -> None:
    # If this fails: make generate
    script = runpy.run_path(str(KUSTOMIZE / "render.py"))
    for path, content in script["files"](helm.program):
        assert path.read_text() == content


def test_the_files_of_the_chart_are_those_of_the_repository() -> None:
    # If this fails: make generate
    script = runpy.run_path(str(ROOT / "deploy/generate_chart.py"))
    for path, content in script["files"]():
        assert path.read_text() == content


@pytest.mark.parametrize("folder", ["base", "example"])
def test_kubectl_makes_something_of_it(folder: str) -> None:
    found = kustomized(folder)
    kinds = {each["kind"] for each in found}
    assert {"Namespace", "Deployment", "Service", "ClusterRole"} <= kinds
    assert ("StorageFederation" in kinds) == (folder == "example")
    assert not any("annotations" in each["metadata"] for each in found)


def test_the_example_sets_the_image() -> None:
    images = {
        container["image"]
        for each in kustomized("example")
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/caios-federation:0.1.0"}
