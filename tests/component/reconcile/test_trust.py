"""API token and trust, against the emulator: looked at, made where asked for, told where not."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

import builders
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import Federation
from caios_federation.clients.coreweave import Organization, connect
from caios_federation.core.trust import CONSOLE
from caios_federation.reconcile.organizations import TokenMissing, TokenUnreadable
from caios_federation.reconcile.trust import TrustOutcome, check_token, keep_trust, secret_missing
from caios_federation.settings import CoreWeaveSettings
from caios_testbed.coreweave.app import Options
from component.coreweave.world import World, organization

LIMITED = "CW-SECRET-limited-marker-5f0c"
ISSUER = builders.ISSUER
IAM = "https://coreweave.com/iam"
OBSERVED = builders.parsed_federation(trustManagement="Observed")
MANAGED = builders.parsed_federation(trustManagement="Managed")
VALUES = f"name: cks-d185efff, Issuer URL: {ISSUER}, Client ID (Audience): {ISSUER}"
SETTINGS = CoreWeaveSettings(attempts=1, timeout_seconds=5, requests_per_second=10_000)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    options = Options(limited_api_tokens=(LIMITED,))
    with organization(tmp_path_factory.mktemp("coreweave"), options) as here:
        yield here


@pytest.fixture
def world(emulator: World) -> World:
    assert emulator.call("POST", "/testbed/reset").status == 200
    return emulator


@contextlib.asynccontextmanager
async def holder_of(token: str, url: str) -> AsyncIterator[Organization]:
    async def read() -> SecretStr:
        return SecretStr(token)

    async with connect(SETTINGS) as coreweave:
        yield coreweave.organization(url, read)


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Organization]:
    async with holder_of(world.emulator.api_token, world.emulator.url) as api:
        yield api


@pytest.fixture
async def limited(world: World) -> AsyncIterator[Organization]:
    async with holder_of(LIMITED, world.emulator.url) as api:
        yield api


def registered(world: World) -> dict[str, tuple[str, str, bool]]:
    """Return issuer, audience and whether it is active, by name."""
    configs = world.connect("ListOIDCConfigs", {}).json.get("configs", [])
    return {
        config["name"]: (config["issuerUrl"], config["audience"], "deactivatedAt" not in config)
        for config in configs
    }


def register(world: World, name: str, issuer: str, audience: str, **fields: Any) -> None:  # noqa: ANN401  # any JSON
    body = {"name": name, "issuerUrl": issuer, "audience": audience, **fields}
    assert world.connect("CreateOIDCConfig", body).status == 200


def changes(world: World) -> list[str]:
    """Return the operations that changed OIDC configurations, as the emulator saw them."""
    return [
        entry["operation"]
        for entry in world.requests()
        if entry["operation"] in {"CreateOIDCConfig", "UpdateOIDCConfig", "DeleteOIDCConfig"}
    ]


# The API token ----------------------------------------------------------------------------------


async def test_a_token_that_coreweave_knows_is_valid(admin: Organization) -> None:
    assert await check_token(admin) == Finding(
        Status.TRUE, Reason.VALID, "CoreWeave knows the API token."
    )


async def test_a_token_that_it_does_not_know_is_told_with_where_to_put_another(
    world: World,
) -> None:
    async with holder_of("CW-SECRET-wrong-marker-77", world.emulator.url) as api:
        found = await check_token(api)
    assert (found.status, found.reason) == (Status.FALSE, Reason.UNAUTHORIZED)
    assert "key 'token' of the Secret that spec.apiTokenSecretName names" in found.message
    assert "marker" not in found.message


TROUBLES: list[dict[str, object]] = [
    {"status": 500},
    {"status": 503, "body": "echo-token"},
    {"status": 200, "body": "garbage"},
    {"status": 200, "body": "empty"},
    {"body": "truncated"},
    {"dropConnection": True},
]
LIMITS: list[dict[str, object]] = [{"status": 429}, {"status": 429, "retryAfterSeconds": 60}]


async def test_trouble_is_unknown_in_the_same_words_whatever_it_is(
    world: World, admin: Organization
) -> None:
    tokens, trusts = set(), set()
    for trouble in TROUBLES:
        world.inject(trouble)
        tokens.add(await check_token(admin))
        trusts.add(await keep_trust(admin, MANAGED, ISSUER))
    world.inject()
    (token,), (trust,) = tokens, trusts
    assert (token.status, token.reason) == (Status.UNKNOWN, Reason.API_UNAVAILABLE)
    assert "spec.endpoints.api" in token.message
    assert (trust.finding.status, trust.finding.reason) == (token.status, token.reason)
    assert not trust.changed


async def test_a_limit_is_no_trouble_to_look_into_and_said_in_the_same_words_each_time(
    world: World, admin: Organization
) -> None:
    tokens, trusts = set(), set()
    for limit in [*LIMITS, *LIMITS]:
        world.inject(limit)
        tokens.add(await check_token(admin))
        trusts.add((await keep_trust(admin, MANAGED, ISSUER)).finding)
    world.inject()
    (token,), (trust,) = tokens, trusts
    for finding in (token, trust):
        assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.API_UNAVAILABLE)
        assert finding.message.startswith("CoreWeave's API wants fewer requests, so it is not ")
        assert finding.message.endswith("; it is asked again by itself")


async def test_a_refused_whoami_is_told_as_a_right_that_is_missing(
    world: World, admin: Organization
) -> None:
    world.inject({"operation": "WhoAmI", "status": 403, "body": "echo-token"})
    found = await check_token(admin)
    assert (found.status, found.reason) == (Status.FALSE, Reason.PERMISSION_DENIED)
    assert world.emulator.api_token not in found.message


async def test_an_address_that_is_not_the_apis_is_told_with_its_field(world: World) -> None:
    token = world.emulator.api_token
    async with holder_of(token, f"{world.emulator.url}/elsewhere") as api:
        found = await check_token(api)
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.API_UNAVAILABLE)
    assert found.message.startswith("spec.endpoints.api does not lead to CoreWeave's API")


async def test_an_address_that_tokens_must_not_go_to_is_not_blamed_on_coreweave() -> None:
    async with holder_of("planted", "http://api.example.com") as api:
        token = await check_token(api)
        trust = (await keep_trust(api, MANAGED, ISSUER)).finding
    assert (token.status, token.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "sent nowhere" in token.message
    assert "spec.endpoints.api: 'http://api.example.com' would show tokens" in token.message
    assert (trust.status, trust.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "APITokenValid" in trust.message


async def no_token() -> SecretStr:
    raise TokenMissing("Secret ops/coreweave does not exist")


async def test_a_token_that_is_not_there_is_left_to_whoever_reads_the_secret(
    world: World,
) -> None:
    async with connect(SETTINGS) as coreweave:
        api = coreweave.organization(world.emulator.url, no_token)
        with pytest.raises(TokenMissing, match="Secret ops/coreweave does not exist"):
            await check_token(api)
        found = (await keep_trust(api, MANAGED, ISSUER)).finding
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "APITokenValid" in found.message


async def unreadable_token() -> SecretStr:
    raise TokenUnreadable("Secret ops/coreweave cannot be read: GET: 401")


async def test_a_token_that_the_api_server_does_not_tell_is_not_blamed_on_coreweave(
    world: World,
) -> None:
    async with connect(SETTINGS) as coreweave:
        api = coreweave.organization(world.emulator.url, unreadable_token)
        token = await check_token(api)
        trust = (await keep_trust(api, MANAGED, ISSUER)).finding
    assert (token.status, token.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert token.message.startswith("The API server does not let the Secret")
    assert (trust.status, trust.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "APITokenValid" in trust.message


def test_a_missing_secret_is_told_with_namespace_name_and_key() -> None:
    assert secret_missing("ops", "coreweave", "Secret ops/coreweave does not exist") == Finding(
        Status.FALSE,
        Reason.SECRET_NOT_FOUND,
        "spec.apiTokenSecretName: Secret ops/coreweave does not exist; put a CoreWeave API token "
        "into key 'token' of Secret ops/coreweave",
    )


# Trust, observed --------------------------------------------------------------------------------


async def test_what_is_registered_is_seen(world: World, admin: Organization) -> None:
    register(world, "cluster", ISSUER, ISSUER)
    outcome = await keep_trust(admin, OBSERVED, ISSUER)
    assert outcome.finding.reason is Reason.REGISTERED
    assert not outcome.changed


async def test_what_is_missing_is_told_and_left_to_people(
    world: World, admin: Organization
) -> None:
    register(world, "cluster", f"{ISSUER}/", ISSUER)
    outcome = await keep_trust(admin, OBSERVED, ISSUER)
    assert outcome.finding.reason is Reason.NOT_REGISTERED
    assert VALUES in outcome.finding.message
    assert CONSOLE in outcome.finding.message
    assert "'cluster' is not it" in outcome.finding.message
    assert changes(world) == ["CreateOIDCConfig"]  # ours, above


async def test_the_values_that_are_told_are_those_that_help(
    world: World, admin: Organization
) -> None:
    """A person enters into the Console what the message says."""
    message = (await keep_trust(admin, OBSERVED, ISSUER)).finding.message
    _, _, values = message.partition("name: ")
    name, _, values = values.partition(", Issuer URL: ")
    issuer, _, values = values.partition(", Client ID (Audience): ")
    audience, _, _ = values.partition("; ")
    register(world, name, issuer, audience)
    assert (await keep_trust(admin, OBSERVED, ISSUER)).finding.reason is Reason.REGISTERED


# Trust, managed ---------------------------------------------------------------------------------


async def test_what_is_missing_is_created_once(world: World, admin: Organization) -> None:
    with structlog.testing.capture_logs() as lines:
        first = await keep_trust(admin, MANAGED, ISSUER)
        again = await keep_trust(admin, MANAGED, ISSUER)
    assert first.finding.reason is Reason.REGISTERED
    assert first.finding == again.finding
    assert (first.changed, again.changed) == (True, False)
    assert registered(world) == {"cks-d185efff": (ISSUER, ISSUER, True)}
    assert changes(world) == ["CreateOIDCConfig"]
    assert [(line["event"], line["name"]) for line in lines] == [
        ("OIDC configuration created", "cks-d185efff")
    ]


async def test_who_made_it_is_written_into_it(world: World, admin: Organization) -> None:
    await keep_trust(admin, MANAGED, ISSUER)
    (config,) = world.connect("ListOIDCConfigs", {}).json["configs"]
    assert config["description"] == "Kept by caios-federation for StorageFederation default"


@pytest.mark.parametrize(
    "spoilt",
    [
        (ISSUER, IAM, True),
        (f"{ISSUER}/", ISSUER, True),
        (ISSUER, ISSUER, False),
        (f"{ISSUER}/", IAM, False),
    ],
)
async def test_what_somebody_spoilt_is_repaired(
    world: World, admin: Organization, spoilt: tuple[str, str, bool]
) -> None:
    issuer, audience, active = spoilt
    register(world, "cks-d185efff", issuer, audience, active=active)
    with structlog.testing.capture_logs() as lines:
        outcome = await keep_trust(admin, MANAGED, ISSUER)
    assert outcome == TrustOutcome(outcome.finding, changed=True)
    assert outcome.finding.reason is Reason.REGISTERED
    assert registered(world) == {"cks-d185efff": (ISSUER, ISSUER, True)}
    assert changes(world)[1:] == ["UpdateOIDCConfig"]
    assert [line["event"] for line in lines] == ["OIDC configuration repaired"]


async def test_an_administrators_own_is_never_changed(world: World, admin: Organization) -> None:
    register(world, "cluster", ISSUER, IAM)
    register(world, "old", f"{ISSUER}/", ISSUER)
    before = registered(world)
    assert (await keep_trust(admin, MANAGED, ISSUER)).finding.reason is Reason.REGISTERED
    assert registered(world) == before | {"cks-d185efff": (ISSUER, ISSUER, True)}


async def test_what_an_administrator_deactivated_stays_so(
    world: World, admin: Organization
) -> None:
    register(world, "cluster", ISSUER, ISSUER, active=False)
    outcome = await keep_trust(admin, MANAGED, ISSUER)
    assert outcome.finding.reason is Reason.INACTIVE
    assert "left alone" in outcome.finding.message
    assert registered(world) == {"cluster": (ISSUER, ISSUER, False)}


async def test_two_audiences_of_a_cluster_do_not_fight(world: World, admin: Organization) -> None:
    custom = builders.parsed_federation(trustManagement="Managed", audience=IAM)
    outcomes = [await keep_trust(admin, wish, ISSUER) for wish in (MANAGED, custom) * 2]
    assert [outcome.changed for outcome in outcomes] == [True, True, False, False]
    assert set(registered(world).values()) == {(ISSUER, ISSUER, True), (ISSUER, IAM, True)}


# Trust, where it cannot be kept -----------------------------------------------------------------


def refused(finding: Finding) -> str:
    """Return what is said behind the values that are to be entered by hand."""
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.REGISTRATION_FAILED)
    head, found, tail = finding.message.partition(f": {VALUES}; ")
    assert found, finding.message
    assert CONSOLE in tail
    return f"{head}: {tail}"


@pytest.mark.parametrize("federation", [OBSERVED, MANAGED])
async def test_a_right_that_is_missing_is_named(
    limited: Organization, federation: Federation
) -> None:
    told = refused((await keep_trust(limited, federation, ISSUER)).finding)
    assert told.startswith("This OIDC configuration is needed and could not be looked up: ")
    assert "give its user the roles IAM Admin and Object Storage Admin" in told


async def test_a_token_that_is_not_known_points_to_its_condition(world: World) -> None:
    async with holder_of("CW-SECRET-wrong-marker-77", world.emulator.url) as api:
        told = refused((await keep_trust(api, MANAGED, ISSUER)).finding)
    assert "as the condition APITokenValid says" in told
    assert "marker" not in told


@pytest.mark.parametrize("federation", [OBSERVED, MANAGED])
async def test_an_organization_with_the_console_alone_is_told_what_to_do_there(
    world: World, admin: Organization, federation: Federation
) -> None:
    world.set(oidcConfigurationApi=False)
    told = refused((await keep_trust(admin, federation, ISSUER)).finding)
    assert "CoreWeave's API does not offer it" in told
    assert told.endswith("set spec.trustManagement to Unmanaged")


@pytest.mark.parametrize(
    ("operation", "what"), [("CreateOIDCConfig", "created"), ("UpdateOIDCConfig", "repaired")]
)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"status": 403}, "the roles IAM Admin and Object Storage Admin"),
        ({"status": 400}, "CoreWeave refuses it (CoreWeave API: "),
        ({"status": 409}, "CoreWeave refuses it (CoreWeave API: "),
    ],
)
async def test_a_change_that_is_refused_is_told_with_the_values(
    world: World,
    admin: Organization,
    operation: str,
    what: str,
    fault: dict[str, object],
    why: str,
) -> None:
    if what == "repaired":
        register(world, "cks-d185efff", ISSUER, IAM)
    world.inject({"operation": operation, **fault})
    outcome = await keep_trust(admin, MANAGED, ISSUER)
    told = refused(outcome.finding)
    assert not outcome.changed
    assert told.startswith(f"This OIDC configuration is needed and could not be {what}: ")
    assert why in told


async def test_an_answer_that_is_lost_is_made_up_for_by_the_next_look(
    world: World, admin: Organization
) -> None:
    lost = {"operation": "CreateOIDCConfig", "stage": "after", "dropConnection": True, "count": 1}
    world.inject(lost)
    first = await keep_trust(admin, MANAGED, ISSUER)
    again = await keep_trust(admin, MANAGED, ISSUER)
    assert first.finding.reason is Reason.API_UNAVAILABLE
    assert again.finding.reason is Reason.REGISTERED
    assert registered(world) == {"cks-d185efff": (ISSUER, ISSUER, True)}
