"""A webhook process that the API server refuses, or does not answer: it waits, serves and lives."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
import yaml

from caios_testbed.cluster.ports import free_ports
from caios_testbed.product import NAMESPACE, Product
from integration.product.conftest import World, wait_for

WAITING = "waiting for the API server"


@pytest.fixture
def webhook(world: World, tmp_path: Path) -> Iterator[Product]:
    """Return a process of the webhook role that was not started yet."""
    product = Product(tmp_path / "webhook", world.kubectl, "127.0.0.1", *free_ports(1))
    product.directory.mkdir()
    try:
        yield product
    finally:
        product.stop()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False) as pool:
        yield pool


def launch(world: World, webhook: Product, kubeconfig: Path) -> None:
    """Start it with the certificate of the product that runs."""
    settings = {
        "KUBECONFIG": str(kubeconfig),
        "CAIOS_CERTIFICATES__DIRECTORY": str(world.product.directory / "tls"),
    }
    webhook.launch(settings, role="webhook")


def told(webhook: Product, message: str) -> list[dict[str, str]]:
    """Return the lines of its log with a message."""
    if not webhook.log.exists():
        return []
    found = [json.loads(each) for each in webhook.log.read_text().splitlines() if each[:1] == "{"]
    return [line for line in found if line["msg"] == message]


def until_ready(webhook: Product, http: urllib3.PoolManager) -> None:
    wait_for(lambda: readiness(webhook, http)[0], 200)


def readiness(webhook: Product, http: urllib3.PoolManager) -> tuple[int, str]:
    """Return status and text of the readiness probe; 0 where nobody listens yet."""
    serving = told(webhook, "observability serving")
    if not serving:
        return 0, ""
    try:
        answer = http.request("GET", f"http://127.0.0.1:{serving[-1]['port']}/readyz")
    except urllib3.exceptions.HTTPError:
        return 0, ""
    return answer.status, answer.data.decode()


def test_one_whose_token_is_refused_waits_until_it_has_another_one(
    world: World, webhook: Product, http: urllib3.PoolManager
) -> None:
    launch(world, webhook, webhook.write_kubeconfig("not-a-token"))
    wait_for(lambda: "401" in readiness(webhook, http)[1], expected=True)
    assert readiness(webhook, http)[0] == 503
    assert "401" in told(webhook, WAITING)[0]["err"]
    webhook.kubeconfig_of(NAMESPACE)
    until_ready(webhook, http)


def test_one_that_lacks_a_right_says_which_and_waits(
    world: World, webhook: Product, http: urllib3.PoolManager
) -> None:
    name = "without-rights"
    world.kubectl.run("create", "serviceaccount", name, f"--namespace={NAMESPACE}")
    launch(world, webhook, webhook.kubeconfig_of(name))
    wait_for(lambda: "403" in readiness(webhook, http)[1], expected=True)
    assert "federatedstoragebindings" in readiness(webhook, http)[1]
    subject = f"--serviceaccount={NAMESPACE}:{name}"
    role = "--clusterrole=caios-federation-webhook"
    world.kubectl.run("create", "clusterrolebinding", name, role, subject)
    until_ready(webhook, http)


def test_one_that_reaches_nobody_waits(
    world: World, webhook: Product, http: urllib3.PoolManager
) -> None:
    path = webhook.kubeconfig_of(NAMESPACE)
    good = path.read_text()
    content = yaml.safe_load(good)
    content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_ports(1)[0]}"
    path.write_text(yaml.safe_dump(content))
    launch(world, webhook, path)
    wait_for(lambda: bool(told(webhook, WAITING)), expected=True)
    assert readiness(webhook, http)[0] == 503
    path.write_text(good)
    until_ready(webhook, http)


def test_one_whose_token_is_revoked_serves_on_and_takes_up_another_one(
    world: World, webhook: Product, http: urllib3.PoolManager
) -> None:
    """Kopf would end the process: it is handed the same token again, and takes it for invalid."""
    name = "revoked"
    binding = ("clusterrolebinding", name)
    world.kubectl.run("create", "serviceaccount", name, f"--namespace={NAMESPACE}")
    subject = f"--serviceaccount={NAMESPACE}:{name}"
    role = "--clusterrole=caios-federation-webhook"
    world.kubectl.run("create", *binding, role, subject)
    launch(world, webhook, webhook.kubeconfig_of(name))
    until_ready(webhook, http)

    world.kubectl.run("delete", "serviceaccount", name, f"--namespace={NAMESPACE}")
    world.plane.restart_apiserver()  # it would know the token for a while, and watches go on
    wait_for(lambda: bool(told(webhook, "not logged in")), expected=True)
    assert webhook.alive
    assert readiness(webhook, http) == (200, readiness(webhook, http)[1])
    world.kubectl.run("create", "serviceaccount", name, f"--namespace={NAMESPACE}")
    webhook.kubeconfig_of(name)
    seen = len(webhook.log.read_text())
    wait_for(
        lambda: "Re-authentication has finished" in webhook.log.read_text()[seen:], expected=True
    )
    assert webhook.alive
