"""Faults of a cluster with a node: connections cut, packets lost, replicas killed, releases."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from caios_testbed.cluster.cluster import COMPONENTS, PORTS, Cluster
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.images import BUSYBOX_REFERENCE
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import Kubectl
from caios_testbed.release import WEBHOOK, Release

NAME = "caios-faults-test"
DEADLINE_SECONDS = 60.0
HANDSHAKE_SECONDS = 15.0
"""Less than the API server waits for a client that says nothing (32 s)."""
WATCH = "/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name=unheard"
"""Stays open; the API server sends nothing on it until there is such an object."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(NAME)
    cluster.down()
    cluster.up(Progress(print))
    try:
        yield cluster
    finally:
        cluster.down()


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster.kubectl, cluster.kubeconfig)


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[ssl.SSLSocket]:
    """Yield a connection to the API server from this machine, on which a watch is open."""
    context = ssl.create_default_context(cafile=cluster.ca_file)
    context.load_cert_chain(cluster.pki.certificate("admin"), cluster.pki.key("admin"))
    address = (cluster.cluster_address, PORTS.apiserver)
    with (
        socket.create_connection(address, timeout=DEADLINE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=cluster.cluster_address) as connection,
    ):
        request = f"GET {WATCH} HTTP/1.1\r\nHost: {cluster.cluster_address}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield connection


def run_pod(kubectl: Kubectl, name: str, script: str) -> None:
    container = {"name": "main", "image": BUSYBOX_REFERENCE, "command": ["sh", "-c", script]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    kubectl.run("apply", "-f", "-", manifest=json.dumps(pod))
    kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_established_connections_die_by_a_reset_and_new_ones_are_served(cluster: Cluster) -> None:
    address = (cluster.cluster_address, PORTS.apiserver)
    with (
        connected(cluster) as watch,
        socket.create_connection(address, timeout=DEADLINE_SECONDS) as silent,
    ):
        assert eventually(lambda: cluster.drop_connections(cluster.host_address) >= 2, 10)

        with pytest.raises(ConnectionResetError):
            silent.recv(4096)
        with contextlib.suppress(ConnectionResetError):  # which OpenSSL may tell as an end
            assert watch.recv(4096) == b""
    with connected(cluster):
        pass


def test_connections_of_pods_are_dropped_by_default_and_no_others(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    # An idle connection through the Service: the API server waits for a TLS handshake.
    idle = "mkfifo /idle; sleep 1000 >/idle & nc 10.0.0.1 443 </idle; echo ended; sleep 1000"
    run_pod(kubectl, "client", idle)
    with connected(cluster) as connection:
        assert eventually(lambda: cluster.drop_connections() >= 1, DEADLINE_SECONDS)

        assert eventually(lambda: "ended" in kubectl.run("logs", "client"), HANDSHAKE_SECONDS)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(4096)
    kubectl.run("delete", "pod", "client")


def test_packets_vanish_in_a_blackout_without_a_reset_and_flow_again_after_it(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    with connected(cluster) as connection:
        connection.settimeout(2)
        with cluster.blackout(30, cluster.host_address):
            inside = cluster.command_inside(
                str(cluster.kubectl), f"--kubeconfig={cluster.kubeconfig}", "create", "configmap"
            )
            subprocess.run([*inside, "unheard"], check=True, timeout=60)  # goes over loopback

            with pytest.raises(TimeoutError):
                connection.recv(4096)
            with pytest.raises(TimeoutError):
                socket.create_connection((cluster.cluster_address, PORTS.apiserver), timeout=1)

        # The same connection: TCP sends again what was lost.
        connection.settimeout(DEADLINE_SECONDS)
        assert b'"unheard"' in connection.recv(65536)
    kubectl.run("delete", "configmap", "unheard")


def test_a_blackout_ends_by_itself(cluster: Cluster) -> None:
    with cluster.blackout(1, cluster.host_address):

        def reachable() -> bool:
            address = (cluster.cluster_address, PORTS.apiserver)
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return True
            return False

        assert eventually(reachable, DEADLINE_SECONDS)


@pytest.mark.parametrize("component", ["etcd", "kube-apiserver"])
def test_a_killed_component_comes_back_with_what_was_stored(
    cluster: Cluster, kubectl: Kubectl, component: str
) -> None:
    kubectl.run("create", "configmap", f"kept-{component}")

    cluster.restart(component, grace=0)

    assert cluster.status() == dict.fromkeys(COMPONENTS, True)
    kubectl.run("get", "configmap", f"kept-{component}")


def test_a_container_of_the_cluster_is_found_on_this_machine_and_no_other(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    run_pod(kubectl, "found", "exec sleep 1234")
    container = kubectl.run(
        "get", "pod", "found", "-o=jsonpath={.status.containerStatuses[0].containerID}"
    ).rpartition("/")[2]

    pid = cluster.container_pid(container)

    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001234\x00"
    with pytest.raises(ClusterError, match="does not run on this node"):
        cluster.container_pid("0" * 64)
    kubectl.run("delete", "pod", "found")


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: caios-federation-{role}
  labels: {{app.kubernetes.io/name: caios-federation}}
spec:
  replicas: {{{{ .Values.replicas }}}}
  selector:
    matchLabels: &labels
      app.kubernetes.io/name: caios-federation
      app.kubernetes.io/component: {role}
  template:
    metadata:
      labels: *labels
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: {{{{ .Values.image.repository }}}}:{{{{ .Values.image.tag }}}}
        command: [sh, -c]
        args:
        - echo {{{{ .Values.word }}}}; mkdir -p /tmp/w; echo up 1 >/tmp/w/metrics;
          exec httpd -f -p 8080 -h /tmp/w
"""


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: caios-federation-webhook}
spec:
  selector: {app.kubernetes.io/component: webhook}
  ports: [{port: 443, targetPort: 8080}]
"""


@pytest.fixture
def release(cluster: Cluster, tmp_path: Path) -> Release:
    """Return a release of a chart that has the names of the product's, with web servers."""
    chart = {"apiVersion": "v2", "name": "stand-in", "version": "0.1.0"}
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (tmp_path / "templates" / "service.yaml").write_text(SERVICE)
    for role in ("webhook", "controller"):
        (tmp_path / "templates" / f"{role}.yaml").write_text(DEPLOYMENT.format(role=role))
    return Release(cluster, "operators", chart=tmp_path)


def test_a_release_is_installed_killed_rolled_scaled_upgraded_and_removed(
    release: Release, kubectl: Kubectl
) -> None:
    repository, _, tag = BUSYBOX_REFERENCE.rpartition(":")
    image = {"repository": repository, "tag": tag}

    release.install({"replicas": 2, "word": "first", "image": image})
    first, second = release.ready(WEBHOOK)
    assert release.logs(first) == ["first"]
    assert release.metrics(first) == "up 1\n"

    name = "caios-federation-webhook.operators.svc"
    fetch = f"until wget -qO- http://{name}:443/metrics; do sleep 1; done; sleep 1000"
    run_pod(kubectl, "caller", fetch)
    assert eventually(lambda: kubectl.run("logs", "caller").endswith("up 1\n"), DEADLINE_SECONDS)

    release.kill(first)
    assert eventually(lambda: restarted(release, first.name), DEADLINE_SECONDS)
    assert release.logs(first, previous=True) == ["first"]
    assert release.pid(next(r for r in release.replicas(WEBHOOK) if r.name == second.name))

    release.roll(WEBHOOK)
    assert not {first.uid, second.uid} & {each.uid for each in release.ready(WEBHOOK)}

    release.scale(WEBHOOK, 0)
    assert release.replicas(WEBHOOK) == []
    release.scale(WEBHOOK, 1)

    release.upgrade({"replicas": 1, "word": "second", "image": image})
    assert release.logs(*release.ready(WEBHOOK)) == ["second"]

    release.uninstall()
    assert kubectl.run("get", "deployments", "--namespace=operators", "-o=name") == ""


def restarted(release: Release, name: str) -> bool:
    return any(
        each.name == name and each.restarts == 1 and each.ready
        for each in release.replicas(WEBHOOK)
    )
