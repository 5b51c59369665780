#!/usr/bin/env python3
"""Write the kustomize base and its components from the chart, for those without Helm.

Left out are the hooks, which only Helm runs, and the StorageFederation, which an overlay states.

Usage: python deploy/kustomize/render.py
"""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.progress import Progress

FOLDER: Final = Path(__file__).resolve().parent
CHART: Final = FOLDER.parent / "chart"
NAMESPACE: Final = "caios-federation"
KUBERNETES: Final = "1.30.0"
"""What to render for; Helm has a version of its own in mind, which differs from build to build."""
VALUES: Final = {"config.orgID": "none", "config.region": "none"}
"""What the chart insists on, and the StorageFederation alone shows."""
FEATURES: Final = ("verification", "remediation")
"""Rights that can be left out: a component each."""
_HELM_LABELS: Final = {
    "helm.sh/chart",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
}
_RIGHTS: Final = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
_HEADER: Final = (
    "# Made by deploy/kustomize/render.py from deploy/chart; `make generate` rewrites it.\n"
)

Document = dict[str, Any]


def main() -> None:
    """Write the files."""
    helm = ensure_binaries(["helm"], Progress(print))["helm"]
    for path, content in files(helm):
        path.write_text(content, encoding="utf-8")


def files(helm: Path) -> Iterator[tuple[Path, str]]:
    """Yield each rendered file with its content. Raises CalledProcessError."""
    bare = _rendered(helm, {f"{name}.enabled": "false" for name in FEATURES})
    rights = [document for document in bare if document["kind"] in _RIGHTS]
    yield FOLDER / "base/rbac.yaml", _text(rights)
    yield FOLDER / "base/operator.yaml", _text([each for each in bare if each not in rights])
    for feature in FEATURES:
        added = {f"{name}.enabled": str(name == feature).lower() for name in FEATURES}
        rendered = _rendered(helm, added)
        yield FOLDER / feature / "rbac.yaml", _text([each for each in rendered if each not in bare])


def _rendered(helm: Path, values: Mapping[str, str]) -> list[Document]:
    """Return what the chart makes of `values`, without hooks and StorageFederation."""
    given = [f"--set={name}={text}" for name, text in {**VALUES, **values}.items()]
    options = [f"--namespace={NAMESPACE}", f"--kube-version={KUBERNETES}", "--no-hooks"]
    done = subprocess.run(  # noqa: S603  # helm, with values of our own
        [helm, "template", NAMESPACE, CHART, *options, *given],
        check=True,
        capture_output=True,
        text=True,
    )
    documents = [each for each in yaml.safe_load_all(done.stdout) if each]
    return [_plain(each) for each in documents if each["kind"] != "StorageFederation"]


def _plain(document: Document) -> Document:
    """Return `document` without the labels by which Helm knows its own."""
    labels = document["metadata"]["labels"]
    kept = {name: text for name, text in labels.items() if name not in _HELM_LABELS}
    return {**document, "metadata": {**document["metadata"], "labels": kept}}


def _text(documents: list[Document]) -> str:
    return _HEADER + yaml.safe_dump_all(documents, sort_keys=False, width=100)


if __name__ == "__main__":
    main()
