"""What a real API server says to what the chart renders, and to a release of it."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.definitions import ensure_other_definitions
from caios_testbed.cluster.progress import Progress
from caios_testbed.product import CRDS, Kubectl
from chart.rendering import (
    CHART,
    NAMESPACE,
    PERMUTATIONS,
    Helm,
    of_kind,
    pod_templates,
    sets,
)
from meta.repository import ROOT

TESTS_NAMESPACE = "caios-federation-tests"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A control plane with the CRDs, and a namespace that enforces the restricted profile."""

    kubectl: Kubectl
    kubeconfig: Path

    def apply(self, documents: list[dict[str, Any]], *options: str) -> None:
        """Apply objects server-side. A warning fails the test, like an error."""
        done = subprocess.run(
            self.kubectl.command("apply", "--server-side", "-f", "-", *options),
            input=yaml.safe_dump_all(documents),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Yield the cluster."""
    others = ensure_other_definitions(Progress.quiet())
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as plane:
        kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        cluster = Cluster(kubectl, plane.kubeconfig)
        for path in (ROOT / "crds", *others):
            kubectl.run("apply", "--server-side", "-f", path)
        kubectl.run("wait", "--for=condition=Established", "crd", "--all")
        cluster.apply([namespace(NAMESPACE), namespace(TESTS_NAMESPACE)])
        yield cluster


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_every_object_is_accepted_without_a_warning(
    helm: Helm, cluster: Cluster, name: str
) -> None:
    cluster.apply(helm.permutation(name), "--dry-run=server")


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_every_pod_is_admitted_where_the_restricted_profile_is_enforced(
    helm: Helm, cluster: Cluster, name: str
) -> None:
    """Deployments and Jobs are only warned of: their Pods would be refused later."""
    documents = helm.permutation(name)
    # What a Pod names has to be there when it is created.
    cluster.apply(of_kind(documents, "ServiceAccount", "PriorityClass"))
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": where, "namespace": NAMESPACE},
            "spec": template["spec"],
        }
        for where, template in pod_templates(documents)
    ]
    cluster.apply(pods, "--dry-run=server")
    cluster.kubectl.run("delete", "priorityclass", "caios-federation", "--ignore-not-found")


def test_a_release_is_installed_upgraded_and_removed_as_the_vendors_is(
    helm: Helm, cluster: Cluster
) -> None:
    """Without nodes, so without the Jobs that hooks run."""
    where = (
        f"--kubeconfig={cluster.kubeconfig}",
        "--namespace=release",
    )
    no_jobs = ("crds.upgrade=false", "uninstall.cleanup=false")
    notes = helm.run("install", "caios", CHART, "--create-namespace", *where, *sets(*no_jobs))
    assert "kubectl annotate serviceaccount NAME caios.coreweave.com/inject=true" in notes
    assert "Let organization cw1234 trust the cluster" in notes
    spec = cluster.kubectl.run("get", "sfed", "default", "-o=jsonpath={.spec.organizationID}")
    assert spec == "cw1234"
    with pytest.raises(Exception, match="caios-federation") as refused:
        helm.run("install", "second", CHART, "-n=default", where[0], *sets())
    assert "invalid ownership metadata" in str(refused.value)
    helm.run("upgrade", "caios", CHART, *where, *sets(*no_jobs, "webhook.replicas=3"))
    replicas = cluster.kubectl.run(
        "get", "deploy", "caios-federation-webhook", "-n=release", "-o=jsonpath={.spec.replicas}"
    )
    assert replicas == "3"
    helm.run("uninstall", "caios", *where)
    left = cluster.kubectl.run(
        "get", "clusterroles,sfed,priorityclasses", "-o=name", "-l=app.kubernetes.io/instance=caios"
    )
    assert left.strip() in {"", "No resources found"}
    assert all(name in cluster.kubectl.run("get", "crd", "-o=name") for name in CRDS)
