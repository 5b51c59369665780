"""The closed list of conditions and their reasons: where each appears, its meaning, what to do.

For people: docs/reference/conditions.md is made of it, and every status that a test sees is held
against it. A process decides nothing by it, and does not load it.
"""

from typing import Final, NamedTuple

from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.api.vocabulary import BINDING_KIND, FEDERATION_KIND


class Question(NamedTuple):
    """What a condition answers."""

    condition: ConditionType
    kinds: tuple[str, ...]
    """Whose statuses have it."""
    asks: str


class Answer(NamedTuple):
    """A reason; it goes with one status, whatever the condition."""

    reason: Reason
    status: Status
    conditions: tuple[ConditionType, ...]
    """Where it is judged. Ready repeats it from there, unless it is True."""
    meaning: str
    """One sentence, as Markdown."""
    to_do: str
    """One sentence, as Markdown; troubleshooting has the rest."""


QUESTIONS: Final = (
    Question(ConditionType.ACCEPTED, (BINDING_KIND,), "Is the binding valid and in force?"),
    Question(
        ConditionType.SERVICE_ACCOUNT_FOUND,
        (BINDING_KIND,),
        "Does its ServiceAccount exist, and can its annotations be understood?",
    ),
    Question(
        ConditionType.POLICY_SYNCED,
        (BINDING_KIND,),
        "Only with `policyManagement: Managed` and grants: does the policy at CoreWeave say what "
        "the grants say?",
    ),
    Question(
        ConditionType.CREDENTIALS_VERIFIED,
        (BINDING_KIND,),
        "Only with `verification: Enabled`: does CoreWeave issue credentials for the identity?",
    ),
    Question(
        ConditionType.PODS_FEDERATED,
        (BINDING_KIND,),
        "Unless its Pods are not to be injected: does every running Pod of the ServiceAccount "
        "carry the identity?",
    ),
    Question(
        ConditionType.ISSUER_DISCOVERED,
        (FEDERATION_KIND,),
        "Is it known who issues the cluster's tokens?",
    ),
    Question(
        ConditionType.API_TOKEN_VALID,
        (FEDERATION_KIND,),
        "Only with `apiTokenSecretName`: does CoreWeave know the API token?",
    ),
    Question(
        ConditionType.TRUST_REGISTERED,
        (FEDERATION_KIND,),
        "Only with `trustManagement: Observed` or `Managed`: does CoreWeave trust the issuer?",
    ),
    Question(
        ConditionType.INJECTION_SERVING,
        (FEDERATION_KIND,),
        "Does the webhook answer where the API server calls it?",
    ),
    Question(ConditionType.READY, (BINDING_KIND, FEDERATION_KIND), "Is all of that so?"),
)
"""In the order in which a status has them."""

_NOTHING: Final = "Nothing."

ANSWERS: Final = (
    Answer(
        Reason.ACCEPTED,
        Status.TRUE,
        (ConditionType.ACCEPTED,),
        "The binding is valid and has its ServiceAccount.",
        _NOTHING,
    ),
    Answer(
        Reason.FEDERATION_NOT_FOUND,
        Status.FALSE,
        (ConditionType.ACCEPTED,),
        "The StorageFederation that the binding names does not exist.",
        "Create the StorageFederation, or a binding that names another.",
    ),
    Answer(
        Reason.CONFLICT,
        Status.FALSE,
        (ConditionType.ACCEPTED,),
        "Another binding has the ServiceAccount; the message names it.",
        "Delete one of the two bindings.",
    ),
    Answer(
        Reason.GRANT_NOT_ALLOWED,
        Status.FALSE,
        (ConditionType.ACCEPTED,),
        "No entry of `grantRules` of the StorageFederation allows one of its grants, so nothing "
        "of the binding is applied, and a policy that was applied is taken back.",
        "Ask for less, or let an administrator add or widen an entry of `grantRules`.",
    ),
    Answer(
        Reason.INVALID_SPEC,
        Status.FALSE,
        (ConditionType.ACCEPTED,),
        "The object does not fit the schema that this version knows.",
        "Install the operator and the CRDs of the same version.",
    ),
    Answer(
        Reason.FOUND,
        Status.TRUE,
        (ConditionType.SERVICE_ACCOUNT_FOUND,),
        'The ServiceAccount exists; the message says if `inject: "false"` keeps its Pods from '
        "injection.",
        _NOTHING,
    ),
    Answer(
        Reason.NOT_FOUND,
        Status.FALSE,
        (ConditionType.SERVICE_ACCOUNT_FOUND,),
        "The ServiceAccount does not exist (yet).",
        "Create the ServiceAccount; the binding follows by itself.",
    ),
    Answer(
        Reason.ANNOTATION_INVALID,
        Status.FALSE,
        (ConditionType.SERVICE_ACCOUNT_FOUND,),
        "An annotation of the ServiceAccount that decides about injection makes no sense, so its "
        "Pods are not injected; the message quotes it.",
        "Correct or remove the annotation.",
    ),
    Answer(
        Reason.SYNCED,
        Status.TRUE,
        (ConditionType.POLICY_SYNCED,),
        "The policy at CoreWeave says what the grants say.",
        _NOTHING,
    ),
    Answer(
        Reason.PERMISSION_DENIED,
        Status.FALSE,
        (ConditionType.POLICY_SYNCED, ConditionType.API_TOKEN_VALID),
        "CoreWeave refuses the API token, or the token lacks a right; the message says which.",
        "Give the token's user the right that the message names, or put a valid token into the "
        "Secret.",
    ),
    Answer(
        Reason.RATE_LIMITED,
        Status.FALSE,
        (ConditionType.POLICY_SYNCED,),
        "CoreWeave wants fewer requests; the policy is written later.",
        "Wait, and if it stays, lower `CAIOS_COREWEAVE__REQUESTS_PER_SECOND`.",
    ),
    Answer(
        Reason.REJECTED,
        Status.FALSE,
        (ConditionType.POLICY_SYNCED,),
        "CoreWeave refuses the policy for what it says; the message quotes why.",
        "Change the grant that the message points to.",
    ),
    Answer(
        Reason.SYNC_FAILED,
        Status.FALSE,
        (ConditionType.POLICY_SYNCED,),
        "The policy could not be applied for another reason, which the message tells.",
        "Do what the message says; it is tried again by itself.",
    ),
    Answer(
        Reason.DELETE_FAILED,
        Status.FALSE,
        (ConditionType.POLICY_SYNCED,),
        "The binding is being deleted and its policy cannot be removed, or with "
        "`deletionPolicy: Retain` not be brought to what the grants say, so the binding stays "
        "until it can.",
        "Remove the cause that the message names; the deletion then completes by itself.",
    ),
    Answer(
        Reason.API_UNAVAILABLE,
        Status.UNKNOWN,
        (
            ConditionType.POLICY_SYNCED,
            ConditionType.CREDENTIALS_VERIFIED,
            ConditionType.API_TOKEN_VALID,
            ConditionType.TRUST_REGISTERED,
        ),
        "CoreWeave's API does not answer, or answers with an error of its own.",
        "See that `endpoints.api` of the StorageFederation is right and can be reached; it is "
        "asked again by itself.",
    ),
    Answer(
        Reason.VERIFIED,
        Status.TRUE,
        (ConditionType.CREDENTIALS_VERIFIED,),
        "CoreWeave issued credentials for the identity, when it was last tried.",
        _NOTHING,
    ),
    Answer(
        Reason.TOKEN_REJECTED,
        Status.FALSE,
        (ConditionType.CREDENTIALS_VERIFIED,),
        "CoreWeave does not accept the token: no active OIDC configuration has exactly this "
        "issuer and audience; the message says both.",
        "Register that pair as Issuer URL and Client ID (Audience), or set `audience` to what is "
        "registered.",
    ),
    Answer(
        Reason.MINT_DENIED,
        Status.FALSE,
        (ConditionType.CREDENTIALS_VERIFIED,),
        "CoreWeave accepts the token, but no policy statement allows "
        "`cwobject:CreateAccessKeyOIDC` on `*` to the principal.",
        "Give the binding grants, and with `policyManagement: Rendered` apply "
        "`status.policy.document` in the Console.",
    ),
    Answer(
        Reason.VERIFICATION_FAILED,
        Status.FALSE,
        (ConditionType.CREDENTIALS_VERIFIED,),
        "The token could not be requested or must not be sent there, or what answers at the "
        "credentials URI is not CoreWeave's exchange.",
        "Give the controller `create` on `serviceaccounts/token`, or correct `endpoints.api` and "
        "`organizationID` of the StorageFederation, as the message says.",
    ),
    Answer(
        Reason.ALL_FEDERATED,
        Status.TRUE,
        (ConditionType.PODS_FEDERATED,),
        "Every running Pod of the ServiceAccount carries the identity.",
        _NOTHING,
    ),
    Answer(
        Reason.NO_PODS,
        Status.TRUE,
        (ConditionType.PODS_FEDERATED,),
        "No Pod of the ServiceAccount was running when it was last looked at: since then some "
        "may have started.",
        _NOTHING,
    ),
    Answer(
        Reason.PODS_MISSED,
        Status.FALSE,
        (ConditionType.PODS_FEDERATED,),
        "Running Pods were created without the identity; `status.pods.missed` names up to 20.",
        "Restart them by their owners, or set `remediation: Restart` in the binding.",
    ),
    Answer(
        Reason.DISCOVERED,
        Status.TRUE,
        (ConditionType.ISSUER_DISCOVERED,),
        "The API server told its issuer.",
        _NOTHING,
    ),
    Answer(
        Reason.CONFIGURED,
        Status.TRUE,
        (ConditionType.ISSUER_DISCOVERED,),
        "`spec.issuerURL` says the issuer.",
        _NOTHING,
    ),
    Answer(
        Reason.DISCOVERY_FAILED,
        Status.FALSE,
        (ConditionType.ISSUER_DISCOVERED,),
        "The API server tells no usable issuer, and `spec.issuerURL` is not set or not usable.",
        "Set `spec.issuerURL` to the issuer in the cluster's tokens.",
    ),
    Answer(
        Reason.VALID,
        Status.TRUE,
        (ConditionType.API_TOKEN_VALID,),
        "CoreWeave knows the API token.",
        _NOTHING,
    ),
    Answer(
        Reason.SECRET_NOT_FOUND,
        Status.FALSE,
        (ConditionType.API_TOKEN_VALID,),
        "The Secret that `apiTokenSecretName` names does not exist in the operator's namespace, "
        "or holds no token.",
        "Create the Secret there, with the API token under the key `token`.",
    ),
    Answer(
        Reason.UNAUTHORIZED,
        Status.FALSE,
        (ConditionType.API_TOKEN_VALID,),
        "CoreWeave does not know the API token.",
        "Put a new token into the Secret.",
    ),
    Answer(
        Reason.REGISTERED,
        Status.TRUE,
        (ConditionType.TRUST_REGISTERED,),
        "An active OIDC configuration of the organization has exactly this issuer and audience.",
        _NOTHING,
    ),
    Answer(
        Reason.NOT_REGISTERED,
        Status.FALSE,
        (ConditionType.TRUST_REGISTERED,),
        "No OIDC configuration of the organization has exactly this issuer and audience; the "
        "message says what to enter.",
        "Enter that in the Console, or set `trustManagement: Managed`.",
    ),
    Answer(
        Reason.INACTIVE,
        Status.FALSE,
        (ConditionType.TRUST_REGISTERED,),
        "The OIDC configuration that has them is deactivated.",
        "Activate it in the Console, unless somebody deactivated it on purpose.",
    ),
    Answer(
        Reason.REGISTRATION_FAILED,
        Status.FALSE,
        (ConditionType.TRUST_REGISTERED,),
        "The OIDC configuration could not be looked at, created or repaired; the message tells "
        "why.",
        "Give the API token's user the roles IAM Admin and Object Storage Admin, or enter in the "
        "Console what the message says.",
    ),
    Answer(
        Reason.SERVING,
        Status.TRUE,
        (ConditionType.INJECTION_SERVING,),
        "The webhook answers where the API server calls it.",
        _NOTHING,
    ),
    Answer(
        Reason.CONFIGURATION_MISSING,
        Status.FALSE,
        (ConditionType.INJECTION_SERVING,),
        "The API server has no webhook configuration of ours, or not one for the creation of "
        "Pods, so it calls nobody.",
        "Give the controller the rights in `deploy/chart/templates/rbac.yaml`; it applies the "
        "configuration by itself.",
    ),
    Answer(
        Reason.NO_READY_REPLICA,
        Status.FALSE,
        (ConditionType.INJECTION_SERVING,),
        "Nobody who is ready answers there.",
        "Start the processes of the role `webhook` and let the API server reach them, then look "
        "for Pods that missed injection.",
    ),
    Answer(
        Reason.CERTIFICATE_EXPIRED,
        Status.FALSE,
        (ConditionType.INJECTION_SERVING,),
        "The certificate of who answers there is expired, or not one that the API server trusts.",
        "Do what the controller's log says, or with the provider `External` bring a certificate "
        "that is in force, and its CA, into the Secret.",
    ),
    Answer(
        Reason.READY,
        Status.TRUE,
        (ConditionType.READY,),
        "Every other condition is True.",
        _NOTHING,
    ),
    Answer(
        Reason.PENDING,
        Status.UNKNOWN,
        (
            ConditionType.ACCEPTED,
            ConditionType.POLICY_SYNCED,
            ConditionType.CREDENTIALS_VERIFIED,
            ConditionType.PODS_FEDERATED,
            ConditionType.API_TOKEN_VALID,
            ConditionType.TRUST_REGISTERED,
            ConditionType.INJECTION_SERVING,
        ),
        "It is not found out yet, because something else has to come first; the message says what.",
        "Mostly wait, otherwise put right what the message points to.",
    ),
)
"""Every reason once, in the order of the conditions."""
