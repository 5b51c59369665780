"""The product on a testbed cluster: installed by its own manifests, run as a process beside it.

It runs as its own ServiceAccount with the rights that are shipped, so that a missing one shows.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from caios_testbed.audit import entries, resource_of
from caios_testbed.authority import signed_by_one_of
from caios_testbed.cluster.components import WRITES
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.roster import Roster
from caios_testbed.cluster.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
"""The repository: the testbed runs from a checkout."""
_KUSTOMIZE = CHECKOUT / "deploy" / "kustomize"
MANIFESTS = (
    CHECKOUT / "crds",
    _KUSTOMIZE / "base" / "namespace.yaml",
    _KUSTOMIZE / "base" / "rbac.yaml",
    _KUSTOMIZE / "remediation" / "rbac.yaml",
    _KUSTOMIZE / "verification" / "rbac.yaml",
    Path(__file__).parent / "process.yaml",
)
"""What a process beside the cluster needs there: kinds, the rights as shipped, and a holder."""
CRDS = ("federatedstoragebindings.caios.coreweave.com", "storagefederations.caios.coreweave.com")
NAMESPACE = "caios-federation"
USERNAME = f"system:serviceaccount:{NAMESPACE}:{NAMESPACE}"
"""Who the operator is to the API server: what its audit log says of each request."""
READY_SECONDS = 60
LEASE_SECONDS = 4.0
"""How long a process waits for one that was killed, and that held the Lease."""
LEASE = {
    "CAIOS_LEASE__DURATION_SECONDS": f"{LEASE_SECONDS:g}",
    "CAIOS_LEASE__RENEW_DEADLINE_SECONDS": "3",
    "CAIOS_LEASE__RETRY_SECONDS": "0.5",
}
_NAME = "operator"


class CommandError(Exception):
    """A command of the walk failed; the text holds it and what it printed."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one cluster."""

    program: Path
    kubeconfig: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the whole command line."""
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *map(str, arguments)]

    def run(self, *arguments: str | Path, manifest: str | None = None) -> str:
        """Return what kubectl prints on both streams. Raises CommandError."""
        done = subprocess.run(
            self.command(*arguments),
            input=manifest,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"kubectl {' '.join(map(str, arguments))}: {done.stdout.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Product:
    """The operator as a process of `directory`, for the cluster that `kubectl` reaches.

    Several may run side by side, each with a directory and a port of its own.
    """

    directory: Path
    kubectl: Kubectl
    host: str
    """Address of this machine that the API server can call."""
    port: int

    @property
    def log(self) -> Path:
        """The operator's log."""
        return self.directory / "logs" / f"{_NAME}.log"

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._roster.alive(_NAME)

    @property
    def pid(self) -> int:
        """The operator's process id. Raises ClusterError where it does not run."""
        found = self._roster.state.process(_NAME)
        if found is None or not found.alive:
            raise ClusterError(f"operator: does not run; its log is {self.log}")
        return found.pid

    def install(self) -> None:
        """Apply the CRDs and the rights, and wait until the CRDs are served."""
        for path in MANIFESTS:
            self.kubectl.run("apply", "-f", path)
        self.kubectl.run("wait", "--for=condition=Established", "crd", *CRDS)

    def start(self, settings: Mapping[str, str] | None = None, *, role: str = "all") -> None:
        """Start the operator, in place of one that runs, and wait until it serves.

        Raises ClusterError, with the end of the log, when it does not come up.
        """
        environment = self.launch(settings, role=role)
        self._roster.wait(_NAME, self._listening, READY_SECONDS)
        directory = Path(environment["CAIOS_CERTIFICATES__DIRECTORY"])
        if not eventually(lambda: self._provisioned(directory), READY_SECONDS):
            raise ClusterError(f"operator: no webhook configuration; its log is {self.log}")

    def launch(
        self, settings: Mapping[str, str] | None = None, *, role: str = "all"
    ) -> Mapping[str, str]:
        """Start the operator, in place of one that runs; return the variables that it has.

        `settings` are CAIOS_* variables beyond what a process outside the cluster needs.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stop()
        environment = {
            "CAIOS_ADMISSION__HOST": self.host,
            "CAIOS_ADMISSION__PORT": str(self.port),
            "CAIOS_ADMISSION__LAME_DUCK_SECONDS": "0",
            "CAIOS_CERTIFICATES__DIRECTORY": str(self.directory / "tls"),
            "CAIOS_OBSERVABILITY__PORT": "0",  # several may run on one machine
            "CAIOS_WEBHOOK__URL": f"https://{self.host}:{self.port}",
            **LEASE,
            **(settings or {}),
        }
        if "KUBECONFIG" not in environment:
            environment["KUBECONFIG"] = str(self.kubeconfig_of(NAMESPACE))
        variables = [f"{name}={text}" for name, text in environment.items()]
        program = [sys.executable, "-m", "caios_federation", "run", f"--role={role}"]
        self._roster.start(_NAME, ["env", *variables, *program])
        return environment

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the operator: to stop it for a while, or to end it and not wait."""
        found = self._roster.state.process(_NAME)
        if found is not None and found.alive:
            os.kill(found.pid, number)

    def stop(self, grace: float = 15) -> None:
        """End the operator; what it wrote to the cluster stays."""
        self._roster.stop(_NAME, grace=grace)

    @property
    def _roster(self) -> Roster:
        return Roster(self.directory)

    def _listening(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _provisioned(self, directory: Path) -> bool:
        """Whether the webhook configuration trusts the certificate that is served."""
        try:
            listed = self.kubectl.run(
                "get",
                "mutatingwebhookconfigurations",
                NAMESPACE,
                "-o=go-template={{(index .webhooks 0).clientConfig.caBundle | base64decode}}",
            )
        except CommandError:
            return False
        return signed_by_one_of((directory / "tls.crt").read_bytes(), listed.encode())

    def kubeconfig_of(self, account: str) -> Path:
        """Write what a ServiceAccount of the operator's namespace reaches the cluster with."""
        token = self.kubectl.run(
            "create", "token", account, f"--namespace={NAMESPACE}", "--duration=24h"
        )
        return self.write_kubeconfig(token.strip())

    def write_kubeconfig(self, token: str) -> Path:
        """Write what the holder of `token` reaches the cluster with."""
        content = yaml.safe_load(self.kubectl.kubeconfig.read_text())
        content["users"][0]["user"] = {"token": token}
        path = self.directory / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


def operator_writes(audit_log: Path) -> list[tuple[str, str]]:
    """Return (verb, resource) of each write that the operator made, from the API server's log.

    But those of the Lease, which is renewed all the time.
    """
    return [
        (entry["verb"], resource_of(entry))
        for entry in entries(audit_log)
        if entry["verb"] in WRITES
        and entry["user"]["username"] == USERNAME
        and resource_of(entry) != "leases"
    ]
