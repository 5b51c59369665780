"""What is missing is told to the letter, and once it is mended, bindings recover at once.

The operator runs with periods that are longer than a test: what comes or goes in time does so
because of the change that it follows from.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import NAMESPACE
from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, SETTINGS, Storage, granted, secret

Federate = Callable[..., str]
PATIENT = {
    **SETTINGS,
    "CAIOS_RECONCILE__RESYNC_SECONDS": "600",
    "CAIOS_RECONCILE__LONGEST_BACKOFF_SECONDS": "600",
    "CAIOS_VERIFICATION__RETRY_SECONDS": "600",
}
MANY = 6
"""Failures after which the next try is 16 s away, less a fifth."""
PROMPT_SECONDS = 8.0
REFUSED = ("False", "GrantNotAllowed")
REJECTED = ("False", "TokenRejected")


@pytest.fixture(scope="module", autouse=True)
def patient(storage: Storage) -> Iterator[None]:
    """Have an operator that does what works once, and what fails with ever longer pauses."""
    storage.world.product.start(PATIENT)
    yield
    storage.restart()


def test_values_entered_as_observed_make_the_identity_work(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    audience = "https://observed.example/storage"
    name = federate(trustManagement="Observed", verification="Enabled", audience=audience)
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.of_federation(name, "TrustRegistered").get("reason"), "NotRegistered")
    wait_for(lambda: storage.conditions(namespace, "reader").get("CredentialsVerified"), REJECTED)
    wait_for(lambda: storage.events(namespace, "reader")["TokenRejected"], 1)
    told = storage.of_federation(name, "TrustRegistered")["message"]
    found = re.search(r"name: (\S+), Issuer URL: (\S+), Client ID \(Audience\): (\S+);", told)
    assert found is not None, told
    assert found.groups()[1:] == (storage.world.plane.issuer, audience)
    rejected = storage.world.condition(namespace, "reader", "CredentialsVerified")["message"]
    assert storage.world.plane.issuer in rejected
    assert audience in rejected

    storage.remote.trust(*found.groups())
    wait_for(lambda: storage.of_federation(name, "TrustRegistered").get("reason"), "Registered")
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


def test_managed_trust_is_registered_and_the_identity_works(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    audience = "https://managed.example/storage"
    values = {"verification": "Enabled", "audience": audience}
    name = federate(trustManagement="Observed", **values)
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.conditions(namespace, "reader").get("CredentialsVerified"), REJECTED)
    federate(trustManagement="Managed", **values)
    wait_for(lambda: storage.of_federation(name, "TrustRegistered").get("reason"), "Registered")
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    ours = [each for each in storage.remote.configurations() if each["audience"] == audience]
    assert [each["issuerUrl"] for each in ours] == [storage.world.plane.issuer]
    assert ours[0]["name"].startswith(storage.prefix)


def test_a_missing_and_a_wrong_token_are_told_and_a_right_one_helps_at_once(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    held = f"token-{namespace}"
    name = federate(apiTokenSecretName=held, trustManagement="Managed", verification="Enabled")
    storage.world.apply(*granted(namespace, READ, federationName=name))

    wait_for(lambda: storage.of_federation(name, "APITokenValid").get("reason"), "SecretNotFound")
    assert f"Secret {NAMESPACE}/{held}" in storage.of_federation(name, "APITokenValid")["message"]
    wait_for(lambda: storage.ready(namespace, "reader"), ("False", "PermissionDenied"))
    wait_for(lambda: _failures(storage, namespace) >= MANY, expected=True)
    storage.world.apply(secret("CW-SECRET-of-somebody-else", held))
    wait_for(lambda: storage.of_federation(name, "APITokenValid").get("reason"), "Unauthorized")
    assert "CW-SECRET" not in storage.of_federation(name, "APITokenValid")["message"]
    storage.world.apply(secret(storage.remote.emulator.api_token, held))
    assert eventually(lambda: storage.ready(namespace, "reader") == READY, PROMPT_SECONDS)
    wait_for(lambda: storage.of_federation(name, "Ready").get("reason"), "Ready")


def test_a_narrower_rule_takes_a_policy_back_and_a_wider_one_applies_it_again(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    def allow(*access: str) -> str:
        rule = {"name": "data", "namespaceSelector": {}, "buckets": ["data"]}
        return federate(grantRules=[{**rule, "access": list(access)}])

    name = allow("ReadOnly", "WriteOnly")
    _apply_and_lose(storage, namespace, name, lambda: allow("WriteOnly"))
    message = storage.world.condition(namespace, "reader", "Accepted")["message"]
    assert 'rule "data" is for this bucket, but not for this access' in message
    _get_back(storage, namespace, lambda: allow("ReadOnly"))


def test_a_namespace_that_loses_its_label_loses_its_policies(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    def label(text: str) -> None:
        storage.world.kubectl.run("label", "namespace", namespace, text)

    rule = {"name": "team", "buckets": ["data"], "access": ["ReadOnly"]}
    name = federate(grantRules=[{**rule, "namespaceSelector": {"matchLabels": {"team": "a"}}}])
    label("team=a")
    _apply_and_lose(storage, namespace, name, lambda: label("team-"))
    message = storage.world.condition(namespace, "reader", "Accepted")["message"]
    assert 'rule "team" allows this, but its namespaceSelector does not match' in message
    _get_back(storage, namespace, lambda: label("team=a"))


def _apply_and_lose(
    storage: Storage, namespace: str, federation: str, change: Callable[[], object]
) -> None:
    storage.world.apply(*granted(namespace, READ, federationName=federation))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    assert storage.policy_of(namespace, "reader") is not None
    change()
    wait_for(lambda: storage.ready(namespace, "reader"), REFUSED)
    wait_for(lambda: storage.policy_of(namespace, "reader"), None)
    wait_for(lambda: storage.events(namespace, "reader")["GrantNotAllowed"], 1)
    assert storage.events(namespace, "reader")["PolicyRemoved"] == 1


def _get_back(storage: Storage, namespace: str, change: Callable[[], object]) -> None:
    change()
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    assert storage.policy_of(namespace, "reader") is not None


def _failures(storage: Storage, namespace: str) -> int:
    """Return how often in a row the binding in a namespace failed to be reconciled."""
    lines = map(json.loads, storage.world.product.log.read_text().splitlines())
    tried = [
        line["attempt"]
        for line in lines
        if line["msg"] == "reconcile failed" and line["namespace"] == namespace
    ]
    return max(tried, default=0)
