"""CoreWeave's control API: access policies, OIDC configurations, and the credential exchange.

Operations and shapes: CoreWeave docs, AI Object Storage API reference; those of OIDC
configurations: the public source of CoreWeave's Terraform provider (a Connect service). Fields
that are not known are passed over everywhere; a list with an entry that cannot be read is
refused as a whole, because what is missing in it would be taken for missing at CoreWeave.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from caios_federation.api.objects import Json
from caios_federation.clients.coreweave_http import (
    Answered,
    Http,
    Operation,
    Repeat,
    malformed,
    session,
)
from caios_federation.clients.egress import address
from caios_federation.clients.errors import NotFound
from caios_federation.core.trust import OIDCConfiguration
from caios_federation.settings import CoreWeaveSettings

_LIST: Final = 16 << 20
"""Bytes of a list."""
_POLICIES: Final = "/v1/cwobject/access-policy"
_CONSOLE: Final = (
    "this API does not offer OIDC configurations; enter them in the Console: "
    "https://console.coreweave.com/organization/iam/workload-federation/oidc"
)


def _connect(
    method: str, repeat: Repeat = Repeat.SAME, longest_answer: int = 64 << 10
) -> Operation:
    return Operation(
        method,
        "POST",
        f"/coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService/{method}",
        repeat,
        headers={"Connect-Protocol-Version": "1"},
        longest_answer=longest_answer,
        not_served=_CONSOLE,
    )


WHO_AM_I: Final = Operation("WhoAmI", "GET", "/v1beta1/auth/whoami")
LIST_POLICIES: Final = Operation("ListAccessPolicies", "GET", _POLICIES, longest_answer=_LIST)
ENSURE_POLICY: Final = Operation("EnsureAccessPolicy", "POST", _POLICIES, Repeat.REPLACES)
DELETE_POLICY: Final = Operation("DeleteAccessPolicy", "DELETE", _POLICIES, Repeat.REPLACES)
LIST_CONFIGURATIONS: Final = _connect("ListOIDCConfigs", longest_answer=_LIST)
CREATE_CONFIGURATION: Final = _connect("CreateOIDCConfig", Repeat.CREATES)
UPDATE_CONFIGURATION: Final = _connect("UpdateOIDCConfig")
EXCHANGE: Final = Operation("CreateAccessKeyFromContainerCreds", "GET", "", Repeat.MINTS, scheme="")

Token = Callable[[], Awaitable[SecretStr]]


class Organization:
    """CoreWeave's control API, as the holder of an API token.

    The token is asked for before every request; when it is refused, its owner decides what to do.
    Everything raises ClientError: Unauthenticated, PermissionDenied, RateLimited, Unavailable,
    Malformed, WriteConflict (it exists already), Rejected, BadEndpoint, and NotFound as stated.
    """

    def __init__(self, http: Http, endpoint: str, token: Token, organization_id: str) -> None:
        self._http = http
        self._endpoint = endpoint
        self._token = token
        self._id = organization_id

    async def whoami(self) -> None:
        """Find out whether the token is known."""
        answer = await self._ask(WHO_AM_I)
        if not isinstance(answer.get("principal"), Mapping):
            raise malformed(WHO_AM_I, "an answer without `principal`")

    async def policies(self) -> dict[str, Json]:
        """Return the organization's access policies by name: `version`, `name`, `statements`.

        What is in a statement is as it came.
        """
        answer = await self._ask(LIST_POLICIES)
        found = [_policy(entry) for entry in _entries(LIST_POLICIES, answer, "policies")]
        return {policy["name"]: policy for policy in found}

    async def ensure_policy(self, document: Json) -> None:
        """Create the policy `document` (`version`, `name`, `statements`), or replace all of it."""
        await self._ask(ENSURE_POLICY, {"policy": document})

    async def delete_policy(self, name: str) -> None:
        """Remove a policy; one that is gone already is fine."""
        try:
            await self._ask(DELETE_POLICY, below=f"/{quote(name, safe='')}")
        except NotFound:
            return

    async def oidc_configurations(self) -> list[OIDCConfiguration]:
        """Return what the organization trusts.

        Raises NotFound where the API does not offer it and only the Console does.
        """
        answer = await self._ask(LIST_CONFIGURATIONS, {})
        return [
            _configuration(LIST_CONFIGURATIONS, entry)
            for entry in _entries(LIST_CONFIGURATIONS, answer, "configs")
        ]

    async def create_oidc_configuration(
        self, name: str, issuer_url: str, audience: str, description: str
    ) -> OIDCConfiguration:
        """Trust an issuer. Raises NotFound as oidc_configurations does."""
        body = {
            "name": name,
            "issuerUrl": issuer_url,
            "audience": audience,
            "description": description,
            "active": True,
        }
        answer = await self._ask(CREATE_CONFIGURATION, body)
        return _configuration(CREATE_CONFIGURATION, answer.get("config"))

    async def update_oidc_configuration(self, wanted: OIDCConfiguration) -> OIDCConfiguration:
        """Make the configuration `wanted.uid` say what `wanted` does; its description stays.

        Raises NotFound when it is gone, or as oidc_configurations does.
        """
        body = {
            "uid": wanted.uid,
            "updateMask": "name,issuerUrl,audience,active",
            "name": wanted.name,
            "issuerUrl": wanted.issuer_url,
            "audience": wanted.audience,
            "active": wanted.active,
        }
        answer = await self._ask(UPDATE_CONFIGURATION, body)
        return _configuration(UPDATE_CONFIGURATION, answer.get("config"))

    async def _ask(self, operation: Operation, body: Json | None = None, below: str = "") -> Json:
        url = address(self._endpoint, operation.path + below)
        return await self._http.ask(operation, url, await self._token(), body, whose=self._id)


class CoreWeave:
    """One connection pool and one request rate for everything that is asked of CoreWeave."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def organization(self, endpoint: str, token: Token, organization_id: str = "") -> Organization:
        """Return the API at `endpoint`, an https:// URL, for the holder of `token`.

        Organizations of different ids do not wait for each other's pauses.
        """
        return Organization(self._http, endpoint, token, organization_id)

    async def exchange(self, credentials_uri: str, token: SecretStr) -> datetime:
        """Exchange a ServiceAccount's token as an SDK does, and return when the keys expire.

        The keys are dropped at once. Raises Rejected (the token, its issuer or its audience is not
        accepted), PermissionDenied (no policy lets the identity mint), and other ClientErrors.
        """
        url = address(credentials_uri)  # which ends in the organization
        expires = _expiration(await self._http.ask(EXCHANGE, url, token, whose=url.path))
        if expires is None:
            raise malformed(EXCHANGE, "an answer that holds no credentials as SDKs read them")
        return expires


@asynccontextmanager
async def connect(
    settings: CoreWeaveSettings,
    answered: Answered = lambda _operation, _status, _seconds: None,
) -> AsyncIterator[CoreWeave]:
    """Open the pool. Raises Rejected when the CA bundle or the proxy cannot be used."""
    async with session(settings) as pool:
        yield CoreWeave(Http(pool, settings, answered))


def _entries(operation: Operation, answer: Json, key: str) -> list[Json]:
    """Return the objects of a list; protobuf's JSON leaves out an empty one."""
    entries = answer.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise malformed(operation, f"`{key}` is no list of objects")
    return entries


def _policy(entry: Json) -> Json:
    """Read a policy, which an older form of the list wraps once more."""
    policy = entry["policy"] if isinstance(entry.get("policy"), dict) else entry
    name, version = policy.get("name"), policy.get("version", "")
    statements = policy.get("statements") or []
    if (
        not isinstance(name, str)
        or not name
        or not isinstance(version, str)
        or not isinstance(statements, list)
        or not all(isinstance(statement, dict) for statement in statements)
    ):
        raise malformed(LIST_POLICIES, "an entry of `policies` that is no policy")
    return {"version": version, "name": name, "statements": statements}


def _configuration(operation: Operation, entry: object) -> OIDCConfiguration:
    """Read a configuration. Its JSON may have protobuf's own field names."""
    fields = entry if isinstance(entry, Mapping) else {}
    uid, name, audience = (fields.get(key, "") for key in ("uid", "name", "audience"))
    issuer_url = fields.get("issuerUrl", fields.get("issuer_url"))
    if not (
        isinstance(uid, str)
        and uid
        and isinstance(name, str)
        and isinstance(issuer_url, str)
        and isinstance(audience, str)
    ):
        raise malformed(operation, "an OIDC configuration of an unknown shape")
    ended = fields.get("deactivatedAt", fields.get("deactivated_at"))
    return OIDCConfiguration(uid, name, issuer_url, audience, active=not ended)


def _expiration(credentials: Json) -> datetime | None:
    """Return when credentials expire; None where there is something else than credentials."""
    keys = credentials.get("AccessKeyId"), credentials.get("SecretAccessKey")
    if not all(isinstance(key, str) and key for key in keys):
        return None
    try:
        expires = datetime.fromisoformat(str(credentials.get("Expiration")))
    except ValueError:
        return None
    return expires if expires.tzinfo else None
