"""The chart as helm renders it, and parts of what it renders."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meta.repository import ROOT

CHART = ROOT / "deploy/chart"
GOLDEN = Path(__file__).parent / "golden"
PERMUTATIONS = {
    path.name.removesuffix("-values.yaml"): path
    for path in sorted((CHART / "ci").glob("*-values.yaml"))
}
NAMESPACE = "caios-federation"
REQUIRED = ("config.orgID=cw1234", "config.region=US-CENTRAL-05A")
KUBERNETES = "1.30.0"
"""The oldest that the chart is for."""
REWRITE = os.environ.get("GOLDEN") == "rewrite"

Document = dict[str, Any]


class Refused(Exception):
    """helm failed; the text is what it says."""


@dataclass(frozen=True, slots=True)
class Helm:
    """Runs helm on the chart."""

    program: Path
    home: Path

    def run(self, *arguments: str | Path) -> str:
        """Return what helm prints. Raises Refused."""
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"]},
        )
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def render(self, *options: str | Path, namespace: str = NAMESPACE) -> list[Document]:
        """Return the objects of a release, hooks too. Raises Refused."""
        where = (f"--namespace={namespace}", f"--kube-version={KUBERNETES}")
        text = self.run("template", NAMESPACE, CHART, *where, *options)
        return [each for each in yaml.safe_load_all(text) if each]

    def permutation(self, name: str) -> list[Document]:
        """Return the objects of a file of values below ci/."""
        return self.render("--values", PERMUTATIONS[name])


def sets(*values: str) -> list[str]:
    """Return the options that set `values`, and those that are required."""
    return [f"--set={value}" for value in (*REQUIRED, *values)]


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """Return the objects of some kinds."""
    return [each for each in documents if each["kind"] in kinds]


def named(documents: list[Document], kind: str, name: str) -> Document:
    """Return one object."""
    (found,) = [each for each in of_kind(documents, kind) if each["metadata"]["name"] == name]
    return found


def pod_templates(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield each Pod template with the name of what it is in."""
    for each in of_kind(documents, "Deployment", "Job"):
        yield each["metadata"]["name"], each["spec"]["template"]


def check(path: Path, text: str) -> None:
    """Compare `text` with the file, or put it there when golden files are being rewritten."""
    if REWRITE:
        path.write_text(text)
    assert path.read_text() == text
