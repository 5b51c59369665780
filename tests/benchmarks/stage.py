"""What is measured: a control plane with the operator's kinds and rights, and its processes."""

import contextlib
import http.client
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import reviews
from builders import GROUP, Json
from caios_testbed.cluster.controlplane import ControlPlane
from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.process import listening
from caios_testbed.cluster.progress import Progress
from caios_testbed.product import Kubectl, Product

READY_SECONDS = 300.0
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers reviews."""

    name: str
    pid: int
    port: int

    @property
    def url(self) -> str:
        """Where reviews are sent; with the query that API servers add."""
        return f"https://127.0.0.1:{self.port}/mutate-pods?timeout=5s"


@dataclass(frozen=True, slots=True)
class Stage:
    """A control plane without a node, prepared for the operator."""

    directory: Path
    plane: ControlPlane
    port: int
    """Where webhooks of this stage listen; the webhook configuration says so, too."""

    @property
    def kubectl(self) -> Kubectl:
        """What reaches it as its administrator."""
        return Kubectl(self.plane.kubectl, self.plane.kubeconfig)

    @property
    def certificates(self) -> Path:
        """The pair that webhooks serve with, and its CA."""
        return self.directory / "controller" / "tls"

    def apply(self, *objects: Json) -> None:
        """Apply some objects."""
        self.kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(objects))

    def product(self, name: str) -> Product:
        """Return a process of the operator; each has a directory of its name."""
        return Product(self.directory / name, self.kubectl, "127.0.0.1", self.port)

    @contextlib.contextmanager
    def webhook(self, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Yield the operator in the role webhook, ready."""
        product = self.product("webhook")
        pair = {"CAIOS_CERTIFICATES__DIRECTORY": str(self.certificates)}
        product.launch({**pair, **(settings or {})}, role="webhook")
        try:
            until(lambda: ready(self.port), f"{product.log}: not ready")
            yield Server("ours", product.pid, self.port)
        finally:
            product.stop()


@contextlib.contextmanager
def staged(directory: Path, progress: Progress) -> Iterator[Stage]:
    """Yield a stage where a federation and two ServiceAccounts are, one of them annotated.

    A controller has made the certificate and the webhook configuration, and has ended.
    """
    with ControlPlane.start(directory / "plane", progress) as plane:
        stage = Stage(directory, plane, *free_ports(1))
        controller = stage.product("controller")
        controller.install()
        controller.start()
        controller.stop()
        stage.apply(*_objects())
        yield stage


def _objects() -> list[Json]:
    where = {"namespace": reviews.NAMESPACE}
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount"}
    inject = {f"{GROUP}/inject": "true"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": reviews.NAMESPACE}},
        {**account, "metadata": {"name": reviews.PLAIN, **where}},
        {**account, "metadata": {"name": reviews.FEDERATED, "annotations": inject, **where}},
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "StorageFederation",
            "metadata": {"name": "default"},
            "spec": {"organizationID": "cw1234", "region": "US-CENTRAL-05A"},
        },
    ]


@contextlib.contextmanager
def yardstick(kind: str, port: int, pair: Path) -> Iterator[Server]:
    """Yield a server of `yardsticks.py`, with the certificate that ours has."""
    command = [sys.executable, "-m", "benchmarks.yardsticks", kind, str(port), str(pair)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as process:
        try:
            until(lambda: listening(process.pid, port), f"yardstick {kind}: does not listen")
            yield Server(f"yardstick_{kind}", process.pid, port)
        finally:
            process.terminate()


def ready(port: int) -> bool:
    """Tell whether a webhook on `port` says that it is ready."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def samples(port: int) -> Mapping[str, float]:
    """Return every sample of a process' metrics; nothing while it does not answer yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return {}
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def until(condition: Callable[[], bool], problem: str, seconds: float = READY_SECONDS) -> float:
    """Return how many seconds it took until `condition` held. Raises RuntimeError with `problem`.

    It looks more often than waiting for processes does: what is waited for here is measured.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + seconds:
            raise RuntimeError(f"{problem} within {seconds:g} s")
        time.sleep(_LOOK_SECONDS)
    return time.monotonic() - begun
