"""Trust, proof and the API token: what is missing is told to the letter, and what is mended helps.

Where recovery is to be prompt, the operator runs with periods that are longer than the test: what
comes back in time does so because of the change that mended it.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import NAMESPACE
from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, SETTINGS, Json, Storage, granted, secret

Federate = Callable[..., str]
SERVICE = "/coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"
PATIENT = {
    **SETTINGS,
    "CAIOS_RECONCILE__RESYNC_SECONDS": "600",
    "CAIOS_RECONCILE__LONGEST_BACKOFF_SECONDS": "600",
    "CAIOS_VERIFICATION__RETRY_SECONDS": "600",
}
MANY = 6
"""Failures after which the next try is 16 s away, less a fifth."""
PROMPT_SECONDS = 8.0
REJECTED = ("False", "TokenRejected")
DENIED = ("False", "MintDenied")
VERIFIED = ("True", "Verified")


@pytest.fixture
def patient(storage: Storage) -> Iterator[None]:
    """Have an operator that does what works once, and what fails with ever longer pauses."""
    storage.world.product.start(PATIENT)
    yield
    storage.restart()


@pytest.mark.usefixtures("patient")
def test_values_entered_as_observed_make_the_identity_work(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    audience = "https://observed.example/storage"
    name = federate(trustManagement="Observed", verification="Enabled", audience=audience)
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: _of_federation(storage, name, "TrustRegistered"), ("False", "NotRegistered"))
    wait_for(lambda: _verified(storage, namespace), REJECTED)
    wait_for(lambda: storage.events(namespace, "reader")["TokenRejected"], 1)
    told = _message(storage, name, "TrustRegistered")
    found = re.search(r"name: (\S+), Issuer URL: (\S+), Client ID \(Audience\): (\S+);", told)
    assert found is not None, told
    assert found.groups()[1:] == (storage.world.plane.issuer, audience)
    rejected = storage.world.condition(namespace, "reader", "CredentialsVerified")["message"]
    assert storage.world.plane.issuer in rejected
    assert audience in rejected

    entered = dict(zip(("name", "issuerUrl", "audience"), found.groups(), strict=True))
    storage.remote.call("POST", f"{SERVICE}/CreateOIDCConfig", entered)
    wait_for(lambda: _of_federation(storage, name, "TrustRegistered"), ("True", "Registered"))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


@pytest.mark.usefixtures("patient")
def test_managed_trust_is_registered_and_the_identity_works(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    audience = "https://managed.example/storage"
    values = {"verification": "Enabled", "audience": audience}
    name = federate(trustManagement="Observed", **values)
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: _verified(storage, namespace), REJECTED)
    federate(trustManagement="Managed", **values)
    wait_for(lambda: _of_federation(storage, name, "TrustRegistered"), ("True", "Registered"))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    configurations = storage.remote.call("POST", f"{SERVICE}/ListOIDCConfigs", {})["configs"]
    ours = [each for each in configurations if each["audience"] == audience]
    assert [each["issuerUrl"] for each in ours] == [storage.world.plane.issuer]
    assert ours[0]["name"].startswith(storage.prefix)


def test_a_policy_that_is_only_rendered_is_missed_until_somebody_applies_it(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    name = federate(policyManagement="Rendered", trustManagement="Managed", verification="Enabled")
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.ready(namespace, "reader"), DENIED)
    message = storage.world.condition(namespace, "reader", "CredentialsVerified")["message"]
    assert "cwobject:CreateAccessKeyOIDC" in message
    assert "status.policy.document" in message
    wait_for(lambda: storage.events(namespace, "reader")["MintDenied"], 1)
    status = (storage.world.get("fsb", namespace, "reader") or {})["status"]
    storage.remote.put_policy(json.loads(status["policy"]["document"]))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


def test_a_policy_that_is_not_in_force_yet_is_no_failure(storage: Storage, namespace: str) -> None:
    seen: set[tuple[str, str]] = set()

    def verified() -> tuple[str, str]:
        last = _verified(storage, namespace)
        seen.add(last)
        return last

    with storage.remote.knobs(policyPropagationSeconds=3):
        storage.world.apply(*granted(namespace, READ))
        wait_for(verified, VERIFIED)
    assert seen - {("", "")} == {("Unknown", "Pending"), VERIFIED}
    assert storage.events(namespace, "reader")["MintDenied"] == 0


def test_a_policy_that_is_not_in_force_for_too_long_is_one(
    storage: Storage, namespace: str
) -> None:
    with storage.remote.knobs(policyPropagationSeconds=3600):
        storage.world.apply(*granted(namespace, READ))
        wait_for(lambda: _verified(storage, namespace), ("Unknown", "Pending"))
        wait_for(lambda: storage.ready(namespace, "reader"), DENIED)
        wait_for(lambda: storage.events(namespace, "reader")["MintDenied"], 1)
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


@pytest.mark.usefixtures("patient")
def test_a_missing_and_a_wrong_token_are_told_and_a_right_one_helps_at_once(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    held = f"token-{namespace}"
    name = federate(apiTokenSecretName=held, trustManagement="Managed", verification="Enabled")
    storage.world.apply(*granted(namespace, READ, federationName=name))

    wait_for(lambda: _of_federation(storage, name, "APITokenValid"), ("False", "SecretNotFound"))
    assert f"Secret {NAMESPACE}/{held}" in _message(storage, name, "APITokenValid")
    wait_for(lambda: storage.ready(namespace, "reader"), ("False", "PermissionDenied"))
    wait_for(lambda: _failures(storage, namespace) >= MANY, expected=True)
    storage.world.apply(secret("CW-SECRET-of-somebody-else", held))
    wait_for(lambda: _of_federation(storage, name, "APITokenValid"), ("False", "Unauthorized"))
    assert "CW-SECRET" not in _message(storage, name, "APITokenValid")
    storage.world.apply(secret(storage.remote.emulator.api_token, held))
    assert eventually(lambda: storage.ready(namespace, "reader") == READY, PROMPT_SECONDS)
    wait_for(lambda: _of_federation(storage, name, "Ready"), READY)


def test_a_revoked_token_is_told_and_its_successor_helps(
    storage: Storage, namespace: str, federate: Federate
) -> None:
    held = f"token-{namespace}"

    storage.world.apply(secret(storage.remote.emulator.api_token, held))
    name = federate(apiTokenSecretName=held)
    storage.world.apply(*granted(namespace, READ, federationName=name))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)
    policy = storage.policy_of(namespace, "reader")
    storage.world.apply(secret("CW-SECRET-revoked", held))
    wait_for(lambda: _of_federation(storage, name, "APITokenValid"), ("False", "Unauthorized"))
    wait_for(lambda: storage.ready(namespace, "reader"), ("False", "PermissionDenied"))
    assert storage.policy_of(namespace, "reader") == policy
    storage.world.apply(secret(storage.remote.emulator.api_token, held))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


def _failures(storage: Storage, namespace: str) -> int:
    """Return how often in a row the binding in a namespace failed to be reconciled."""
    lines = map(json.loads, storage.world.product.log.read_text().splitlines())
    tried = [
        line["attempt"]
        for line in lines
        if line["msg"] == "reconcile failed" and line["namespace"] == namespace
    ]
    return max(tried, default=0)


def _verified(storage: Storage, namespace: str) -> tuple[str, str]:
    return storage.conditions(namespace, "reader").get("CredentialsVerified", ("", ""))


def _federation_condition(storage: Storage, name: str, kind: str) -> Json:
    body = storage.world.get("sfed", "default", name) or {}
    found = body.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def _of_federation(storage: Storage, name: str, kind: str) -> tuple[str | None, str | None]:
    condition = _federation_condition(storage, name, kind)
    return condition.get("status"), condition.get("reason")


def _message(storage: Storage, name: str, kind: str) -> str:
    return str(_federation_condition(storage, name, kind)["message"])
