"""Every word of the API, once: kinds, annotations, labels, variables, paths.

A test refuses these words anywhere else in the source. Reasons of conditions are words too; they
stand beside their conditions in `conditions.py`.
"""

from enum import StrEnum
from typing import Final

# Kinds ---------------------------------------------------------------------------------------

GROUP: Final = "caios.coreweave.com"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

BINDING_KIND: Final = "FederatedStorageBinding"
BINDINGS: Final = "federatedstoragebindings"
FEDERATION_KIND: Final = "StorageFederation"
FEDERATIONS: Final = "storagefederations"
DEFAULT_FEDERATION: Final = "default"
"""The StorageFederation of whoever names none."""

# Inputs: annotations of ServiceAccounts and Pods ----------------------------------------------

INJECT: Final = f"{GROUP}/inject"
"""ServiceAccount annotation: `"true"` opts in, `"false"` switches injection off whatever else is
set. As a label of a Pod or Namespace, `"false"` keeps the webhook away from it."""
AUDIENCE: Final = f"{GROUP}/audience"
"""ServiceAccount annotation: the token's audience; opts in by itself."""
TOKEN_EXPIRATION: Final = f"{GROUP}/token-expiration"
"""ServiceAccount and Pod annotation: the token's lifetime in seconds; the Pod's wins."""
FEDERATION: Final = f"{GROUP}/federation"
"""ServiceAccount annotation: name of the StorageFederation."""
SKIP_CONTAINERS: Final = f"{GROUP}/skip-containers"
"""Pod annotation: names of containers to leave alone, separated by commas."""

SERVICE_ACCOUNT_INPUTS: Final = frozenset({INJECT, AUDIENCE, TOKEN_EXPIRATION, FEDERATION})
TRUE: Final = "true"
FALSE: Final = "false"

# Outputs: what is written to Pods -------------------------------------------------------------

FEDERATED: Final = f"{GROUP}/federated"
"""Pod label, `"true"`: the Pod was given a federated identity."""
PRINCIPAL: Final = f"{GROUP}/principal"
"""Pod annotation: the principal that policies name."""
AWS_CONFIG: Final = f"{GROUP}/aws-config"
"""Pod annotation: the AWS config file's content, which the token's volume shows as a file."""

# The same places as the vendor's webhook, so that code which reads that file keeps working
# (CoreWeave's reference architecture does; docs/concepts/compatibility.md).
VOLUME_NAME: Final = "cks-pod-identity-token"
MOUNT_PATH: Final = "/var/run/secrets/cks.coreweave.com/serviceaccount"
TOKEN_FILE: Final = "cks-pod-identity-token"  # noqa: S105  # a file's name
AWS_CONFIG_FILE: Final = "aws-config"
"""Name of the AWS config file in the token's volume."""

ENV_AWS_PREFIX: Final = "AWS_"
"""How the names of all variables begin that AWS SDKs read."""
ENV_CREDENTIALS_URI: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
ENV_TOKEN_FILE: Final = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105  # a variable's name
ENV_CONTAINER_PREFIX: Final = "AWS_CONTAINER_"
"""A container that sets any variable of this prefix has its own container credentials."""
ENV_REGION: Final = "AWS_REGION"
ENV_DEFAULT_REGION: Final = "AWS_DEFAULT_REGION"
ENV_CONFIG_FILE: Final = "AWS_CONFIG_FILE"
ENV_ENDPOINTS: Final = frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"})
"""With one of these a container has chosen its endpoint: no config file of ours."""
ENV_OUTRANKING: Final = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    }
)
"""Variables whose credentials every AWS SDK prefers to container credentials
(https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html)."""

# Bounds ---------------------------------------------------------------------------------------

MIN_TOKEN_EXPIRATION: Final = 600
"""Seconds; the API server refuses shorter tokens."""
MAX_TOKEN_EXPIRATION: Final = 86400
DEFAULT_TOKEN_EXPIRATION: Final = 3600

# Ownership ------------------------------------------------------------------------------------

MANAGER: Final = "caios-federation"
"""Field manager of what we apply, and the value of the managed-by label."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
POLICY_FINALIZER: Final = f"{GROUP}/policy"
"""On bindings whose policy was applied: it has to be removed before they go."""
RESTARTED_AT: Final = f"{GROUP}/restarted-at"
"""Annotation of what owns Pods: when it was last restarted because Pods had missed injection."""
RESTARTS_IN_VAIN: Final = f"{GROUP}/restarts-in-vain"
"""Annotation of what owns Pods: how often in a row some of its new Pods missed injection again."""
RETAINED_POLICIES: Final = "caios-federation-retained-policies"
"""ConfigMap in the operator's namespace: names of the policies that outlive their bindings."""
API_TOKEN_KEY: Final = "token"  # noqa: S105  # a key's name
"""Key in the Secret that `spec.apiTokenSecretName` names."""
KOPF_FINALIZER: Final = f"{GROUP}/kopf"
"""What Kopf would use. It must differ from ours: Kopf strips its own from objects."""
WEBHOOK_CONFIGURATION: Final = MANAGER
"""Name of the MutatingWebhookConfiguration."""
WEBHOOK: Final = f"pods.{GROUP}"
"""Name of the webhook in it."""
WEBHOOK_AGAIN: Final = f"again.{WEBHOOK}"
"""Name of the second one, for Pods that have not been given an identity yet."""
MUTATE_PATH: Final = "/mutate-pods"
"""Where the admission server takes reviews."""
READY_PATH: Final = "/readyz"
"""Where it says whether it should be sent any."""
MIRROR_POD: Final = "kubernetes.io/config.mirror"
"""Annotation of the API server's copies of static Pods, which no ServiceAccount token reaches."""
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Label that every Namespace carries."""

SOURCE_COMMIT: Final = "SOURCE_COMMIT"
"""Variable in which the image says what it was built of; none of the settings."""

# CoreWeave ------------------------------------------------------------------------------------

DEFAULT_API_ENDPOINT: Final = "https://api.coreweave.com"
DEFAULT_LOTA_ENDPOINT: Final = "http://cwlota.com"
DEFAULT_PUBLIC_ENDPOINT: Final = "https://cwobject.com"
MINT_ACTION: Final = "cwobject:CreateAccessKeyOIDC"
POLICY_VERSION: Final = "v1alpha1"


class Outcome(StrEnum):
    """What became of an admission request. Closed: also the label values of a metric."""

    INJECTED = "injected"
    UNCHANGED = "unchanged"  # there was nothing to add
    SKIPPED = "skipped"  # the Pod was left alone, for a SkipReason
    FAILED = "failed"  # we could not decide; the failurePolicy does
    REFUSED = "refused"  # no review that can be read


class SkipReason(StrEnum):
    """Why a Pod was not injected. Closed: also the label values of a metric."""

    POD_OPTED_OUT = "PodOptedOut"  # the Pod's label says "false"
    MIRROR_POD = "MirrorPod"  # a static Pod's copy; no token reaches it
    ACCOUNT_OPTED_OUT = "ServiceAccountOptedOut"  # the ServiceAccount's annotation says "false"
    ANNOTATION_INVALID = "AnnotationInvalid"  # the annotation is neither "true" nor "false"
    NOT_FEDERATED = "NotFederated"  # the ServiceAccount is neither annotated nor bound
    INJECTION_DISABLED = "InjectionDisabled"  # the binding says Disabled
    FEDERATION_NOT_FOUND = "FederationNotFound"  # the StorageFederation named does not exist
    ISSUER_UNKNOWN = "IssuerUnknown"  # neither configured nor discovered yet
    IDENTITY_INVALID = "IdentityInvalid"  # no principal can be made of the names


class WarningReason(StrEnum):
    """What a warning to a Pod's creator is about. Closed: also the label values of a metric."""

    ANNOTATION_INVALID = "AnnotationInvalid"  # `inject` is neither "true" nor "false"
    FEDERATION_NOT_FOUND = "FederationNotFound"  # the StorageFederation named does not exist
    ISSUER_UNKNOWN = "IssuerUnknown"  # neither configured nor discovered yet
    IDENTITY_INVALID = "IdentityInvalid"  # no principal can be made of the names
    AUDIENCE_INVALID = "AudienceInvalid"  # the ServiceAccount's audience can be none
    EXPIRATION_INVALID = "ExpirationInvalid"  # a lifetime that is no number
    EXPIRATION_CLAMPED = "ExpirationClamped"  # a lifetime outside of what is allowed
    CONTAINER_UNKNOWN = "ContainerUnknown"  # a container to skip that the Pod does not have
    MOUNT_TAKEN = "MountTaken"  # something else is mounted where the token goes
    CREDENTIALS_PRESENT = "CredentialsPresent"  # a container has container credentials of its own
    CREDENTIALS_OUTRANKED = "CredentialsOutranked"  # SDKs prefer what a container sets
    MARK_KEPT = "MarkKept"  # a label or annotation of ours says something else
