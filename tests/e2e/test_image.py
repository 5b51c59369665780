"""The operator's image on a real node: what is in it, as whom it runs, and how fast it serves."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from caios_testbed.authority import Authority
from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.oci import Image
from caios_testbed.cluster.operator_image import ensure_operator_image
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import CHECKOUT, CRDS, CommandError, Kubectl

NAME = "caios-image"
SERVICE_ACCOUNT = "operator"
DEADLINE_SECONDS = 180.0
"""Python's imports need 1.5 s of a processor, of which a busy machine may give little."""
TLS = "/var/run/caios-federation/tls"
MARK_THEN_RUN = """
import os, time
print("exec at", time.time(), flush=True)
os.execvp("caios-federation", ["caios-federation", "run", "--role=webhook"])
"""
"""Says when the program starts: a container's own start is told in whole seconds only."""
USE_OF_PROCESS_1 = "print(open('/proc/1/status').read())"


@dataclass(frozen=True, slots=True)
class Node:
    """A cluster that knows the image."""

    kubectl: Kubectl
    image: Image

    def start(self, name: str, *arguments: str, **container: object) -> None:
        """Create a Pod of the image, with everything forbidden that can be."""
        main = {
            "name": "main",
            "image": self.image.reference,
            "args": list(arguments),
            "securityContext": {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "tls", "mountPath": TLS}],
            **container,
        }
        secret = {"secretName": "tls", "optional": True}
        spec = {
            "containers": [main],
            "restartPolicy": "Never",
            "serviceAccountName": SERVICE_ACCOUNT,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "tls", "secret": secret}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.kubectl.run("apply", "-f", "-", manifest=json.dumps(pod))

    def run(self, name: str, *arguments: str, **container: object) -> str:
        """Run a Pod of the image to its end; return what it printed."""
        self.start(name, *arguments, **container)
        assert eventually(lambda: self._phase(name) in {"Succeeded", "Failed"}, DEADLINE_SECONDS)
        log = self.log(name)
        assert self._phase(name) == "Succeeded", log
        return log

    def log(self, name: str) -> str:
        """Return what a Pod has printed by now; empty before it runs."""
        try:
            return self.kubectl.run("logs", name)
        except CommandError:
            return ""

    def wait_for(self, name: str, line: str) -> dict[str, Any]:
        """Return the first log line of a Pod whose message begins with `line`."""

        def found() -> list[dict[str, Any]]:
            lines = [each for each in self.log(name).splitlines() if each.startswith("{")]
            return [one for one in map(json.loads, lines) if one["msg"].startswith(line)]

        assert eventually(lambda: bool(found()), DEADLINE_SECONDS), self.log(name)
        return found()[0]

    def install_definitions(self) -> None:
        """Apply the CRDs and wait until they are served."""
        self.kubectl.run("apply", "-f", CHECKOUT / "crds")
        self.kubectl.run("wait", "--for=condition=Established", "crd", *CRDS)

    def _phase(self, name: str) -> str:
        return self.kubectl.run("get", "pod", name, "-o=jsonpath={.status.phase}")


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_operator_image(Progress(print))


@pytest.fixture(scope="module")
def entries(image: Image) -> dict[str, tarfile.TarInfo]:
    """Return every file of the image."""
    found: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(image.tar) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                found |= {f"/{entry.name.removeprefix('./')}": entry for entry in files}
    return found


@pytest.fixture(scope="module")
def node(image: Image) -> Iterator[Node]:
    cluster = Cluster(NAME)
    cluster.down()
    cluster.up(Progress(print))
    try:
        cluster.load_image(image.tar)
        kubectl = Kubectl(cluster.kubectl, cluster.kubeconfig)
        kubectl.run("create", "serviceaccount", SERVICE_ACCOUNT)
        # Which rights it needs is not the subject here.
        subject = f"--serviceaccount=default:{SERVICE_ACCOUNT}"
        kubectl.run(
            "create", "clusterrolebinding", "operator", "--clusterrole=cluster-admin", subject
        )
        yield Node(kubectl, image)
    finally:
        cluster.down()


def test_nothing_is_there_but_python_and_the_operator(
    entries: dict[str, tarfile.TarInfo],
) -> None:
    programs = {
        path
        for path, entry in entries.items()
        if re.match(r"/(usr/|usr/local/|opt/caios-federation/)?s?bin/", path) and not entry.isdir()
    }

    assert {path for path in programs if "/python" not in path} == {
        "/opt/caios-federation/bin/caios-federation",
        "/opt/caios-federation/bin/kubectl-caios",
    }
    assert [path for path in entries if re.search(r"/(pip|ensurepip|setuptools)$", path)] == []
    assert [path for path in entries if re.search(r"/usr/lib/(apt|dpkg|gcc|perl)", path)] == []


def test_no_program_lends_rights(entries: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path, entry in entries.items() if entry.isfile() and entry.mode & 0o6000] == []


def test_the_operator_cannot_change_itself(entries: dict[str, tarfile.TarInfo]) -> None:
    changeable = [
        path
        for path, entry in entries.items()
        if entry.isfile() and (entry.uid == 65532 or entry.mode & 0o002)
    ]

    assert changeable == []


def test_the_testbed_is_left_out(entries: dict[str, tarfile.TarInfo]) -> None:
    assert [path for path in entries if re.search("caios.testbed", path)] == []
    assert [path for path in entries if path.endswith("/caios_federation/crds")] != []


def test_what_is_imported_was_compiled_ahead(entries: dict[str, tarfile.TarInfo]) -> None:
    needed = [path for path in entries if re.search(r"/(caios_federation|kopf|json)/.*\.py$", path)]
    compiled = {
        re.sub(r"__pycache__/(\w+)\..*\.pyc$", r"\1.py", path)
        for path in entries
        if path.endswith(".pyc")
    }

    assert len(needed) > 100
    assert set(needed) - compiled == set()


def test_it_runs_as_nobody_who_may_write_nothing(node: Node) -> None:
    look = """
import os, pathlib
status = pathlib.Path("/proc/self/status").read_text()
print(os.getuid(), os.getgid(), [line for line in status.splitlines() if "CapEff" in line])
for path in ("/", "/tmp", "/opt/caios-federation"):
    try:
        pathlib.Path(path, "x").touch()
        print("wrote", path)
    except OSError as error:
        print(error.strerror)
"""
    log = node.run("who", command=["python3", "-c", look])

    assert log.splitlines()[0] == "65532 65532 ['CapEff:\\t0000000000000000']"
    assert log.splitlines()[1:] == ["Read-only file system"] * 3


def test_the_command_line_works_offline(node: Node) -> None:
    issuer = "https://oidc.cks.coreweave.com/id/0c8d8f0c-0000-4000-8000-000000000000"

    assert node.run("help", "--help").startswith("Usage: caios-federation ")
    log = node.run("principal", "principal", "--issuer", issuer, "team/worker")
    assert "system:serviceaccount:team:worker" in log
    assert node.run("crds", "crds", "print").count("kind: CustomResourceDefinition") == 2


def test_a_webhook_says_what_it_waits_for(node: Node) -> None:
    node.kubectl.run("delete", "crd", "--ignore-not-found", *CRDS)
    node.kubectl.run("delete", "secret", "tls", "--ignore-not-found")
    node.start("webhook", "run", "--role=webhook")

    assert node.wait_for("webhook", "waiting for the CRDs")["missing"]
    node.install_definitions()
    assert "tls.crt" in node.wait_for("webhook", "certificate not loaded")["err"]
    node.kubectl.run("delete", "pod", "webhook", "--now")


@pytest.mark.timeout(600)
def test_a_restarted_webhook_serves_again_soon(node: Node) -> None:
    node.install_definitions()
    node.kubectl.run("apply", "-f", "-", manifest=json.dumps(serving_certificate()))

    starts = [start_once(node, f"serving-{number}") for number in range(3)]

    with tarfile.open(node.image.tar) as archive:
        size = sum(entry.size for entry in archive if entry.name.endswith(".tar"))
    print(f"image: {size / 1e6:.0f} MB; from exec to serving, memory: {', '.join(starts)}")


def serving_certificate() -> dict[str, Any]:
    authority = Authority.create("test of the image")
    pair = authority.issue("caios-federation-webhook", hosts=["caios-federation-webhook"])
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "tls"},
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }


def start_once(node: Node, name: str) -> str:
    """Return how long a webhook took to serve, and what memory it holds then."""
    node.start(name, command=["python3", "-c", MARK_THEN_RUN])
    serving = node.wait_for(name, "admission serving")
    begin = float(node.log(name).split("exec at ")[1].split()[0])
    status = node.kubectl.run("exec", name, "--", "python3", "-c", USE_OF_PROCESS_1)
    resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    node.kubectl.run("delete", "pod", name, "--now")
    seconds = dt.datetime.fromisoformat(serving["ts"]).timestamp() - begin
    return f"{seconds:.2f} s, {resident:.0f} MiB"
