"""Faults of a control plane: parts that die and come back, watches that expire, rights recorded."""

import http.client
import json
import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from caios_testbed.audit import Use, requests_of
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import CommandError, Kubectl
from caios_testbed.rights import Right, rights_of, ungranted, unused

DEADLINE_SECONDS = 30.0
EVERYBODYS = ("/api", "/openapi", "/version")
"""Paths that Kubernetes' own rules open to every ServiceAccount; kubectl asks for them."""
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    return Kubectl(plane.kubectl, plane.kubeconfig)


@contextmanager
def asked(plane: ControlPlane, path: str) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer to a GET by the administrator, as it arrives."""
    context = ssl.create_default_context(cafile=plane.ca_file)
    context.load_cert_chain(plane.pki.certificate("admin"), plane.pki.key("admin"))
    address = urlsplit(plane.url)
    connection = http.client.HTTPSConnection(
        address.hostname or "", address.port, timeout=DEADLINE_SECONDS, context=context
    )
    try:
        connection.request("GET", path)
        yield connection.getresponse()
    finally:
        connection.close()


def version(plane: ControlPlane) -> str:
    with asked(plane, CONFIG_MAPS) as answer:
        found: str = json.load(answer)["metadata"]["resourceVersion"]
    return found


def first_event(plane: ControlPlane, since: str) -> dict[str, Any]:
    with asked(plane, f"{CONFIG_MAPS}?watch=1&resourceVersion={since}") as answer:
        event: dict[str, Any] = json.loads(answer.readline())
    return event


@pytest.mark.parametrize("grace", [0, 10], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("component", ["etcd", "kube-apiserver", "kube-controller-manager"])
def test_a_component_comes_back_with_what_was_stored(
    plane: ControlPlane, kubectl: Kubectl, component: str, grace: float
) -> None:
    name = f"kept-{component}-{grace}"
    kubectl.run("create", "configmap", name)

    plane.restart(component, grace=grace)

    assert plane.healthy
    kubectl.run("get", "configmap", name)
    kubectl.run("delete", "configmap", name)


def test_controllers_that_end_by_themselves_come_back_with_the_api_server(
    plane: ControlPlane,
) -> None:
    """They do when they lose it while they start, as one did that was restarted just before."""
    controllers = plane._roster.state.process("kube-controller-manager")
    assert controllers is not None
    os.kill(controllers.pid, signal.SIGKILL)
    assert eventually(lambda: not plane.status()["kube-controller-manager"], DEADLINE_SECONDS)

    plane.restart("etcd", grace=0)

    assert plane.healthy


def test_a_component_that_cannot_be_restarted_alone_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(ClusterError, match="kubelet: cannot be restarted alone; one of etcd"):
        plane.restart("kubelet")


def test_a_watch_goes_on_from_where_it_was(plane: ControlPlane, kubectl: Kubectl) -> None:
    since = version(plane)
    kubectl.run("create", "configmap", "noticed")

    event = first_event(plane, since)

    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "noticed")


def test_a_watch_from_an_earlier_version_gets_410_after_they_expired(plane: ControlPlane) -> None:
    since = version(plane)

    plane.expire_watches()

    event = first_event(plane, since)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert event["object"]["reason"] == "Expired"


def test_rights_of_a_service_account_are_recorded_as_rbac_sees_them(
    plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "recorded", "namespace": "default"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": ["mine"],
                "verbs": ["get", "list", "patch", "create", "delete"],
            },
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        ],
    }
    kubectl.run("create", "serviceaccount", "recorded")
    kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump(role))
    kubectl.run(
        "create", "rolebinding", "recorded", "--role=recorded", "--serviceaccount=default:recorded"
    )
    its = as_service_account(kubectl, "recorded", tmp_path / "kubeconfig")
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}

    its.run("apply", "--server-side", "-f", "-", manifest=yaml.safe_dump(mine))
    its.run("get", "configmaps", "--field-selector=metadata.name=mine")
    with pytest.raises(CommandError, match="Forbidden"):
        its.run("get", "configmaps")
    its.run("get", "--raw=/version")

    made = requests_of(plane.audit_log, {"system:serviceaccount:default:recorded"})
    only = {"resource": "configmaps", "name": "mine", "namespace": "default"}
    assert unused(rights_of([role]), made) == [Right("delete", **only), Right("get", **only)]
    where: dict[str, Any] = {"resource": "configmaps", "namespace": "default"}
    assert {use for use in made if use.resource} == {
        Use("create", name="mine", code=201, **where),
        Use("list", name="mine", code=200, **where),
        Use("list", code=403, **where),
        Use("patch", name="mine", code=201, **where),
    }
    others = ungranted(rights_of([role]), made)
    assert {Use("get", url="/version", code=200), Use("list", code=403, **where)} <= set(others)
    assert all(use.url.startswith(EVERYBODYS) for use in others if not use.refused)


def as_service_account(kubectl: Kubectl, name: str, path: Path) -> Kubectl:
    """Return a kubectl that is a ServiceAccount of `default`, its kubeconfig at `path`."""
    token = kubectl.run("create", "token", name).strip()
    content = yaml.safe_load(kubectl.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(content))
    return Kubectl(kubectl.program, path)
