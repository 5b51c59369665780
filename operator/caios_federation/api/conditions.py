"""Condition types and their reasons, by name.

A reason is stable API: it is shown by `kubectl get` and watched by alerts. What each means, where
it appears and what to do about it is listed in `reasons.py`. `Finding` is what a check says;
conditions are made of findings in `core/conditions.py`.
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
    PODS_FEDERATED = "PodsFederated"
    ISSUER_DISCOVERED = "IssuerDiscovered"
    API_TOKEN_VALID = "APITokenValid"  # noqa: S105  # a condition's name
    TRUST_REGISTERED = "TrustRegistered"
    INJECTION_SERVING = "InjectionServing"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition is as it is."""

    ACCEPTED = "Accepted"
    FEDERATION_NOT_FOUND = "FederationNotFound"
    CONFLICT = "Conflict"
    GRANT_NOT_ALLOWED = "GrantNotAllowed"
    INVALID_SPEC = "InvalidSpec"
    FOUND = "Found"
    NOT_FOUND = "NotFound"
    ANNOTATION_INVALID = "AnnotationInvalid"
    SYNCED = "Synced"
    PERMISSION_DENIED = "PermissionDenied"
    RATE_LIMITED = "RateLimited"
    REJECTED = "Rejected"
    SYNC_FAILED = "SyncFailed"
    DELETE_FAILED = "DeleteFailed"
    API_UNAVAILABLE = "APIUnavailable"
    VERIFIED = "Verified"
    TOKEN_REJECTED = "TokenRejected"  # noqa: S105  # a reason's name
    MINT_DENIED = "MintDenied"
    VERIFICATION_FAILED = "VerificationFailed"
    ALL_FEDERATED = "AllFederated"
    NO_PODS = "NoPods"
    PODS_MISSED = "PodsMissed"
    DISCOVERED = "Discovered"
    CONFIGURED = "Configured"
    DISCOVERY_FAILED = "DiscoveryFailed"
    VALID = "Valid"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  # a reason's name
    UNAUTHORIZED = "Unauthorized"
    REGISTERED = "Registered"
    NOT_REGISTERED = "NotRegistered"
    INACTIVE = "Inactive"
    REGISTRATION_FAILED = "RegistrationFailed"
    SERVING = "Serving"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    NO_READY_REPLICA = "NoReadyReplica"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    READY = "Ready"
    PENDING = "Pending"


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
