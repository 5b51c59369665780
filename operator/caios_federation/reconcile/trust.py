"""API token and trust of a federation: CoreWeave is asked, the core judges, the difference is made.

Only an OIDC configuration of our own name is ever changed, and none is ever deleted: tokens of
Pods that run may still be exchanged by it.
"""

from dataclasses import dataclass

from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import Federation, TrustManagement
from caios_federation.api.vocabulary import API_TOKEN_KEY, FEDERATION_KIND, MANAGER
from caios_federation.clients import errors
from caios_federation.clients.coreweave import Organization
from caios_federation.core.principal import Issuer
from caios_federation.core.trust import (
    CONSOLE,
    OIDCConfiguration,
    judge_trust,
    to_enter,
    wanted_trust,
)
from caios_federation.reconcile.acting import log
from caios_federation.reconcile.organizations import TokenMissing, TokenUnreadable


@dataclass(frozen=True, slots=True)
class TrustOutcome:
    """What came of looking after the trust."""

    finding: Finding
    changed: bool = False
    """Whether an OIDC configuration was created or repaired."""


async def check_token(organization: Organization) -> Finding:
    """Tell whether CoreWeave knows the API token. Raises TokenMissing where there is none."""
    try:
        await organization.whoami()
    except TokenMissing:
        raise
    except errors.ClientError as error:
        return _of_token(error)
    return Finding(Status.TRUE, Reason.VALID, "CoreWeave knows the API token.")


def _of_token(error: errors.ClientError) -> Finding:
    """Return what `error` says about the API token."""
    status, reason = Status.UNKNOWN, Reason.PENDING
    match error:
        case errors.Unauthenticated():
            status, reason = Status.FALSE, Reason.UNAUTHORIZED
            message = (
                "CoreWeave does not know the API token: it is mistyped, expired or revoked; put a "
                f"valid one into key {API_TOKEN_KEY!r} of the Secret that spec.apiTokenSecretName "
                "names"
            )
        case errors.PermissionDenied():
            status, reason = Status.FALSE, Reason.PERMISSION_DENIED
            message = (
                "CoreWeave knows the API token, and lets it do nothing, not even ask whose it is; "
                "use the token of a user with the roles IAM Admin and Object Storage Admin"
            )
        case TokenUnreadable():
            message = (
                "The API server does not let the Secret that spec.apiTokenSecretName names be "
                "read, so it is not known whether the API token is valid; it is read again by "
                "itself"
            )
        case errors.BadEndpoint():
            message = f"The API token is sent nowhere, so it is not known to be valid: {error}"
        case errors.Retryable():
            return _unavailable(error, "whether the API token is valid")
        case _:
            reason = Reason.API_UNAVAILABLE
            message = (
                "spec.endpoints.api does not lead to CoreWeave's API, so it is not known whether "
                f"the API token is valid; correct it ({error})"
            )
    return Finding(status, reason, message)


def secret_missing(namespace: str, name: str, detail: str) -> Finding:
    """Return what to say of an API token that is not there; `detail` tells what is wrong."""
    return Finding(
        Status.FALSE,
        Reason.SECRET_NOT_FOUND,
        f"spec.apiTokenSecretName: {detail}; put a CoreWeave API token into key "
        f"{API_TOKEN_KEY!r} of Secret {namespace}/{name}",
    )


async def keep_trust(
    organization: Organization, federation: Federation, issuer: Issuer
) -> TrustOutcome:
    """Look whether CoreWeave trusts `issuer`; with `Managed`, see to it that it does."""
    wanted = wanted_trust(federation, issuer)
    try:
        registered = await organization.oidc_configurations()
    except errors.ClientError as error:
        return TrustOutcome(_failed(wanted, error, "looked up"))
    verdict = judge_trust(wanted, registered, federation.spec.trust_management)
    if verdict.change is None:
        return TrustOutcome(verdict.finding)
    try:
        answered = await _make(organization, federation, verdict.change)
    except errors.ClientError as error:
        what = "repaired" if verdict.change.uid else "created"
        return TrustOutcome(_failed(wanted, error, what))
    now = [answered, *(found for found in registered if found.uid != answered.uid)]
    finding = judge_trust(wanted, now, TrustManagement.OBSERVED).finding
    return TrustOutcome(finding, changed=True)


async def _make(
    organization: Organization, federation: Federation, change: OIDCConfiguration
) -> OIDCConfiguration:
    name = federation.meta.name
    if change.uid:
        answered = await organization.update_oidc_configuration(change)
        log.info("OIDC configuration repaired", federation=name, name=change.name)
    else:
        answered = await organization.create_oidc_configuration(
            change.name,
            change.issuer_url,
            change.audience,
            f"Kept by {MANAGER} for {FEDERATION_KIND} {name}",
        )
        log.info("OIDC configuration created", federation=name, name=change.name)
    return answered


def _failed(wanted: OIDCConfiguration, error: errors.ClientError, what: str) -> Finding:
    if isinstance(error, TokenMissing | TokenUnreadable | errors.BadEndpoint):
        return Finding(
            Status.UNKNOWN,
            Reason.PENDING,
            "CoreWeave cannot be asked with an API token; the condition APITokenValid says why",
        )
    if isinstance(error, errors.Retryable) and not isinstance(error, errors.WriteConflict):
        return _unavailable(error, "whether it trusts this cluster")
    return Finding(
        Status.FALSE,
        Reason.REGISTRATION_FAILED,
        f"This OIDC configuration is needed and could not be {what}: {to_enter(wanted)}; "
        f"{_remedy(error)}",
    )


def _remedy(error: errors.ClientError) -> str:
    match error:
        case errors.Unauthenticated():
            return (
                "CoreWeave does not know the API token, as the condition APITokenValid says; "
                f"replace it, or see to it by hand at {CONSOLE}"
            )
        case errors.PermissionDenied():
            return (
                "the API token may not do that; give its user the roles IAM Admin and Object "
                f"Storage Admin, or see to it by hand at {CONSOLE}"
            )
        case errors.NotFound():
            return (
                f"CoreWeave's API does not offer it; see to it by hand at {CONSOLE} and set "
                "spec.trustManagement to Unmanaged"
            )
        case _:
            return f"CoreWeave refuses it ({error}); see to it by hand at {CONSOLE}"


def _unavailable(error: errors.Retryable, what: str) -> Finding:
    problem = "does not answer, or not as documented"
    next_step = ". Check that spec.endpoints.api is right and can be reached"
    if isinstance(error, errors.RateLimited):
        problem, next_step = "wants fewer requests", ""
    return Finding(
        Status.UNKNOWN,
        Reason.API_UNAVAILABLE,
        f"CoreWeave's API {problem}, so it is not known {what}; it is asked again by "
        f"itself{next_step}",
    )
