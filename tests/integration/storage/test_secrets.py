"""Errors that repeat what they were sent, from every operation: nothing ever shows a secret.

All that is told here comes from one run, in which the operator logs all that it can. What may hold
a secret is looked at while it lasts: every version of an object that the API server ever had.
"""

import base64
import contextlib
import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from caios_federation.core.naming import trust_name
from caios_federation.core.principal import Issuer
from caios_federation.observe.metrics import OPERATIONS
from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import Kubectl
from component.observability.scraping import Scrape
from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, SETTINGS, Storage, granted
from integration.storage.remote import Json

STATUSES = (503, 400, 401, 403)
TRIES = 3
"""How often a request that may be repeated is sent, before its failure is told."""
EXCHANGE = "CreateAccessKeyFromContainerCreds"
CUT = {"operation": EXCHANGE, "body": "truncated", "count": 1}
"""Half of an answer that holds keys."""
ECHOES = [
    {"operation": operation, "status": status, "body": "echo-token", "count": TRIES}
    for operation in sorted(OPERATIONS)
    for status in STATUSES
]
HIT_SECONDS = 120.0
KINDS = ("fsb", "sfed", "events")
WRITE = {**READ, "access": "ReadWrite"}
SHAPES = {
    "API token": r"CW-SECRET-",
    "ServiceAccount token": r"eyJ[A-Za-z0-9_-]{5,}",
    "access key": r"CW[A-Z0-9]{14}",
    "secret key, or its beginning": r"cwo[A-Za-z0-9]{12,}",
}
ECHOED = "cannot verify [redacted]"


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that people can see of the run."""

    texts: dict[str, str]
    """By what shows it."""
    secrets: dict[str, str]
    """The secrets whose values are known, by what they are."""

    def found(self, shown: str) -> list[str]:
        """Return which secrets are in what `shown` shows, and where."""
        text = self.texts[shown]
        known = {name: re.escape(value) for name, value in self.secrets.items()}
        return [
            f"{name}: {text[max(match.start() - 80, 0) : match.end()]}"
            for name, pattern in {**SHAPES, **known}.items()
            for match in itertools.islice(re.finditer(pattern, text), 3)
        ]


@contextmanager
def every_version(kubectl: Kubectl, directory: Path) -> Iterator[dict[str, Path]]:
    """Yield files with each version of each object, of all kinds that tell people something."""
    files = {kind: directory / f"{kind}.json" for kind in KINDS}
    options = ("--all-namespaces", "--watch", "-o=json", "--show-managed-fields")
    with contextlib.ExitStack() as stack:
        for kind, path in files.items():
            file = stack.enter_context(path.open("w"))
            watch = subprocess.Popen(kubectl.command("get", kind, *options), stdout=file)
            stack.callback(watch.wait)
            stack.callback(watch.terminate)
        yield files
        wait_for(lambda: [kind for kind in KINDS if _unseen(kubectl, kind, files[kind])], [])


def _unseen(kubectl: Kubectl, kind: str, file: Path) -> list[str]:
    """Return the versions that a file lacks, of those that the API server has now."""
    listed = json.loads(kubectl.run("get", kind, "--all-namespaces", "-o=json"))["items"]
    versions = [each["metadata"]["resourceVersion"] for each in listed]
    text = file.read_text()
    return [version for version in versions if f'"resourceVersion": "{version}"' not in text]


@pytest.fixture(scope="module")
def shown(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Yield what a run has shown that met each error and got over all of them."""
    world = storage.world
    world.product.start({**SETTINGS, "CAIOS_LOG__LEVEL": "debug"})
    try:
        with every_version(world.kubectl, tmp_path_factory.mktemp("versions")) as files:
            _run(storage, "echoes")
        texts = {kind: path.read_text() for kind, path in files.items()}
        texts |= {"log": world.product.log.read_text(), "metrics": world.metrics()}
        yield Shown(texts, _secrets(storage))
    finally:
        world.kubectl.run("delete", "namespace", "echoes", "--ignore-not-found", "--timeout=60s")
        world.kubectl.run("delete", "sfed", "missing", "drifted", "--ignore-not-found")
        storage.restart()


def _run(storage: Storage, namespace: str) -> None:
    """Create, change and delete bindings while every operation fails; then see all of it done."""
    world, remote = storage.world, storage.remote
    world.kubectl.run("create", "namespace", namespace)
    before = [granted(namespace, READ, name=name) for name in ("kept", "changed", "deleted")]
    world.apply(*itertools.chain(*before))
    for name in ("kept", "changed", "deleted"):
        wait_for(partial(storage.ready, namespace, name), READY)
    drifted = "https://drifted.example/storage"
    remote.trust(trust_name(Issuer(world.plane.issuer), drifted), world.plane.issuer, "of-old")

    with remote.failing(CUT, *ECHOES):
        world.apply(
            storage.federation(name="drifted", audience=drifted),
            storage.federation(name="missing", audience="https://missing.example/storage"),
            *granted(namespace, READ, name="of-drifted", federationName="drifted"),
            *granted(namespace, READ, name="of-missing", federationName="missing"),
            *granted(namespace, WRITE, name="changed"),
        )
        storage.delete(namespace, "deleted", wait=False)
        assert eventually(lambda: not _left(storage), HIT_SECONDS), _left(storage)

    for name in ("kept", "changed", "of-drifted", "of-missing"):
        wait_for(partial(storage.ready, namespace, name), READY)
    wait_for(partial(storage.exists, namespace, "deleted"), expected=False)
    for name in ("default", "drifted", "missing"):
        wait_for(partial(_reason_of, storage, name), "Ready")


def _reason_of(storage: Storage, federation: str) -> str | None:
    return storage.of_federation(federation, "Ready").get("reason")


def _left(storage: Storage) -> list[str]:
    """Return the faults that have not been met as often as they are to be."""
    rules: list[Json] = storage.remote.call("GET", "/testbed/faults")["rules"]
    return [
        f"{rule['operation']} {rule['status']}" for rule in rules if rule["hits"] < rule["count"]
    ]


def _secrets(storage: Storage) -> dict[str, str]:
    token = storage.remote.emulator.api_token
    keys = storage.remote.call("GET", "/v1/cwobject/access-key")["accessKeyInfos"]
    assert keys
    return {
        "API token": token,
        "API token as in its Secret": base64.b64encode(token.encode()).decode(),
        "API token without its prefix": token.removeprefix("CW-SECRET-"),
        **{f"access key {number}": key["accessKeyId"] for number, key in enumerate(keys)},
    }


@pytest.mark.parametrize("where", [*KINDS, "log", "metrics"])
def test_no_secret_is_shown(shown: Shown, where: str) -> None:
    assert shown.found(where) == []


@pytest.mark.parametrize("where", ["fsb", "sfed", "events", "log"])
def test_the_errors_that_repeat_secrets_were_told(shown: Shown, where: str) -> None:
    assert ECHOED in shown.texts[where]


def test_each_operation_failed_in_each_way_and_works_again(shown: Shown) -> None:
    counted = Scrape.of(shown.texts["metrics"]).counted("coreweave_requests_total")
    expected = {f"{code} {name}" for name in OPERATIONS for code in ("2xx", "4xx", "5xx")}
    assert expected - counted.keys() == set()


def test_a_secret_would_be_found(shown: Shown) -> None:
    planted = {
        "key": "CWAAAABBBBCCCC00",
        "secret": "cwoabcdefghijklm",
        "token": "eyJhbGciOi.eyJpc3",
        **shown.secrets,
    }
    for name, value in planted.items():
        assert Shown({"log": f"at {value}, it says"}, shown.secrets).found("log"), name
