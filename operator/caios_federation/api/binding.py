"""FederatedStorageBinding: a typed view of `crds/federatedstoragebindings.yaml`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, ValidationError

from caios_federation.api.objects import Json, Meta, Spec, mapping_of, parse_meta
from caios_federation.api.vocabulary import DEFAULT_FEDERATION


class Injection(StrEnum):
    """Whether Pods of the ServiceAccount are injected."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class Endpoint(StrEnum):
    """Which S3 endpoint clients are configured for."""

    LOTA = "LOTA"
    PUBLIC = "Public"
    CUSTOM = "Custom"


class AddressingStyle(StrEnum):
    """How clients address buckets; AI Object Storage takes virtual-hosted requests only."""

    VIRTUAL = "Virtual"
    PATH = "Path"


class Access(StrEnum):
    """What a grant allows."""

    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    WRITE_ONLY = "WriteOnly"
    FULL_CONTROL = "FullControl"
    CUSTOM = "Custom"


class Listing(StrEnum):
    """Whether a grant lists its buckets. Organization policies cannot bound it to a prefix."""

    WHOLE_BUCKET = "WholeBucket"
    NONE = "None"


class DeletionPolicy(StrEnum):
    """What becomes of the applied policy when the binding goes."""

    DELETE = "Delete"
    RETAIN = "Retain"


class Remediation(StrEnum):
    """What becomes of Pods that missed injection."""

    REPORT = "Report"
    RESTART = "Restart"


class Containers(Spec):
    """Which containers are injected: all, `only` these, or all `except` these."""

    only: frozenset[str] = frozenset()
    except_: frozenset[str] = Field(default=frozenset(), alias="except")


class Client(Spec):
    """S3 client configuration for the Pods."""

    endpoint: Endpoint = Endpoint.LOTA
    endpoint_url: str | None = Field(default=None, alias="endpointURL")
    addressing_style: AddressingStyle = AddressingStyle.VIRTUAL


class Grant(Spec):
    """Access to buckets, or to prefixes of them."""

    name: str
    buckets: frozenset[str]
    prefixes: frozenset[str] = frozenset()
    listing: Listing | None = None
    access: Access
    actions: frozenset[str] = frozenset()


class BindingSpec(Spec):
    """What a user asks for."""

    service_account_name: str
    federation_name: str = DEFAULT_FEDERATION
    audience: str | None = None
    region: str | None = None
    token_expiration_seconds: int | None = None
    injection: Injection = Injection.ENABLED
    containers: Containers = Containers()
    client: Client | None = None
    grants: tuple[Grant, ...] = ()
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    remediation: Remediation = Remediation.REPORT


@dataclass(frozen=True, slots=True)
class Binding:
    """A FederatedStorageBinding as last seen."""

    meta: Meta
    spec: BindingSpec
    status: dict[str, Any]
    ours: bool
    """Made by the controller for an annotated ServiceAccount, and not taken over by a user."""
    invalid: str | None = None
    """Why the spec could not be read. It then claims nothing, and says only what its deletion
    takes."""

    @property
    def usable(self) -> bool:
        """Whether the binding can have its ServiceAccount."""
        return self.invalid is None and not self.meta.deleting

    @property
    def rank(self) -> tuple[bool, bool, str, str]:
        """Sorts the binding that wins its ServiceAccount first.

        A user's comes before one that we made, then the oldest, then the lower uid; last is what
        claims nothing.
        """
        return not self.usable, *self.claim

    @property
    def claim(self) -> tuple[bool, str, str]:
        """Sorts as `rank` does, whether or not a binding is being deleted or can be read."""
        return self.ours, self.meta.created, self.meta.uid


def first_of(*bindings: Binding | None) -> Binding | None:
    """Return which of `bindings`, all naming one ServiceAccount, has it."""
    usable = (binding for binding in bindings if binding is not None and binding.usable)
    return min(usable, key=lambda binding: binding.rank, default=None)


def parse_binding(body: Json, *, ours: bool) -> Binding:
    """Read a binding as the API server sent it.

    One that does not fit this version's schema (it may be older or newer than the CRD that
    validated it) is kept, marked invalid, so that its status can say so.
    """
    raw = body.get("spec") or {}
    invalid = None
    try:
        spec = BindingSpec.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        invalid = f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        spec = _for_deletion(mapping_of(body, "spec"))
    return Binding(
        meta=parse_meta(body),
        spec=spec,
        status=dict(mapping_of(body, "status")),
        ours=ours,
        invalid=invalid,
    )


def _for_deletion(raw: Json) -> BindingSpec:
    """Return of a spec that cannot be read whose it is and what becomes of its policy."""
    account, federation = raw.get("serviceAccountName"), raw.get("federationName")
    # What is said in words that are not known does not ask for a removal.
    deleted = raw.get("deletionPolicy", DeletionPolicy.DELETE) == DeletionPolicy.DELETE
    return BindingSpec(
        service_account_name=account if isinstance(account, str) else "",
        federation_name=federation if isinstance(federation, str) else DEFAULT_FEDERATION,
        deletion_policy=DeletionPolicy.DELETE if deleted else DeletionPolicy.RETAIN,
    )
