"""What the demo plays on: a cluster, the emulator inside it, the operator's image and its chart."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.images import ensure_aws_cli_image, ensure_sandbox_image
from caios_testbed.cluster.operator_image import ensure_operator_image
from caios_testbed.cluster.packages import ensure_packages
from caios_testbed.cluster.progress import Progress
from caios_testbed.coreweave.beside import EmulatorProcess
from caios_testbed.coreweave.settings import DEMO_TOKEN
from caios_testbed.product import Kubectl
from caios_testbed.release import Release


class Images(NamedTuple):
    """References of images that the node knows."""

    operator: str
    cli: str
    """The AWS CLI."""
    workload: str
    """Something that idles."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's processes, for the cluster called `name`; whether they run or not."""

    name: str

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return Cluster(self.name)

    @property
    def emulator(self) -> EmulatorProcess:
        """The stand-in for CoreWeave."""
        return EmulatorProcess(self.cluster)

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl for the cluster."""
        return Kubectl(self.cluster.kubectl, self.cluster.kubeconfig)

    @property
    def release(self) -> Release:
        """The operator, installed or not."""
        return Release(self.cluster)

    @property
    def ca_file(self) -> Path:
        """The CA that the emulator's certificate chains to."""
        return self.emulator.ca_file

    def set_up(self, progress: Progress) -> Images:
        """Start cluster and emulator, and load the images. Raises ClusterError."""
        ensure_packages({"curl": "curl"}, progress)  # as a person would call CoreWeave's API
        ensure_binaries(("helm",), progress)
        cli = ensure_aws_cli_image(self.emulator.authority.pem, progress)
        workload = ensure_sandbox_image(progress)
        operator = ensure_operator_image(progress)
        self.cluster.up(progress)
        for image in (cli, operator):
            with progress.step(f"{image.reference} on the node", "loading the image"):
                self.cluster.load_image(image.tar)
        with progress.step("the testbed's CoreWeave answers", "starting it"):
            self.emulator.start()
        return Images(operator.reference, cli.reference, workload.reference)

    def strike(self) -> None:
        """End everything that `set_up` and the walk started; fine when nothing runs."""
        self.emulator.stop()
        self.cluster.down()
        shutil.rmtree(self.emulator.directory, ignore_errors=True)

    def coreweave(self, method: str, path: str, body: str = "") -> list[str]:
        """Return the curl command for a request to CoreWeave's API, as an administrator."""
        host = "api.coreweave.com"
        options = {
            "--request": method,
            "--cacert": str(self.ca_file),
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
