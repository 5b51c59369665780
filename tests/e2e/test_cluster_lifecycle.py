"""The testbed's own cluster: it comes up, runs Pods, survives being killed, and leaves nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caios_testbed.authority import Authority
from caios_testbed.cluster import leftovers
from caios_testbed.cluster.cluster import COMPONENTS, Cluster
from caios_testbed.cluster.images import BUNDLE, ensure_aws_cli_image
from caios_testbed.cluster.node import Node
from caios_testbed.cluster.process import start_time
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.waiting import eventually

NAME = "caios-lifecycle"
BUSYBOX = "caios-testbed/busybox:1"


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    for name in (NAME, f"{NAME}-2"):
        Cluster(name).down()


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(NAME)
    cluster.up(Progress(print))
    kubectl(cluster, "delete", "pod,service", "--all", "--now", "--wait")
    return cluster


def kubectl(cluster: Cluster, *argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_pod(cluster: Cluster, name: str, *command: str, **spec: object) -> None:
    container = {"name": "main", "image": BUSYBOX, "command": command or None, **spec}
    volumes = container.pop("volumes", None)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "volumes": volumes, "restartPolicy": "Never"},
    }
    kubectl(cluster, "apply", "-f", "-", stdin=json.dumps(pod))


def wait_ready(cluster: Cluster, name: str) -> None:
    kubectl(cluster, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def wait_done(cluster: Cluster, name: str) -> str:
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl(cluster, "wait", done, f"pod/{name}", "--timeout=60s")
    return kubectl(cluster, "logs", name)


def claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=="))
    return content


def processes(cluster: Cluster) -> dict[int, int]:
    """Return live processes and their start times, found by other ways than those of `down`.

    By the network namespace, which the components share, by the cgroups of its containers, and
    by the socket of its containerd, which the shims are given.
    """
    namespace = cluster.network.path.stat().st_ino
    node = Node(cluster.name, cluster.directory)
    ids = leftovers.container_ids(node.containerd_state)
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = (entry / "ns/net").stat().st_ino == namespace
            cgroups = (entry / "cgroup").read_text()
            shim = str(node.socket) in (entry / "cmdline").read_text()
        except OSError:
            continue
        started = start_time(int(entry.name))
        if started is not None and (inside or shim or any(id_ in cgroups for id_ in ids)):
            found[int(entry.name)] = started
    return found


def traces(name: str) -> list[str]:
    """Return what the host shows of the cluster called `name`, one line each."""
    network = Cluster(name).network
    commands = (["ip", "netns"], ["ip", "-oneline", "link"], ["cat", "/proc/mounts"])
    lines = [
        line
        for command in commands
        for line in subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    ]
    words = (network.namespace, network.interface, f"/{name}/", f"clusters/{name}")
    return [line for line in lines if any(word in line for word in words)]


def test_second_up_finds_everything_running(cluster: Cluster) -> None:
    before = processes(cluster)

    cluster.up(Progress(print))

    assert cluster.status() == dict.fromkeys(COMPONENTS, True)
    assert set(before.items()) <= set(processes(cluster).items())


def test_pod_is_run_read_and_entered_from_the_host(cluster: Cluster) -> None:
    run_pod(cluster, "talker", "sh", "-c", "echo said; sleep 1000")
    wait_ready(cluster, "talker")

    assert kubectl(cluster, "logs", "talker") == "said\n"
    assert kubectl(cluster, "exec", "talker", "--", "cat", "/etc/hostname") == "talker\n"


def test_service_answers_a_pod_on_its_cluster_address(cluster: Cluster) -> None:
    page = "mkdir /www && echo served >/www/index.html && exec httpd -f -p 8080 -h /www"
    run_pod(cluster, "web", "sh", "-c", page)
    kubectl(cluster, "expose", "pod/web", "--port=80", "--target-port=8080")
    address = kubectl(cluster, "get", "service/web", "-o", "jsonpath={.spec.clusterIP}")
    run_pod(cluster, "client", "sh", "-c", f"until wget -qO- http://{address}/; do :; done")

    assert wait_done(cluster, "client") == "served\n"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("api.coreweave.com", "10.200.0.1"),
        ("cwlota.com", "10.200.0.1"),
        ("bucket.cwlota.com", "10.200.0.1"),
        ("bucket.cwobject.com", "10.200.0.1"),
        ("kubernetes.default.svc.cluster.local", "10.0.0.1"),
    ],
)
def test_names_resolve_in_a_pod_for_both_families(
    cluster: Cluster, name: str, address: str
) -> None:
    run_pod(cluster, "resolver", "sh", "-c", f"nslookup {name}. && echo no NXDOMAIN")

    answer = wait_done(cluster, "resolver")
    assert f"Name:\t{name}\nAddress: {address}\n" in answer
    assert answer.endswith("no NXDOMAIN\n")


def test_projected_token_names_issuer_and_service_account(cluster: Cluster) -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "a", "expirationSeconds": 3600}}
    volume = {"name": "token", "projected": {"sources": [token]}}
    mount = {"name": "token", "mountPath": "/token"}
    run_pod(cluster, "bearer", "cat", "/token/token", volumes=[volume], volumeMounts=[mount])

    held = claims(wait_done(cluster, "bearer"))
    assert (held["iss"], held["sub"], held["aud"]) == (
        cluster.issuer,
        "system:serviceaccount:default:default",
        ["a"],
    )


def test_aws_cli_runs_in_a_pod_and_trusts_the_given_authority(cluster: Cluster) -> None:
    pem = Authority.create("a stand-in").pem
    image = ensure_aws_cli_image(pem, Progress(print))
    cluster.load_image(image.tar)
    name = image.reference.removeprefix("docker.io/")
    script = f"aws --version && tail -c {len(pem)} /{BUNDLE}"

    run_pod(cluster, "aws", "sh", "-c", script, image=name)

    version, _, trusted = wait_done(cluster, "aws").partition("\n")
    assert version.startswith(f"aws-cli/{name.partition(':')[2]} ")
    assert trusted == pem.decode()


def test_api_server_reaches_the_host_and_the_host_the_cluster(cluster: Cluster) -> None:
    across = cluster.command_inside("ip", "route", "get", cluster.host_address)
    route = subprocess.run(across, capture_output=True, text=True, check=True).stdout

    assert f"dev uplink src {cluster.cluster_address}" in route


def test_up_after_everything_was_killed_is_a_whole_new_cluster(cluster: Cluster) -> None:
    run_pod(cluster, "victim", "sleep", "1000")
    wait_ready(cluster, "victim")
    issuer = cluster.issuer
    killed = processes(cluster)
    assert len(killed) >= len(COMPONENTS) + 3  # and a shim, a sandbox, a container
    for pid in killed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it went with another one
    assert eventually(lambda: all(start_time(p) != t for p, t in killed.items()), 20)

    cluster.up(Progress(print))

    assert cluster.healthy
    assert cluster.issuer == issuer
    assert kubectl(cluster, "get", "pods", "-o", "name") == ""
    run_pod(cluster, "next", "echo", "alive")
    assert wait_done(cluster, "next") == "alive\n"


def test_two_clusters_run_at_once_and_end_apart(cluster: Cluster) -> None:
    other = Cluster(f"{NAME}-2")
    other.up(Progress(print))
    assert other.cluster_address != cluster.cluster_address
    assert other.issuer != cluster.issuer
    assert kubectl(other, "get", "nodes", "-o", "name") == f"node/{NAME}-2-node\n"

    other.down()

    assert traces(other.name) == []
    assert cluster.healthy


def test_down_leaves_nothing_behind(cluster: Cluster) -> None:
    run_pod(cluster, "left", "sleep", "1000")
    wait_ready(cluster, "left")
    before = processes(cluster)
    assert len(traces(NAME)) > 3

    cluster.down()

    assert traces(NAME) == []
    assert [pid for pid, started in before.items() if start_time(pid) == started] == []
    assert not any(cluster.status().values())
    cluster.down()  # again, with nothing to do
