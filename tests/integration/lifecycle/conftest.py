"""A control plane without the operator, and the program's verbs with exactly their rights."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.product import CHECKOUT, Kubectl

CRDS = ("federatedstoragebindings.caios.coreweave.com", "storagefederations.caios.coreweave.com")
Rules = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a verb ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace of an installation, on a real API server."""

    kubectl: Kubectl
    namespace: str
    directory: Path

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        text = yaml.safe_dump_all(map(dict, objects))
        self.kubectl.run("apply", "--server-side", "-f", "-", manifest=text)

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        text = self.kubectl.run("get", *arguments, "--ignore-not-found", "-o=yaml")
        found: dict[str, Any] | None = yaml.safe_load(text)
        return found

    def free_bindings(self) -> None:
        """Remove what other tests left; its finalizers would hold up the deletion of CRDs too."""
        if self.get("crd", CRDS[0]) is None:
            return
        listed = yaml.safe_load(self.kubectl.run("get", "fsb", "--all-namespaces", "-o=yaml"))
        for body in listed["items"]:
            body["metadata"] |= {"finalizers": []}
            self.kubectl.run("replace", "-f", "-", manifest=yaml.safe_dump(body))
        self.kubectl.run("delete", "fsb", "--all", "--all-namespaces")

    def grant(self, *, cluster: Rules = (), own: Rules = ()) -> Path:
        """Return a kubeconfig of a ServiceAccount that may do this and nothing else."""
        name, namespace = f"verb-{uuid.uuid4().hex[:6]}", self.namespace
        api = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        ]
        for kind, rules in (("ClusterRole", list(cluster)), ("Role", list(own))):
            role = {"apiGroup": api, "kind": kind, "name": name}
            objects += [
                {"apiVersion": f"{api}/v1", "kind": kind, "metadata": {"name": name}},
                {"apiVersion": f"{api}/v1", "kind": f"{kind}Binding", "metadata": {"name": name}},
            ]
            objects[-2]["rules"] = rules
            objects[-1] |= {"roleRef": role, "subjects": [subject]}
        for body in objects:
            if not body["kind"].startswith("Cluster"):
                body["metadata"]["namespace"] = namespace
        self.apply(*objects)
        token = self.kubectl.run("create", "token", name, f"--namespace={namespace}")
        content = yaml.safe_load(self.kubectl.kubeconfig.read_text())
        content["users"][0]["user"] = {"token": token.strip()}
        path = self.directory / name
        path.write_text(yaml.safe_dump(content))
        return path

    def run(self, kubeconfig: Path, *arguments: str, **settings: str) -> Ran:
        """Run a verb as a hook of this installation does."""
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("CAIOS_")},
            "KUBECONFIG": str(kubeconfig),
            "CAIOS_NAMESPACE": self.namespace,
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "caios_federation", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane on which nothing is installed."""
    with ControlPlane.start(tmp_path_factory.mktemp("lifecycle") / "plane") as plane:
        yield plane


@pytest.fixture
def site(plane: ControlPlane, tmp_path: Path) -> Site:
    """Return a namespace of the test's own."""
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    name = f"site-{uuid.uuid4().hex[:8]}"
    kubectl.run("create", "namespace", name)
    return Site(kubectl, name, tmp_path)


@pytest.fixture
def with_crds(site: Site) -> Site:
    """Return a site whose cluster has the CRDs of this release."""
    site.kubectl.run("apply", "--server-side", "--force-conflicts", "-f", CHECKOUT / "crds")
    site.kubectl.run("wait", "--for=condition=Established", "crd", *CRDS)
    return site
