"""The emulator as a process in a cluster's own network, where Pods find CoreWeave's names."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from caios_testbed import directories
from caios_testbed.authority import Authority
from caios_testbed.cluster.cluster import PORTS, Cluster
from caios_testbed.cluster.process import listening
from caios_testbed.cluster.roster import Roster
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION

READY_SECONDS = 60
_NAME = "coreweave"


@dataclass(frozen=True, slots=True)
class EmulatorProcess:
    """The emulator of `cluster`, whether it runs or not; it believes the cluster's tokens."""

    cluster: Cluster

    @property
    def directory(self) -> Path:
        """Where its state and its log are."""
        return directories.state(_NAME, self.cluster.name)

    @property
    def logs(self) -> list[Path]:
        """What it has logged, this time and before."""
        return sorted((self.directory / "logs").glob("*.log"))

    @property
    def authority(self) -> Authority:
        """The CA that its certificate chains to."""
        return Authority.at(self._authority, "caios-testbed CA")

    @property
    def ca_file(self) -> Path:
        """That CA's certificate, once the emulator was started."""
        return self._authority / "ca.crt"

    def start(self) -> None:
        """Start it anew: it forgets what it was told before. Raises ClusterError."""
        cluster, roster = self.cluster, self._roster
        roster.stop_all()
        issuer = f"{cluster.issuer}=https://{cluster.cluster_address}:{PORTS.apiserver}"
        process = roster.start(
            _NAME,
            [
                *(sys.executable, "-m", "caios_testbed", "coreweave", "serve"),
                f"--org={DEMO_ORGANIZATION}",
                f"--issuer={issuer},{cluster.ca_file}",
                "--https=0.0.0.0:443",
                "--http=0.0.0.0:80",
                f"--san={cluster.cluster_address}",
                f"--ca-directory={self._authority}",
            ],
        )
        roster.wait(_NAME, lambda: listening(process.pid, 443), READY_SECONDS)

    def stop(self) -> None:
        """End it; fine when it does not run."""
        self._roster.stop_all()

    @property
    def _authority(self) -> Path:
        return directories.state("ca")

    @property
    def _roster(self) -> Roster:
        return Roster(self.directory, self.cluster.network.enter)
