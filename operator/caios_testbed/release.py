"""The operator as users run it: installed by Helm into a cluster, running there as Pods."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.oci import Image
from caios_testbed.cluster.process import start_time
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import CHECKOUT, CommandError, Kubectl

CHART = CHECKOUT / "deploy" / "chart"
NAME = "caios-federation"
WEBHOOK, WEBHOOK_AGAIN, CONTROLLER = "webhook", "webhook-again", "controller"
"""Components: a Deployment each."""
PORT = 8080
"""Where each Pod serves `/metrics` and its probes."""
READY_SECONDS = 180
COMMAND_SECONDS = 300
"""One command of helm, its hooks included."""
KILL_SECONDS = 10

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Replica:
    """A Pod of the operator."""

    name: str
    uid: str
    ready: bool
    ending: bool
    """Whether it is being deleted."""
    container: str
    """Id of its container; empty while there is none."""
    restarts: int

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> Replica:
        """Return the replica that a Pod, as the API server has it, is."""
        metadata, status = pod["metadata"], pod.get("status", {})
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        containers = status.get("containerStatuses") or [{}]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            ready=conditions.get("Ready") == "True",
            ending="deletionTimestamp" in metadata,
            container=containers[0].get("containerID", "").rpartition("/")[2],
            restarts=containers[0].get("restartCount", 0),
        )


@dataclass(frozen=True, slots=True)
class Release:
    """The release called `name` in `namespace` of `cluster`, whether it is installed or not.

    Values are nested mappings, as in a values file. All but properties raise ClusterError or
    CommandError, with what the command printed.
    """

    cluster: Cluster
    namespace: str = NAME
    name: str = NAME
    chart: Path = CHART

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl for the cluster."""
        return Kubectl(self.cluster.kubectl, self.cluster.kubeconfig)

    @property
    def installed(self) -> bool:
        """Whether Helm knows the release, be it one that failed."""
        return self.name in self._helm("list", "--all", "--short").split()

    def install(self, values: Values, image: Image | None = None) -> str:
        """Load the image, install the chart, and wait until every Pod is ready.

        Return what helm says, as `upgrade` does.
        """
        return self._install("install", values, image, "--create-namespace")

    def upgrade(self, values: Values, image: Image | None = None, *, anew: bool = True) -> str:
        """Bring the release to this chart and these values; without `anew`, beside earlier ones."""
        return self._install(
            "upgrade", values, image, "--reset-values" if anew else "--reuse-values"
        )

    def rollback(self) -> None:
        """Bring the release to what it was before the last upgrade."""
        self._helm("rollback", self.name, "--wait", f"--timeout={READY_SECONDS}s")
        self.wait_ready()

    def uninstall(self, *, hooks: bool = True) -> str:
        """Remove the release, and wait until its objects are gone; return what helm says."""
        flags = () if hooks else ("--no-hooks",)
        return self._helm("uninstall", self.name, "--wait", *flags)

    def objects(self) -> list[dict[str, Any]]:
        """Return what the release consists of, as rendered, hooks included."""
        texts = (self._helm("get", part, self.name) for part in ("manifest", "hooks"))
        return [found for text in texts for found in yaml.safe_load_all(text) if found]

    def test(self) -> str:
        """Run the chart's own tests; return what helm says, the Pods' logs included."""
        return self._helm("test", self.name)

    def wait_ready(self) -> None:
        """Return when each Deployment has all its replicas, of the newest template."""
        selector = f"--selector=app.kubernetes.io/name={NAME}"
        for each in self._run("get", "deployments", selector, "-o=name").split():
            self._run("rollout", "status", each, f"--timeout={READY_SECONDS}s")

    def helm(self, verb: str, *arguments: str) -> list[str]:
        """Return the command line of helm for this release's namespace."""
        program = ensure_binaries(("helm",), Progress.quiet())["helm"]
        place = (f"--namespace={self.namespace}", f"--kubeconfig={self.cluster.kubeconfig}")
        return [str(program), verb, *arguments, *place]

    def publish_service(self) -> None:
        """Let Pods resolve the webhook's Service: the controller looks whether it answers."""
        service = f"{NAME}-{WEBHOOK}"
        address = self._run("get", "service", service, "-o=jsonpath={.spec.clusterIP}")
        for domain in ("svc", "svc.cluster.local"):
            self.cluster.resolve(f"{service}.{self.namespace}.{domain}", address)

    def replicas(self, role: str) -> list[Replica]:
        """Return the Pods of a role, those that end included, the oldest first."""
        selector = f"app.kubernetes.io/name={NAME},app.kubernetes.io/component={role}"
        listed = json.loads(
            self._run(
                "get",
                "pods",
                f"--selector={selector}",
                "-o=json",
                "--sort-by=.metadata.creationTimestamp",
            )
        )
        return [Replica.of(pod) for pod in listed["items"]]

    def ready(self, role: str) -> list[Replica]:
        """Return the Pods of a role that are ready and are not being deleted."""
        return [each for each in self.replicas(role) if each.ready and not each.ending]

    def logs(self, replica: Replica, *, previous: bool = False) -> list[str]:
        """Return the lines of a Pod's log, or of the container that it had before the last."""
        flags = ("--previous",) if previous else ()
        return self._run("logs", replica.name, *flags).splitlines()

    def roll(self, role: str) -> None:
        """Replace every Pod of a role, and wait until that is done."""
        self._run("rollout", "restart", deployment(role))
        self.wait_ready()

    def scale(self, role: str, replicas: int) -> None:
        """Have `replicas` Pods of a role, and wait until there are exactly so many, all ready."""
        self._run("scale", deployment(role), f"--replicas={replicas}")

        def done() -> bool:
            found = self.replicas(role)
            return len(found) == replicas and all(each.ready for each in found)

        if not eventually(done, READY_SECONDS):
            raise ClusterError(f"{role}: not {replicas} ready replicas: {self.replicas(role)}")

    def delete(self, replica: Replica) -> None:
        """Delete a Pod, gracefully, and return at once."""
        self._run("delete", "pod", replica.name, "--wait=false")

    def pid(self, replica: Replica) -> int:
        """Return the pid of a Pod's program on this machine."""
        return self.cluster.container_pid(replica.container)

    def kill(self, replica: Replica) -> None:
        """End a Pod's program by SIGKILL, as the kernel does when memory is short.

        Returns when it is gone; kubelet then starts another one in the same Pod.
        """
        pid = self.pid(replica)
        started = start_time(pid)
        os.kill(pid, signal.SIGKILL)
        if not eventually(lambda: start_time(pid) != started, KILL_SECONDS):
            raise ClusterError(f"{replica.name}: process {pid} is still there after SIGKILL")

    def metrics(self, replica: Replica) -> str:
        """Return what a Pod serves at `/metrics`. The API server passes the request on."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{replica.name}:{PORT}/proxy/metrics"
        return self.kubectl.run("get", f"--raw={path}")

    def _install(self, verb: str, values: Values, image: Image | None, flag: str) -> str:
        if image:
            self.cluster.load_image(image.tar)
            repository, _, tag = image.reference.rpartition(":")
            values = {**values, "image": {"repository": repository, "tag": tag}}
        said = self._helm(
            verb,
            self.name,
            str(self.chart),
            flag,
            "--values=-",
            "--wait",
            f"--timeout={READY_SECONDS}s",
            text=yaml.safe_dump(dict(values)),
        )
        self.publish_service()
        self.wait_ready()
        return said

    def _run(self, *arguments: str) -> str:
        return self.kubectl.run(*arguments, f"--namespace={self.namespace}")

    def _helm(self, verb: str, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            self.helm(verb, *arguments),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"helm {verb} {' '.join(arguments)}: {done.stdout.strip()}")
        return done.stdout


def deployment(role: str) -> str:
    """Return what kubectl calls the Deployment of a role."""
    return f"deployment/{NAME}-{role}"
