"""The serving certificate while Pods are created: renewed, spoilt, deleted, and no call is lost."""

import base64
import contextlib
import datetime as dt
import json
from collections.abc import Iterator

import pytest
import yaml
from cryptography import x509

from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.load import PodLoad
from caios_testbed.podload.tally import Result
from integration.product.conftest import (
    SETTINGS,
    World,
    annotated,
    injected,
    wait_for,
)

SECRET = ("secret", "caios-federation-webhook-tls", "--namespace=caios-federation")
ROLE = "caios-federation-controller"
FAST = {
    "CAIOS_CERTIFICATES__LIFETIME_SECONDS": "60",
    "CAIOS_CERTIFICATES__CA_LIFETIME_SECONDS": "120",
    "CAIOS_CERTIFICATES__CHECK_SECONDS": "2",
    "CAIOS_ADMISSION__TLS_POLL_SECONDS": "1",
    "CAIOS_WEBHOOK__OWNER": ROLE,
}
"""Pairs are due after 36 to 40 s, and CAs after 60 s, lest a pair outlives its CA."""
RATE = 20.0
DEADLINE_SECONDS = 120.0


@pytest.fixture(scope="module")
def load(world: World) -> Iterator[PodLoad]:
    """Yield a load on the product whose certificates live for a minute."""
    namespace = "certificates"
    world.product.stop()
    # What was made before lives for months, and nothing of it would be due.
    world.kubectl.run("delete", *SECRET, "--ignore-not-found")
    world.product.start(SETTINGS | FAST)
    try:
        world.apply(*pods.manifests(namespace))
        world.apply(annotated("default", "probe"))
        wait_for(lambda: injected(world.dry_run_pod("default", "probe")), expected=True)
        with PodLoad(world.plane.url, world.plane.pki, namespace, rate=RATE, clients=4) as load:
            # Accounts that were made a moment ago may still be on their way into the caches.
            load.wait(60, DEADLINE_SECONDS)
            yield load
    finally:
        world.product.start(SETTINGS)


def files(world: World) -> dict[str, bytes]:
    """Return what the Secret holds; nothing where there is none."""
    text = world.kubectl.run("get", *SECRET, "--ignore-not-found", "-o=yaml")
    found = (yaml.safe_load(text) or {}).get("data", {})
    return {name: base64.b64decode(content) for name, content in found.items()}


def authorities(world: World) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(files(world).get("ca.crt", b""))


def fits(world: World) -> bool:
    """Tell whether the Secret's pair was signed by its first CA."""
    try:
        held = files(world)
        leaf = x509.load_pem_x509_certificate(held["tls.crt"])
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(held["ca.crt"])[0])
    except (KeyError, ValueError):
        return False
    return leaf.not_valid_after_utc > dt.datetime.now(dt.UTC)


def lost_calls(world: World) -> int:
    """Return how many calls the API server gave up on, of the first webhook and of the second."""
    metric = "apiserver_admission_webhook_fail_open_count{"
    lines = world.kubectl.run("get", "--raw", "/metrics").splitlines()
    counts = [each for each in lines if each.startswith(metric) and "caios.coreweave.com" in each]
    return sum(int(float(each.rpartition(" ")[2])) for each in counts)


@contextlib.contextmanager
def no_call_is_lost(world: World, load: PodLoad, name: str) -> Iterator[None]:
    """Fail when a Pod is missed, or when the second call was needed for one."""
    lost = lost_calls(world)
    with load.phase(name) as phase:
        yield
        load.wait(200, DEADLINE_SECONDS)
    counts = {str(result): count for result, count in phase.results.items()}
    print(f"{name}: {counts}")  # the figures are what the test is for
    assert set(phase.results) == {Result.INJECTED, Result.PLAIN}, counts
    assert lost_calls(world) == lost


def test_no_call_is_lost_while_pair_and_ca_are_replaced(world: World, load: PodLoad) -> None:
    pair, (newest, *_) = files(world)["tls.crt"], authorities(world)
    with no_call_is_lost(world, load, "rotation"):
        # The pair after 40 s, the CA after 60 s, and a pair of that CA.
        assert eventually(lambda: files(world)["tls.crt"] != pair, DEADLINE_SECONDS)
        assert eventually(lambda: authorities(world)[0] != newest and fits(world), DEADLINE_SECONDS)
        assert newest in authorities(world)


SPOILT = base64.b64encode(b"spoilt").decode()


@pytest.mark.parametrize(
    "names", [["tls.key"], ["ca.crt", "ca.key", "tls.crt", "tls.key"]], ids=str
)
def test_a_spoilt_secret_is_repaired_and_no_call_is_lost(
    world: World, load: PodLoad, names: list[str]
) -> None:
    patch = json.dumps({"data": dict.fromkeys(names, SPOILT)})
    with no_call_is_lost(world, load, f"spoilt {' '.join(names)}"):
        world.kubectl.run("patch", *SECRET, "--type=merge", f"--patch={patch}")
        wait_for(lambda: fits(world), expected=True)


def test_a_deleted_secret_is_made_again_and_no_call_is_lost(world: World, load: PodLoad) -> None:
    with no_call_is_lost(world, load, "deleted"):
        world.kubectl.run("delete", *SECRET)
        wait_for(lambda: fits(world), expected=True)


def test_the_configuration_goes_with_the_cluster_role(world: World, load: PodLoad) -> None:
    assert load.created
    uid = world.kubectl.run("get", "clusterrole", ROLE, "-o=jsonpath={.metadata.uid}")
    owners = "-o=jsonpath={.metadata.ownerReferences[*].uid}"
    name = "mutatingwebhookconfigurations/caios-federation"
    wait_for(lambda: world.kubectl.run("get", name, owners), uid)
