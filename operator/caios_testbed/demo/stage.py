"""What the demo plays on: a cluster, the emulator inside it, the operator beside it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from caios_testbed import directories
from caios_testbed.authority import Authority
from caios_testbed.cluster.cluster import PORTS, Cluster
from caios_testbed.cluster.images import ensure_aws_cli_image, ensure_sandbox_image
from caios_testbed.cluster.packages import ensure_packages
from caios_testbed.cluster.process import listening
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.roster import Roster
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION, DEMO_TOKEN
from caios_testbed.product import Kubectl, Product

OPERATOR_PORT = 9443
PROXY_PORT = 3128
"""By which the operator, outside the cluster's network, reaches CoreWeave's names."""
READY_SECONDS = 60
_EMULATOR = "coreweave"


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's processes, for the cluster called `name`; whether they run or not."""

    name: str

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return Cluster(self.name)

    @property
    def directory(self) -> Path:
        """Where state and logs of emulator and operator are kept."""
        return directories.state("demo", self.name)

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl for the cluster."""
        return Kubectl(self.cluster.kubectl, self.cluster.kubeconfig)

    @property
    def product(self) -> Product:
        """The operator, which the cluster's API server reaches over the link to this machine."""
        host = self.cluster.host_address
        return Product(self._place("operator"), self.kubectl, host, OPERATOR_PORT)

    @property
    def surroundings(self) -> dict[str, str]:
        """What the operator is told about this place: how CoreWeave is reached, and trusted."""
        return {
            "HTTPS_PROXY": f"http://{self.cluster.cluster_address}:{PROXY_PORT}",
            "NO_PROXY": f"{self.cluster.host_address},{self.cluster.cluster_address}",
            "CAIOS_COREWEAVE__CA_BUNDLE": str(self.authority / "ca.crt"),
        }

    @property
    def authority(self) -> Path:
        """The directory of the CA that the emulator's certificate chains to."""
        return directories.state("ca")

    def set_up(self, progress: Progress) -> tuple[str, str]:
        """Start cluster and emulator, load the images; return the names of the images.

        The first is the AWS CLI, the second something that idles. Raises ClusterError.
        """
        ensure_packages({"curl": "curl"}, progress)  # as a person would call CoreWeave's API
        authority = Authority.at(self.authority, "caios-testbed CA")
        cli = ensure_aws_cli_image(authority.pem, progress)
        workload = ensure_sandbox_image(progress)
        self.cluster.up(progress)
        with progress.step(f"{cli.reference} on the node", "loading the image"):
            self.cluster.load_image(cli.tar)
        with progress.step("the testbed's CoreWeave answers", "starting it"):
            self._start_emulator()
        return cli.reference, workload.reference

    def strike(self) -> None:
        """End everything that `set_up` and the walk started; fine when nothing runs."""
        Roster(self._place("operator")).stop_all()
        self._emulator.stop_all()
        self.cluster.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    def coreweave(self, method: str, path: str, body: str = "") -> list[str]:
        """Return the curl command for a request to CoreWeave's API, as an administrator."""
        host = "api.coreweave.com"
        options = {
            "--request": method,
            "--cacert": str(self.authority / "ca.crt"),
            "--resolve": f"{host}:443:{self.cluster.cluster_address}",
            "--oauth2-bearer": DEMO_TOKEN,
            **({"--json": body} if body else {}),
        }
        words = [word for option in options.items() for word in option]
        return [
            "curl",
            "--silent",
            "--show-error",
            "--fail-with-body",
            *words,
            f"https://{host}{path}",
        ]

    @property
    def _emulator(self) -> Roster:
        return Roster(self._place(_EMULATOR), self.cluster.network.enter)

    def _place(self, part: str) -> Path:
        return directories.state("demo", self.name, part)

    def _start_emulator(self) -> None:
        """Start the emulator anew in the cluster's network: it forgets what it was told before."""
        roster, cluster = self._emulator, self.cluster
        roster.stop_all()
        issuer = f"{cluster.issuer}=https://{cluster.cluster_address}:{PORTS.apiserver}"
        process = roster.start(
            _EMULATOR,
            [
                *(sys.executable, "-m", "caios_testbed", "coreweave", "serve"),
                f"--org={DEMO_ORGANIZATION}",
                f"--issuer={issuer},{cluster.ca_file}",
                "--https=0.0.0.0:443",
                "--http=0.0.0.0:80",
                f"--proxy=0.0.0.0:{PROXY_PORT}",
                f"--san={cluster.cluster_address}",
                f"--ca-directory={self.authority}",
            ],
        )
        roster.wait(_EMULATOR, lambda: listening(process.pid, 443), READY_SECONDS)
