"""A replica that ends while Pods are created: the API server's connections move on, none is lost.

Two processes listen on one port, and the kernel spreads connections over them, as a Service does.
"""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from caios_testbed.cluster.ports import free_ports
from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.product import Product
from integration.product.conftest import SETTINGS, World, annotated, injected, wait_for
from integration.product.test_certificates import no_call_is_lost

ENDS = 4


@dataclass(frozen=True, slots=True)
class Replicas:
    """Processes of the webhook role on one port, behind which the API server finds injection."""

    one: Product
    other: Product
    settings: dict[str, str]

    def start(self, product: Product) -> None:
        """Start a replica, and wait until it is the one that listens, too."""
        before = told(product, "admission serving")
        product.start(self.settings, role="webhook")
        assert eventually(lambda: told(product, "admission serving") > before, 60)


@pytest.fixture(scope="module")
def replicas(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Yield two replicas, of which one runs; what acts has the API server call their port."""
    directory: Path = tmp_path_factory.mktemp("replicas")
    host, (port,) = world.product.host, free_ports(1)
    found = Replicas(
        Product(directory / "one", world.kubectl, host, port),
        Product(directory / "other", world.kubectl, host, port),
        {
            "CAIOS_CERTIFICATES__DIRECTORY": str(world.product.directory / "tls"),
            "CAIOS_ADMISSION__LAME_DUCK_SECONDS": "2",
        },
    )
    world.product.start(SETTINGS | {"CAIOS_WEBHOOK__URL": f"https://{host}:{port}"})
    try:
        found.start(found.one)
        yield found
    finally:
        found.one.stop()
        found.other.stop()
        world.product.start(SETTINGS)


@pytest.fixture(scope="module")
def load(world: World, replicas: Replicas) -> Iterator[PodLoad]:
    """Yield Pods that are created all the time."""
    namespace = "drain"
    world.apply(*pods.manifests(namespace))
    world.apply(annotated("default", "probe"))
    wait_for(lambda: injected(world.dry_run_pod("default", "probe")), expected=True)
    assert told(replicas.one, "pod admitted")
    with PodLoad(world.plane.url, world.plane.pki, namespace, rate=20, clients=4) as load:
        load.wait(60, 120)
        yield load


def test_no_call_is_lost_while_replicas_come_and_go(
    world: World, replicas: Replicas, load: PodLoad
) -> None:
    ending, staying = replicas.one, replicas.other
    with no_call_is_lost(world, load, "drain"):
        for _ in range(ENDS):
            replicas.start(staying)
            load.wait(20, 60)
            ending.signal(signal.SIGTERM)
            assert eventually(partial(gone, ending), 30)
            load.wait(20, 60)
            ending, staying = staying, ending
    for each in (ending, staying):
        assert told(each, "pod admitted") > ENDS * 5
        assert told(each, "admission stopped") >= ENDS / 2 - 1


def gone(product: Product) -> bool:
    return not product.alive


def told(product: Product, message: str) -> int:
    """Return how many lines of a process' log have a message."""
    if not product.log.exists():
        return 0
    lines = [line for line in product.log.read_text().splitlines() if line.startswith("{")]
    return sum(json.loads(line)["msg"] == message for line in lines)
