"""Load on a control plane whose API server and etcd die under it."""

from collections.abc import Iterator

import pytest
import yaml

from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.podload.tally import Result
from caios_testbed.product import CHECKOUT, Kubectl

DEADLINE_SECONDS = 60.0
NAMESPACE = "load"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as plane:
        kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
        kubectl.run("apply", "-f", CHECKOUT / "crds")
        kubectl.run("wait", "--for=condition=Established", "crd", "--all")
        kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(pods.manifests(NAMESPACE)))

        def controllers_saw_it() -> bool:
            listed = kubectl.run("get", "serviceaccounts", f"-n={NAMESPACE}", "-o=name")
            return "serviceaccount/default" in listed

        assert eventually(controllers_saw_it, DEADLINE_SECONDS)
        yield plane


def stored(plane: ControlPlane) -> list[str]:
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    return kubectl.run("get", "pods", f"--namespace={NAMESPACE}", "-o=name").split()


def test_no_pod_is_lost_or_taken_for_refused_while_the_api_server_and_etcd_die(
    plane: ControlPlane,
) -> None:
    with PodLoad(plane.url, plane.pki, NAMESPACE, rate=30, keep_seconds=2) as load:
        with load.phase("steady") as steady:
            load.wait(60, DEADLINE_SECONDS)
        with load.phase("API server killed") as killed:
            plane.restart("kube-apiserver", grace=0)
            load.wait(60, DEADLINE_SECONDS)
        with load.phase("etcd killed"):
            plane.restart("etcd", grace=0)
            load.wait(60, DEADLINE_SECONDS)

    assert steady.created >= 50  # those of other phases may be among the 60
    assert killed.retried > 0
    results = {result for phase in load.phases for result in phase.results}
    # Nobody injects here: what is expected to be injected is missed, and what is not is plain.
    assert results == {Result.MISSED, Result.PLAIN}
    assert stored(plane) == []


def test_what_is_stored_at_a_time_is_bounded(plane: ControlPlane) -> None:
    with PodLoad(plane.url, plane.pki, NAMESPACE, rate=30, keep_seconds=1) as load:
        load.wait(150, DEADLINE_SECONDS)
        assert eventually(lambda: load.created - len(stored(plane)) > 60, DEADLINE_SECONDS)


def test_a_refusal_is_recorded_with_what_the_api_server_said(plane: ControlPlane) -> None:
    with (
        PodLoad(plane.url, plane.pki, "absent", rate=20) as load,
        load.phase("no such namespace") as phase,
    ):
        assert eventually(lambda: phase.results[Result.REFUSED] >= 3, DEADLINE_SECONDS)

    assert 'namespaces "absent" not found' in phase.wrong[0].note
