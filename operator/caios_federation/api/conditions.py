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
    PODS_FEDERATED = "PodsFederated"
    ISSUER_DISCOVERED = "IssuerDiscovered"
    API_TOKEN_VALID = "APITokenValid"  # noqa: S105  # a condition's name
    TRUST_REGISTERED = "TrustRegistered"
    INJECTION_SERVING = "InjectionServing"
    READY = "Ready"


class Reason(StrEnum):
    """Why a condition is as it is."""

    # FederatedStorageBinding, Accepted
    ACCEPTED = "Accepted"  # True: the binding can be acted on
    FEDERATION_NOT_FOUND = "FederationNotFound"  # False: spec.federationName names none
    CONFLICT = "Conflict"  # False: an older binding has this ServiceAccount
    GRANT_NOT_ALLOWED = "GrantNotAllowed"  # False: no grant rule allows one of its grants
    INVALID_SPEC = "InvalidSpec"  # False: the object does not fit the schema we know
    # FederatedStorageBinding, ServiceAccountFound
    FOUND = "Found"  # True: the ServiceAccount exists
    NOT_FOUND = "NotFound"  # False: it does not exist (yet)
    ANNOTATION_INVALID = "AnnotationInvalid"  # False: an annotation that decides makes no sense
    # FederatedStorageBinding, PolicySynced
    SYNCED = "Synced"  # True: the policy at CoreWeave says what the grants say
    PERMISSION_DENIED = "PermissionDenied"  # False: CoreWeave refuses the API token, or its rights
    RATE_LIMITED = "RateLimited"  # False: CoreWeave wants fewer requests
    REJECTED = "Rejected"  # False: CoreWeave refuses the policy for what it says
    SYNC_FAILED = "SyncFailed"  # False: the policy could not be applied for another reason
    DELETE_FAILED = "DeleteFailed"  # False: the policy could not be removed, so the binding stays
    API_UNAVAILABLE = "APIUnavailable"  # Unknown: CoreWeave's API does not answer
    # FederatedStorageBinding, CredentialsVerified
    VERIFIED = "Verified"  # True: CoreWeave issued credentials for the identity
    TOKEN_REJECTED = "TokenRejected"  # noqa: S105  # False: issuer or audience not registered
    MINT_DENIED = "MintDenied"  # False: no policy lets the identity be issued credentials
    VERIFICATION_FAILED = "VerificationFailed"  # False: the attempt failed in another way
    # FederatedStorageBinding, PodsFederated
    ALL_FEDERATED = "AllFederated"  # True: every running Pod carries the identity
    NO_PODS = "NoPods"  # True: there is no running Pod
    PODS_MISSED = "PodsMissed"  # False: some were created without it
    # StorageFederation, IssuerDiscovered
    DISCOVERED = "Discovered"  # True: the API server told its issuer
    CONFIGURED = "Configured"  # True: spec.issuerURL says it
    DISCOVERY_FAILED = "DiscoveryFailed"  # False: the API server tells no usable issuer
    # StorageFederation, APITokenValid
    VALID = "Valid"  # True: CoreWeave knows the API token
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105  # False: no Secret, or no token in it
    UNAUTHORIZED = "Unauthorized"  # False: CoreWeave does not know the API token
    # StorageFederation, TrustRegistered
    REGISTERED = "Registered"  # True: an OIDC configuration trusts issuer and audience
    NOT_REGISTERED = "NotRegistered"  # False: none does
    INACTIVE = "Inactive"  # False: the one that would is deactivated
    REGISTRATION_FAILED = "RegistrationFailed"  # False: it could not be created or repaired
    # StorageFederation, InjectionServing
    SERVING = "Serving"  # True: the webhook answers where the API server calls it
    CONFIGURATION_MISSING = "ConfigurationMissing"  # False: the API server calls no webhook of ours
    NO_READY_REPLICA = "NoReadyReplica"  # False: nobody answers there
    CERTIFICATE_EXPIRED = "CertificateExpired"  # False: the API server cannot trust who answers
    # all
    READY = "Ready"  # True: everything that is switched on is True
    PENDING = "Pending"  # Unknown: not found out yet


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
