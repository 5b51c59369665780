"""A control plane without a node: etcd, kube-apiserver and controller manager on loopback.

Needs no root and is ready in seconds: what integration tests run against. Pods are accepted,
mutated and stored, but never run.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from caios_testbed.cluster import restarts
from caios_testbed.cluster.api import Api
from caios_testbed.cluster.binaries import CONTROL_PLANE, Binaries, ensure_binaries
from caios_testbed.cluster.components import ISSUER, Plan
from caios_testbed.cluster.kubeconfig import write_kubeconfig
from caios_testbed.cluster.launch import (
    start_apiserver,
    start_controllers,
    start_etcd,
    wait_for_controllers,
)
from caios_testbed.cluster.pki import Pki
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.roster import Roster
from caios_testbed.cluster.state import Ports, State, locked

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The control plane kept in `directory`, whether it runs or not."""

    directory: Path

    @classmethod
    def start(cls, directory: Path, progress: Progress | None = None) -> ControlPlane:
        """Start a new one in `directory`, ending one that is left there; use it in a `with`.

        Raises ClusterError when a component does not come up.
        """
        plane = cls(directory)
        plane.up(progress or Progress.quiet(), anew=True)
        return plane

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def up(self, progress: Progress, *, anew: bool = False) -> None:
        """Start what does not run. One that is whole is left alone, unless `anew`."""
        binaries = ensure_binaries(CONTROL_PLANE, progress)
        with locked(self.directory):
            if not anew and self.healthy:
                progress.note("control plane runs already")
                return
            self.clear()
            try:
                with progress.step("control plane ready", "starting the control plane"):
                    self._launch(binaries)
            except BaseException:
                self._roster.stop_all(grace=0)  # the logs stay, the processes do not
                raise

    def stop(self) -> None:
        """End every process; certificates, logs and the issuer's identity stay."""
        with locked(self.directory):
            self.clear()

    @property
    def healthy(self) -> bool:
        """Whether every component runs and the API server is ready."""
        ports = self._state.ports
        whole = ports is not None and all(self._roster.alive(name) for name in NAMES)
        return whole and self._api.answers("/readyz")

    def status(self) -> dict[str, bool]:
        """Return which components run."""
        return {name: self._roster.alive(name) for name in NAMES}

    @property
    def kubeconfig(self) -> Path:
        """How to reach it as its administrator."""
        return self.directory / "kubeconfig"

    @property
    def url(self) -> str:
        """The API server's URL."""
        ports = self._state.ports
        return f"https://{LOOPBACK}:{ports.apiserver if ports else 0}"

    @property
    def ca_file(self) -> Path:
        """The certificate that the API server's own chains to."""
        return self.pki.ca

    @property
    def kubectl(self) -> Path:
        """The kubectl of the same version as the API server."""
        return ensure_binaries(("kubectl",), Progress.quiet())["kubectl"]

    @property
    def issuer(self) -> str:
        """The `iss` of ServiceAccount tokens."""
        return ISSUER.format(self._state.cluster_id)

    @property
    def audit_log(self) -> Path:
        """Writes to the API server since the start, and reads of ServiceAccounts: JSON lines."""
        return self.directory / "logs" / "audit.log"

    def stop_apiserver(self) -> None:
        """End the API server alone; clients see refused connections. etcd keeps its data."""
        # It would drain watches for longer than any test of an outage wants to wait.
        restarts.stop(self._roster, "kube-apiserver", grace=1)

    def start_apiserver(self) -> None:
        """Start the API server again, on the port it had; returns when it is ready."""
        restarts.start(self._running_plan, self._roster, "kube-apiserver")

    def restart_apiserver(self) -> None:
        """End the API server and start it again, on the same port and data."""
        self.restart("kube-apiserver", grace=1)

    def restart(self, component: str, grace: float = restarts.GRACE_SECONDS) -> None:
        """End a component and start it again, on the same port and data; return when it serves.

        By SIGTERM, and by SIGKILL after `grace` seconds; `grace=0` kills at once. Raises
        ClusterError.
        """
        restarts.restart(self._running_plan, self._roster, component, grace)

    def expire_watches(self) -> None:
        """Restart the API server so that a watch resumed from an earlier version gets 410."""
        restarts.expire_watches(self._running_plan, self._roster)

    @property
    def _roster(self) -> Roster:
        return Roster(self.directory)

    @property
    def _state(self) -> State:
        return self._roster.state

    @property
    def pki(self) -> Pki:
        """The certificates and keys, the administrator's among them."""
        return Pki(self.directory / "pki")

    @property
    def _api(self) -> Api:
        return Api(self.url, self.pki)

    @property
    def _running_plan(self) -> Plan:
        return self._plan(ensure_binaries(CONTROL_PLANE, Progress.quiet()))

    def _plan(self, binaries: Binaries) -> Plan:
        state = self._state
        ports = state.ports or Ports(*free_ports(4))
        if state.ports is None:
            self._roster.update(ports=ports)
        return Plan(
            directory=self.directory,
            binaries=binaries,
            pki=self.pki,
            cluster_id=state.cluster_id,
            ports=ports,
            address=LOOPBACK,
            bind=LOOPBACK,
        )

    def clear(self) -> None:
        """End what an earlier start left, and drop its data; the caller holds the lock."""
        self._roster.stop_all(grace=0)  # the data goes too: nothing is worth a graceful end
        self._roster.update(ports=None)
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)

    def _launch(self, binaries: Binaries) -> None:
        shutil.rmtree(self.directory / "logs", ignore_errors=True)
        plan = self._plan(binaries)
        self.pki.ensure(hosts=())
        plan.write_files()
        write_kubeconfig(
            self.kubeconfig,
            context="caios-testbed-control-plane",
            url=plan.url,
            pki=self.pki,
            client="admin",
        )
        start_etcd(plan, self._roster)
        start_apiserver(plan, self._roster, self._api)
        self._api.publish_discovery()
        start_controllers(plan, self._roster)
        wait_for_controllers(self._api, self._roster)
