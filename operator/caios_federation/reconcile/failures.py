"""What is said of a policy that CoreWeave does not take, and of one that it does not let go.

The reasons are a closed list; what differs from one attempt to the next is left to the log.
"""

from typing import Final

from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import Federation
from caios_federation.clients import errors
from caios_federation.reconcile.organizations import TokenMissing, TokenUnreadable

_REASONS: Final[tuple[tuple[type[errors.ClientError], Reason], ...]] = (
    (TokenUnreadable, Reason.PENDING),
    (errors.RateLimited, Reason.RATE_LIMITED),
    (errors.Retryable, Reason.API_UNAVAILABLE),
    (TokenMissing, Reason.PERMISSION_DENIED),
    (errors.Unauthenticated, Reason.PERMISSION_DENIED),
    (errors.PermissionDenied, Reason.PERMISSION_DENIED),
    (errors.Rejected, Reason.REJECTED),
)
"""The first that fits decides; what fits none is SyncFailed."""
_RETAINS: Final = (
    "its policy says what its grants say: change grants that are refused, or set "
    "spec.deletionPolicy to Delete"
)
_UNKNOWN: Final = frozenset({Reason.PENDING, Reason.API_UNAVAILABLE})


def policy_finding(error: errors.ClientError, federation: Federation) -> Finding:
    """Return what `error` says about applying a policy."""
    fitting = (reason for kind, reason in _REASONS if isinstance(error, kind))
    reason = next(fitting, Reason.SYNC_FAILED)
    status = Status.UNKNOWN if reason in _UNKNOWN else Status.FALSE
    return Finding(status, reason, f"{_problem(error, federation)}; the policy is as it was before")


def deletion_finding(
    error: errors.ClientError, federation: Federation, *, retains: bool
) -> Finding:
    """Return what `error` says about a binding that cannot be let go."""
    until = _RETAINS if retains else "its policy is removed"
    message = f"{_problem(error, federation)}; the binding stays until {until}"
    return Finding(Status.FALSE, Reason.DELETE_FAILED, message)


def rights_finding(error: errors.Terminal, reason: Reason) -> Finding:
    """Return what to say when the API server refuses what a policy takes in the cluster.

    That is the finalizer of the binding, and the record of retained policies.
    """
    return Finding(
        Status.FALSE,
        reason,
        f"The operator is refused by the API server: {error}; give it the rights of "
        "deploy/chart/templates/rbac.yaml",
    )


def _problem(error: errors.ClientError, federation: Federation) -> str:
    """Say what is wrong and what to do, in words that the next attempt does not change."""
    name, api = federation.meta.name, federation.spec.endpoints.api
    match error:
        case TokenUnreadable():
            problem = (
                f"The API server does not let the API token of StorageFederation {name!r} be read; "
                "it is read again by itself, and the operator's log has each failure"
            )
        case errors.RateLimited():
            problem = f"CoreWeave's API at {api} wants fewer requests; it is asked again by itself"
        case errors.Retryable():
            problem = (
                f"CoreWeave's API at {api} does not answer, or not as documented; "
                "it is asked again by itself, and the operator's log has each failure"
            )
        case TokenMissing() | errors.Unauthenticated():
            problem = (
                f"StorageFederation {name!r} has no API token that CoreWeave knows; "
                "its condition APITokenValid says what to do"
            )
        case errors.PermissionDenied():
            problem = (
                f"The API token of StorageFederation {name!r} may not manage access policies; give "
                "its user cwobject:EnsureAccessPolicy, cwobject:ListAccessPolicy and "
                "cwobject:DeleteAccessPolicy on *, or the role Object Storage Admin"
            )
        case errors.BadEndpoint():
            problem = f"StorageFederation {name!r} has no address that tokens may go to: {error}"
        case _:
            problem = f"The request is refused: {error}"
    return problem
