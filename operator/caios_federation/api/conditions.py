"""Condition types and the closed lists of their reasons, each with what it means.

A reason is stable API: it is shown by `kubectl get`, watched by alerts and has one row in
docs/reference/conditions.md. `Finding` is what a check says; conditions are made of findings in
`core/conditions.py`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Whether a condition holds; Unknown means that we could not find out."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """What is judged, on bindings and federations. All are good when True."""

    ACCEPTED = "Accepted"
    SERVICE_ACCOUNT_FOUND = "ServiceAccountFound"
    POLICY_SYNCED = "PolicySynced"
    CREDENTIALS_VERIFIED = "CredentialsVerified"
    ISSUER_DISCOVERED = "IssuerDiscovered"
    TRUST_REGISTERED = "TrustRegistered"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition is as it is."""

    # FederatedStorageBinding, Accepted
    ACCEPTED = "Accepted"  # True: the binding can be acted on
    FEDERATION_NOT_FOUND = "FederationNotFound"  # False: spec.federationName names none
    CONFLICT = "Conflict"  # False: an older binding has this ServiceAccount
    INVALID_SPEC = "InvalidSpec"  # False: the object does not fit the schema we know
    # FederatedStorageBinding, ServiceAccountFound
    FOUND = "Found"  # True: the ServiceAccount exists
    NOT_FOUND = "NotFound"  # False: it does not exist (yet)
    ANNOTATION_INVALID = "AnnotationInvalid"  # False: an annotation that decides makes no sense
    # StorageFederation, IssuerDiscovered
    DISCOVERED = "Discovered"  # True: the API server told its issuer
    CONFIGURED = "Configured"  # True: spec.issuerURL says it
    DISCOVERY_FAILED = "DiscoveryFailed"  # False: the API server tells no usable issuer
    # all
    READY = "Ready"  # True: everything that is switched on is True
    PENDING = "Pending"  # Unknown: not looked at yet, or not by this version


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: a status with its reason, and a message for people."""

    status: Status
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it stands in a status (Kubernetes API conventions)."""

    type: ConditionType
    status: Status
    reason: Reason
    message: str
    observed_generation: int
    last_transition_time: str
    """RFC 3339, seconds. Moves only when the status flips."""
