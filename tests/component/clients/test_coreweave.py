"""Every operation of the client, against the emulator."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from caios_federation.clients import errors
from caios_federation.core.trust import OIDCConfiguration
from caios_testbed.coreweave.app import Options
from component.clients.coreweave import POLICY, STATEMENT, client, owner_of
from component.coreweave.world import ISSUER, MINT, OTHER_KEY, World, organization, token

LIMITED = "CW-SECRET-of-somebody-without-rights"
AUDIENCE = "https://coreweave.com/iam"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give an organization that trusts nobody and has no policy."""
    options = Options(proxy=("127.0.0.1", 0), limited_api_tokens=(LIMITED,))
    with organization(tmp_path, options) as world:
        yield world


async def test_a_known_token_is_known(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.whoami()


async def test_an_unknown_token_is_told_apart(world: World) -> None:
    async with client(world.emulator.url, "CW-SECRET-nobodys") as it:
        with pytest.raises(errors.Unauthenticated, match=r"^CoreWeave API: WhoAmI: 401 "):
            await it.api.whoami()


async def test_the_token_is_asked_for_before_every_request(world: World) -> None:
    tokens = iter(["CW-SECRET-the-old-one", world.emulator.api_token])

    async def rotating() -> SecretStr:
        return SecretStr(next(tokens))

    async with client(world.emulator.url) as it:
        api = it.coreweave.organization(world.emulator.url, rotating)
        with pytest.raises(errors.Unauthenticated):
            await api.whoami()
        await api.whoami()


async def test_a_trailing_slash_of_the_endpoint_does_no_harm(world: World) -> None:
    async with client(f"{world.emulator.url}/", world.emulator.api_token) as it:
        await it.api.whoami()


async def test_a_policy_that_is_written_is_listed_as_it_was_written(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        assert await it.api.policies() == {}
        await it.api.ensure_policy(POLICY)
        assert await it.api.policies() == {POLICY["name"]: POLICY}


async def test_a_policy_is_replaced_as_a_whole(world: World) -> None:
    other = {**POLICY, "statements": [{**STATEMENT, "name": "other"}]}
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.ensure_policy(POLICY)
        await it.api.ensure_policy(other)
        assert await it.api.policies() == {POLICY["name"]: other}


async def test_a_policy_that_the_service_refuses_says_why(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        with pytest.raises(errors.Rejected, match=r"EnsureAccessPolicy: 400 .*statements"):
            await it.api.ensure_policy({**POLICY, "statements": []})


@pytest.mark.parametrize("name", ["cks-1-a", "with blank", "ä?x#y", "100%20"])
async def test_a_policy_of_any_name_is_deleted_and_no_other(world: World, name: str) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.ensure_policy(POLICY)
        await it.api.ensure_policy({**POLICY, "name": name})
        await it.api.delete_policy(name)
        assert list(await it.api.policies()) == [POLICY["name"]]


async def test_deleting_a_policy_that_is_gone_is_done(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.delete_policy("cks-1-a")
    assert [entry["status"] for entry in world.requests()] == [404]


async def test_a_right_that_is_missing_is_told_apart(world: World) -> None:
    async with client(world.emulator.url, LIMITED) as it:
        with pytest.raises(errors.PermissionDenied, match="ListAccessPolicies: 403 "):
            await it.api.policies()


async def test_an_issuer_is_trusted_with_an_audience(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        made = await it.api.create_oidc_configuration("cluster", ISSUER, AUDIENCE, "by a test")
        assert made == OIDCConfiguration(made.uid, "cluster", ISSUER, AUDIENCE, active=True)
        assert await it.api.oidc_configurations() == [made]


async def test_a_configuration_can_be_repaired_in_every_field(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        made = await it.api.create_oidc_configuration("cluster", ISSUER, AUDIENCE, "by a test")
        off = replace(made, active=False)
        assert await it.api.update_oidc_configuration(off) == off
        wanted = OIDCConfiguration(made.uid, "other", f"{ISSUER}/2", "another", active=True)
        assert await it.api.update_oidc_configuration(wanted) == wanted
        assert await it.api.oidc_configurations() == [wanted]
    (kept,) = world.connect("ListOIDCConfigs", {}).json["configs"]
    assert kept["description"] == "by a test"


async def test_a_pair_that_is_trusted_already_is_a_conflict(world: World) -> None:
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.create_oidc_configuration("cluster", ISSUER, AUDIENCE, "")
        with pytest.raises(errors.WriteConflict, match="CreateOIDCConfig: 409 "):
            await it.api.create_oidc_configuration("other", ISSUER, AUDIENCE, "")


async def test_a_configuration_that_is_gone_is_not_found(world: World) -> None:
    gone = OIDCConfiguration("no-such", "cluster", ISSUER, AUDIENCE, active=True)
    async with client(world.emulator.url, world.emulator.api_token) as it:
        with pytest.raises(errors.NotFound, match="404 OIDC config not found"):
            await it.api.update_oidc_configuration(gone)


async def test_an_api_without_configurations_leads_to_the_console(world: World) -> None:
    world.set(oidcConfigurationApi=False)
    async with client(world.emulator.url, world.emulator.api_token) as it:
        with pytest.raises(errors.NotFound, match="enter them in the Console: https://console"):
            await it.api.oidc_configurations()


async def test_a_good_token_is_exchanged(world: World) -> None:
    world.trust()
    world.grant(MINT)
    async with client(world.emulator.url) as it:
        expires = await it.coreweave.exchange(it.credentials_uri, SecretStr(token()))
    left = expires - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: token(OTHER_KEY),
        lambda: token(aud=["another"]),
        lambda: token(iss=f"{ISSUER}/"),
        lambda: token(exp=int(time.time()) - 3600),
    ],
    ids=["signature", "audience", "issuer", "expired"],
)
async def test_a_token_that_is_not_accepted_is_rejected(
    world: World, bad: Callable[[], str]
) -> None:
    world.trust()
    world.grant(MINT)
    async with client(world.emulator.url) as it:
        with pytest.raises(errors.Rejected, match=r"400 .*Invalid token"):
            await it.coreweave.exchange(it.credentials_uri, SecretStr(bad()))


async def test_a_mint_that_no_policy_allows_is_denied(world: World) -> None:
    world.trust()
    async with client(world.emulator.url) as it:
        with pytest.raises(errors.PermissionDenied, match="403 permission denied"):
            await it.coreweave.exchange(it.credentials_uri, SecretStr(token()))


async def test_tls_is_verified_with_the_ca_bundle(world: World) -> None:
    emulator = world.emulator
    world.trust()
    world.grant(MINT)
    async with client(emulator.https_url, emulator.api_token, ca_bundle=emulator.ca_file) as it:
        await it.api.whoami()
        await it.coreweave.exchange(it.credentials_uri, SecretStr(token()))


async def test_an_unknown_ca_is_not_trusted_and_gets_no_token(world: World) -> None:
    async with client(world.emulator.https_url, world.emulator.api_token) as it:
        with pytest.raises(errors.Unavailable, match=r"not trusted; set coreweave\.ca_bundle"):
            await it.api.whoami()
    assert world.requests() == []


async def test_a_certificate_of_another_host_is_not_trusted(world: World) -> None:
    url = world.emulator.https_url.replace("localhost", "other.localhost")
    ca_bundle = world.emulator.ca_file
    async with client(url, world.emulator.api_token, ca_bundle=ca_bundle) as it:
        with pytest.raises(errors.Unavailable):
            await it.api.whoami()
    assert world.requests() == []


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
async def test_a_ca_bundle_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(errors.Rejected, match=r"coreweave\.ca_bundle: .*ca\.pem cannot be used"):
        async with client("https://localhost", ca_bundle=file):
            pass


async def test_the_environment_may_name_a_proxy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = world.emulator
    monkeypatch.setenv("HTTPS_PROXY", emulator.proxy_url)
    async with client("https://api.coreweave.com", ca_bundle=emulator.ca_file) as it:
        api = it.coreweave.organization("https://api.coreweave.com", owner_of(emulator.api_token))
        await api.whoami()
    assert [entry["host"] for entry in world.requests()] == ["api.coreweave.com"]


async def test_a_token_for_this_machine_is_shown_to_no_proxy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with client(world.emulator.url, world.emulator.api_token) as it:
        await it.api.whoami()


async def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:planted@proxy:1080")
    with pytest.raises(errors.Rejected, match=r"^HTTPS_PROXY: not the URL of a proxy") as caught:
        async with client("https://localhost"):
            pass
    assert "planted" not in str(caught.value)
