"""From a workload's JWT to S3 keys: both forms of the credential exchange, and the API token's.

Source: CoreWeave docs, API reference of CreateAccessKeyFromContainerCreds, CreateAccessKeyFromOIDC,
CreateAccessKeyFromApiToken and CreateAccessKeyFromJWT. The field names differ between them: that
is how the service is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from caios_testbed.coreweave.calls import Call
from caios_testbed.coreweave.errors import ApiError, Code, TokenRejectedError
from caios_testbed.coreweave.evaluation import Request, decide_organization
from caios_testbed.coreweave.issuers import IssuerUnavailableError
from caios_testbed.coreweave.keys import AccessKey
from caios_testbed.coreweave.tokens import peek, verify

LONGEST_DURATION = 43_200
MOST_ATTRIBUTES = 15
ATTRIBUTE_NAME = re.compile(r"(?!cw-|role$|groups$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ATTRIBUTE_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


async def from_container_credentials(call: Call) -> dict[str, Any]:
    """GET with the raw JWT as the Authorization header: what AWS SDKs do."""
    token = call.authorization
    scheme, _, rest = token.partition(" ")
    if scheme.lower() == "bearer" and call.state.knobs.accept_bearer_prefix:
        token = rest
    principal = await _authenticate(call, call.text("orgId"), token)
    _authorize(call, principal, "cwobject:CreateAccessKeyOIDC")
    return _container_credentials(call, principal)


async def from_oidc(call: Call) -> dict[str, Any]:
    """POST with the JWT in the body; the caller chooses the lifetime."""
    duration = _duration(call)
    attributes = _attributes(call.message.get("attributes"))
    principal = await _authenticate(call, call.text("orgId"), call.text("oidcToken"))
    if duration is None and not call.state.knobs.zero_duration_is_permanent:
        raise ApiError(
            Code.INVALID_ARGUMENT, f"durationSeconds must be 1 to {LONGEST_DURATION} here"
        )
    _authorize(call, principal, "cwobject:CreateAccessKeyOIDC")
    return _key_document(_issue(call, principal, duration, attributes))


async def from_api_token(call: Call) -> dict[str, Any]:
    """GET with an API token: the shape of the container credentials."""
    principal = call.require("cwobject:CreateAccessKey").principal
    return _container_credentials(call, principal)


async def from_jwt(call: Call) -> dict[str, Any]:
    """POST with an API token; a duration of 0 makes a permanent key."""
    principal = call.require("cwobject:CreateAccessKey").principal
    duration = _duration(call)
    attributes = _attributes(call.message.get("attributes"))
    return _key_document(_issue(call, principal, duration, attributes))


async def _authenticate(call: Call, organization: str, token: str) -> str:
    """Return the principal of a good token. Raises TokenRejectedError for any other."""
    state = call.state
    claimed = peek(token)
    if organization != state.organization:
        raise TokenRejectedError("organization not known")
    trusted = [
        configuration
        for configuration in state.configurations
        if configuration.active and configuration.issuer_url == claimed.issuer
    ]
    if not trusted:
        raise TokenRejectedError(f"no active OIDC configuration for issuer {claimed.issuer}")
    try:
        keys = await state.issuers.keys(claimed.issuer, claimed.kid)
    except IssuerUnavailableError as error:
        raise TokenRejectedError(f"keys not available: {error}") from error
    now = state.clock.now().timestamp()
    principal = verify(token, keys, trusted, now, state.knobs.token_skew_seconds)
    call.entry.principal = principal
    return principal


def _authorize(call: Call, principal: str, action: str) -> None:
    state = call.state
    decision = decide_organization(
        state.effective_policies(),
        Request(principal, state.organization, action, "*"),
        denies=state.knobs.deny_applies_to_mint,
    )
    call.note(decision)
    if not decision.allowed:
        # The real body beyond "permission denied" is not known; the reason is in the request log.
        raise ApiError(Code.PERMISSION_DENIED, "permission denied")


def _issue(
    call: Call, principal: str, lifetime: int | None, attributes: Mapping[str, str]
) -> AccessKey:
    return call.state.keys.issue(
        principal,
        call.state.clock.now(),
        lifetime,
        attributes=attributes,
        with_token=call.state.knobs.session_tokens,
    )


def _container_credentials(call: Call, principal: str) -> dict[str, Any]:
    key = _issue(call, principal, call.state.knobs.container_key_lifetime_seconds, {})
    return {
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret,
        "Token": key.token,
        "Expiration": key.expiry,
        "attributes": {},
        "multiAttributes": {},
    }


def _key_document(key: AccessKey) -> dict[str, Any]:
    return {
        "accessKeyId": key.access_key_id,
        "secretKey": key.secret,
        "principalName": key.principal,
        "expiry": key.expiry,
        "attributes": dict(key.attributes),
    }


def _duration(call: Call) -> int | None:
    """Return `durationSeconds`, `None` for 0. Raises ApiError with INVALID_ARGUMENT."""
    value = call.message.get("durationSeconds")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_DURATION:
        raise ApiError(
            Code.INVALID_ARGUMENT,
            f"durationSeconds: is required, a number from 0 to {LONGEST_DURATION}",
        )
    return value or None


def _attributes(value: object) -> Mapping[str, str]:
    """Check the attributes that a key is given. The rules are those of the Terraform provider."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MOST_ATTRIBUTES:
        raise ApiError(
            Code.INVALID_ARGUMENT, f"attributes: must be an object of at most {MOST_ATTRIBUTES}"
        )
    for name, text in value.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise ApiError(Code.INVALID_ARGUMENT, f"attributes: name {name!r} is not accepted")
        if not isinstance(text, str) or not ATTRIBUTE_VALUE.fullmatch(text):
            raise ApiError(Code.INVALID_ARGUMENT, f"attributes.{name}: value is not accepted")
    return value
