"""A federation that manages: conditions, counts, and what is asked of CoreWeave for them."""

import copy

import pytest

import builders
from caios_federation.clients import errors
from component.reconcile.managed import GRANT, SECRET_PATH, granted, managed, raw_secret

MISSING = ("False", "ConfigurationMissing")
"""There is no webhook in this world."""


async def test_a_look_asks_for_the_token_and_the_trust_once_and_the_rest_is_known() -> None:
    async with managed(granted()) as here:
        here.forget_looks()
        assert await here.look_at_federation() == 10
        assert [s for s in here.steps() if not s.startswith("GET")] == [
            "secret",
            "whoami",
            "list",
            "status",
        ]
        await here.look_at_federation()
        assert here.steps() == []
        assert here.federation_told("APITokenValid") == ("True", "Valid")
        assert here.federation_told("InjectionServing") == MISSING
        assert here.federation_told("Ready") == MISSING
        assert here.federation_told("TrustRegistered") == ("", "")


async def test_a_federation_that_changed_is_looked_at_at_once() -> None:
    async with managed() as here:
        here.forget_looks()
        await here.look_at_federation()
        here.steps()
        body = copy.deepcopy(here.cluster.known["StorageFederation", "default"])
        body["spec"]["region"] = "EU-01"
        body["metadata"]["resourceVersion"] = "9999"
        here.world.caches.federations.observe("MODIFIED", body)
        await here.look_at_federation()
        assert "whoami" in here.steps()


async def test_bindings_are_counted_as_they_are() -> None:
    async with managed(granted(), builders.binding("two", grants=[GRANT])) as here:
        await here.look_at_federation()
        assert here.federation_status()["bindings"] == {"total": 2, "ready": 0}
        await here.look("reader")
        await here.look_at_federation()
        assert here.federation_status()["bindings"] == {"total": 2, "ready": 1}


@pytest.mark.parametrize(
    ("step", "status", "told"),
    [
        ("whoami", 401, ("False", "Unauthorized")),
        ("whoami", 403, ("False", "PermissionDenied")),
        ("whoami", 500, ("Unknown", "APIUnavailable")),
        ("whoami", 429, ("Unknown", "APIUnavailable")),
        ("secret", 404, ("False", "SecretNotFound")),
        ("secret", 403, ("False", "SecretNotFound")),
        ("secret", 401, ("Unknown", "Pending")),
        ("secret", 500, ("Unknown", "Pending")),
    ],
)
async def test_a_token_that_does_not_work_is_told(
    step: str, status: int, told: tuple[str, str]
) -> None:
    async with managed(policyManagement="Rendered") as here:
        here.fail(step, status)
        here.forget_looks()
        await here.look_at_federation()
        assert here.federation_told("APITokenValid") == told


async def test_a_secret_without_a_token_is_told_with_what_to_do() -> None:
    async with managed(policyManagement="Rendered") as here:
        here.cluster.stored[SECRET_PATH] = raw_secret()
        here.forget_looks()
        await here.look_at_federation()
        assert here.federation_told("APITokenValid") == ("False", "SecretNotFound")
        message = here.federation_condition("APITokenValid")["message"]
        assert "into key 'token' of Secret caios-federation/coreweave" in message


@pytest.mark.parametrize("status", [401, 403])
async def test_while_the_token_is_bad_the_next_look_at_it_comes_in_time(status: int) -> None:
    """What fails comes again after growing pauses, up to two minutes."""
    async with managed() as here:
        here.fail("whoami", status)
        here.fail("list", status)
        here.forget_looks()
        assert await here.look_at_federation() is not None
        assert "list" not in here.steps()


async def test_a_list_that_fails_keeps_no_status_from_being_written() -> None:
    async with managed() as here:
        here.fail("list", 500)
        with pytest.raises(errors.Unavailable):
            await here.look_at_federation()
        assert here.steps()[-1] == "status"


async def test_a_status_is_written_once() -> None:
    async with managed(granted()) as here:
        for _ in range(3):
            await here.look_at_federation()
        assert here.steps().count("status") == 1
