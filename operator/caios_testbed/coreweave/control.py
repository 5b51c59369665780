"""The operations of the control API, apart from the exchange, and where they are found.

Source: CoreWeave docs, AI Object Storage API reference; for OIDC configurations the public source
of the Terraform provider. Schemas marked as ours are not documented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from caios_testbed.coreweave import exchange
from caios_testbed.coreweave.calls import Call, Operation
from caios_testbed.coreweave.errors import ApiError, Code
from caios_testbed.coreweave.policies import parse_policy

OBJECT_SERVICE = "cwobject.v1.CWObject"
FEDERATION_SERVICE = "coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"


async def list_access_policies(call: Call) -> dict[str, Any]:
    """Return every organization policy, flat, as written last."""
    call.require("cwobject:ListAccessPolicy")
    return {"policies": [policy.document() for policy in call.state.policies.current.values()]}


async def ensure_access_policy(call: Call) -> dict[str, Any]:
    """Create or replace a whole policy. The empty answer is ours."""
    call.require("cwobject:EnsureAccessPolicy")
    call.state.policies.ensure(parse_policy(call.message.get("policy")), call.state.clock.now())
    return {}


async def delete_access_policy(call: Call) -> dict[str, Any]:
    """Remove a policy by name."""
    call.require("cwobject:DeleteAccessPolicy")
    call.state.policies.delete(call.text("name"), call.state.clock.now())
    return {}


async def list_access_keys(call: Call) -> dict[str, Any]:
    """Return every key without secrets. The schema is ours."""
    call.require("cwobject:ListAccessKeyInfo")
    now = call.state.clock.now()
    return {"accessKeyInfos": [key.info(now) for key in call.state.keys]}


async def get_access_key(call: Call) -> dict[str, Any]:
    """Return one key without its secret. The schema is ours."""
    call.require("cwobject:ListAccessKeyInfo")
    key = call.state.keys.get(call.text("accessKeyId"))
    return {"accessKeyInfo": key.info(call.state.clock.now())}


async def revoke_access_key(call: Call) -> dict[str, Any]:
    """End one key. Its holder has no API token, and so cannot."""
    call.require("cwobject:RevokeAccessKeyByAccessKey")
    call.state.keys.revoke(call.text("accessKeyId"))
    return {}


async def revoke_principal(call: Call) -> dict[str, Any]:
    """End all keys of a principal. Field name and action are ours."""
    call.require("cwobject:RevokeAccessKeysByPrincipal")
    call.state.keys.revoke_principal(call.text("principalName"))
    return {}


async def auth_can_i(call: Call) -> dict[str, Any]:
    """Say what the caller may do, never what others may. The schema is ours."""
    caller = call.caller()
    lists = {name: call.message.get(name) for name in ("actions", "resources")}
    for name, values in lists.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ApiError(Code.INVALID_ARGUMENT, f"{name}: must be a list of strings")
    results = []
    for action in lists["actions"] or ():
        for resource in lists["resources"] or ():
            decision = call.may(caller, action, resource)
            results.append(
                {
                    "action": action,
                    "resource": resource,
                    "allowed": decision.allowed,
                    "reason": decision.reason,
                }
            )
    return {"results": results}


async def whoami(call: Call) -> dict[str, Any]:
    """Name organization and owner of the API token."""
    return {"principal": {"orgUid": call.state.org_uid, "uid": call.caller().uid}}


async def not_emulated(call: Call) -> dict[str, Any]:
    """Refuse an operation that the service has and the emulator has not."""
    raise ApiError(Code.UNIMPLEMENTED, f"{call.entry.operation} is not emulated")


async def create_configuration(call: Call) -> dict[str, Any]:
    """Trust an issuer."""
    call.administrator()
    message = _snake(call.message)
    return {"config": call.state.configurations.create(message, call.state.clock.now()).document()}


async def get_configuration(call: Call) -> dict[str, Any]:
    """Return one configuration."""
    call.administrator()
    return {"config": call.state.configurations.get(call.message.get("uid")).document()}


async def list_configurations(call: Call) -> dict[str, Any]:
    """Return all configurations."""
    call.administrator()
    return {"configs": [each.document() for each in call.state.configurations]}


async def update_configuration(call: Call) -> dict[str, Any]:
    """Change the fields that the update mask names."""
    call.administrator()
    message = _snake(call.message)
    changed = call.state.configurations.update(
        message.get("uid"), _mask(message.get("update_mask")), message, call.state.clock.now()
    )
    return {"config": changed.document()}


async def delete_configuration(call: Call) -> dict[str, Any]:
    """Trust an issuer no longer."""
    call.administrator()
    call.state.configurations.delete(call.message.get("uid"))
    return {}


@dataclass(frozen=True, slots=True)
class Route:
    """A place in REST; groups of the pattern become fields of the message."""

    method: str
    path: re.Pattern[str]
    operation: str


OPERATIONS: dict[str, Operation] = {
    "CreateAccessKeyFromContainerCreds": exchange.from_container_credentials,
    "CreateAccessKeyFromOIDC": exchange.from_oidc,
    "CreateAccessKeyFromApiToken": exchange.from_api_token,
    "CreateAccessKeyFromJWT": exchange.from_jwt,
    "CreateAccessKeyFromSAML": not_emulated,
    "ListAccessKeyInfo": list_access_keys,
    "GetAccessKeyInfo": get_access_key,
    "RevokeAccessKeyByAccessKey": revoke_access_key,
    "RevokeAccessKeysByPrincipal": revoke_principal,
    "AuthCanI": auth_can_i,
    "ListAccessPolicies": list_access_policies,
    "EnsureAccessPolicy": ensure_access_policy,
    "DeleteAccessPolicy": delete_access_policy,
    "SetBucketSettings": not_emulated,
    "ListBucketInfo": not_emulated,
    "GetBucketInfo": not_emulated,
    "SetOrganizationSettings": not_emulated,
    "WhoAmI": whoami,
    "CreateOIDCConfig": create_configuration,
    "GetOIDCConfig": get_configuration,
    "ListOIDCConfigs": list_configurations,
    "UpdateOIDCConfig": update_configuration,
    "DeleteOIDCConfig": delete_configuration,
}
"""Every operation by the name of its RPC; the names that fault rules and the log use."""

FEDERATION_OPERATIONS = frozenset(name for name in OPERATIONS if "OIDCConfig" in name)
OBJECT_OPERATIONS = frozenset(OPERATIONS) - FEDERATION_OPERATIONS - {"WhoAmI"}

ROUTES = tuple(
    Route(method, re.compile(path), operation)
    for method, path, operation in (
        (
            "GET",
            "/v1/cwobject/temporary-credentials/oidc/(?P<orgId>[^/]+)",
            "CreateAccessKeyFromContainerCreds",
        ),
        ("POST", "/v1/cwobject/temporary-credentials/oidc", "CreateAccessKeyFromOIDC"),
        ("POST", "/v1/cwobject/temporary-credentials/saml", "CreateAccessKeyFromSAML"),
        ("GET", "/v1/cwobject/temporary-credentials/api-token", "CreateAccessKeyFromApiToken"),
        ("POST", "/v1/cwobject/access-key", "CreateAccessKeyFromJWT"),
        ("GET", "/v1/cwobject/access-key", "ListAccessKeyInfo"),
        ("GET", "/v1/cwobject/access-key/(?P<accessKeyId>[^/]+)", "GetAccessKeyInfo"),
        ("POST", "/v1/cwobject/revoke-access-key/access-key", "RevokeAccessKeyByAccessKey"),
        ("POST", "/v1/cwobject/revoke-access-key/principal", "RevokeAccessKeysByPrincipal"),
        ("POST", "/v1/cwobject/auth/can-i", "AuthCanI"),
        ("GET", "/v1/cwobject/access-policy", "ListAccessPolicies"),
        ("POST", "/v1/cwobject/access-policy", "EnsureAccessPolicy"),
        ("DELETE", "/v1/cwobject/access-policy/(?P<name>[^/]+)", "DeleteAccessPolicy"),
        ("PUT", "/v1/cwobject/bucket/settings", "SetBucketSettings"),
        ("GET", "/v1/cwobject/bucket-info", "ListBucketInfo"),
        ("GET", "/v1/cwobject/bucket-info/(?P<name>[^/]+)", "GetBucketInfo"),
        ("PUT", "/v1/cwobject/organization/settings", "SetOrganizationSettings"),
        ("GET", "/v1beta1/auth/whoami", "WhoAmI"),
    )
)


def _snake(message: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON object
    """Return a message with protobuf's own field names; JSON may use either."""
    return {re.sub(r"([A-Z])", r"_\1", name).lower(): value for name, value in message.items()}


def _mask(value: object) -> tuple[str, ...]:
    """Return the paths of a field mask, which protobuf's JSON writes as one string."""
    if isinstance(value, dict):
        value = value.get("paths")
    paths = value.split(",") if isinstance(value, str) and value else value
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return ()
    return tuple(re.sub(r"([A-Z])", r"_\1", path.strip()).lower() for path in paths)
