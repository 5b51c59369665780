"""The proof of an identity, and the API token: as they are, as they change, and after a while."""

import json
from collections.abc import Callable

from integration.product.conftest import wait_for
from integration.storage.conftest import READ, READY, Storage, granted, secret

Federate = Callable[..., str]
DENIED = ("False", "MintDenied")
VERIFIED = ("True", "Verified")


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
    wait_for(lambda: storage.of_federation(name, "APITokenValid").get("reason"), "Unauthorized")
    wait_for(lambda: storage.ready(namespace, "reader"), ("False", "PermissionDenied"))
    assert storage.policy_of(namespace, "reader") == policy
    storage.world.apply(secret(storage.remote.emulator.api_token, held))
    wait_for(lambda: storage.ready(namespace, "reader"), READY)


def _verified(storage: Storage, namespace: str) -> tuple[str, str]:
    return storage.conditions(namespace, "reader").get("CredentialsVerified", ("", ""))
