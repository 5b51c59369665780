"""StorageFederation: a typed view of `crds/storagefederations.yaml`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Access
from caios_federation.api.objects import Json, Meta, Spec, mapping_of, parse_meta


class PolicyManagement(StrEnum):
    """Whether policies are only rendered into statuses, or applied."""

    RENDERED = "Rendered"
    MANAGED = "Managed"


class TrustManagement(StrEnum):
    """What is done about the OIDC configuration that makes the issuer trusted."""

    UNMANAGED = "Unmanaged"
    OBSERVED = "Observed"
    MANAGED = "Managed"


class Verification(StrEnum):
    """Whether it is proven that credentials are issued."""

    DISABLED = "Disabled"
    ENABLED = "Enabled"


class Endpoints(Spec):
    """Where CoreWeave is reached."""

    api: str = words.DEFAULT_API_ENDPOINT
    lota: str = words.DEFAULT_LOTA_ENDPOINT
    public: str = words.DEFAULT_PUBLIC_ENDPOINT


class GrantRule(Spec):
    """Who may be granted what."""

    name: str
    namespace_selector: dict[str, Any] | None = None
    """As it came. Empty, it matches every namespace; left out, none."""
    buckets: frozenset[str] = frozenset()
    access: frozenset[Access] = frozenset()
    actions: frozenset[str] = frozenset()


class FederationSpec(Spec):
    """What an administrator decides."""

    organization_id: str = Field(alias="organizationID")
    region: str
    issuer_url: str | None = Field(default=None, alias="issuerURL")
    audience: str | None = None
    token_expiration_seconds: int = words.DEFAULT_TOKEN_EXPIRATION
    endpoints: Endpoints = Endpoints()
    api_token_secret_name: str | None = None
    policy_management: PolicyManagement = PolicyManagement.RENDERED
    trust_management: TrustManagement = TrustManagement.UNMANAGED
    verification: Verification = Verification.DISABLED
    grant_rules: tuple[GrantRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Federation:
    """A StorageFederation as last seen."""

    meta: Meta
    spec: FederationSpec
    status: dict[str, Any]


def parse_federation(body: Json) -> Federation:
    """Read a federation as the API server sent it.

    Raises pydantic.ValidationError for one that does not fit this version's schema.
    """
    return Federation(
        meta=parse_meta(body),
        spec=FederationSpec.model_validate(body.get("spec") or {}),
        status=dict(mapping_of(body, "status")),
    )
