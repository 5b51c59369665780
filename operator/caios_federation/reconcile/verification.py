"""Proving an identity: a token for the ServiceAccount, exchanged as a workload's SDK does it.

Neither the token nor the keys are kept, logged or told.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.federation import Federation, TrustManagement
from caios_federation.api.objects import Json
from caios_federation.api.vocabulary import MIN_TOKEN_EXPIRATION
from caios_federation.clients import errors
from caios_federation.core.conditions import recorded_finding
from caios_federation.core.injection import Values
from caios_federation.core.verification import (
    changed_lately,
    mint_denied,
    not_in_force,
    proven,
    proven_once,
    token_rejected,
    turned,
    verified,
)
from caios_federation.observe import events
from caios_federation.observe.events import Event
from caios_federation.reconcile.acting import Acting, subject_of
from caios_federation.reconcile.outcome import Outcome

_GRACE_RETRY_SECONDS: Final = 5.0
"""Wait between tries while a change at CoreWeave may not be in force yet."""
_PENDING: Final = Reason.PENDING


@dataclass(frozen=True, slots=True)
class Identity:
    """What is to be proven."""

    binding: Binding
    federation: Federation
    values: Values
    facts: Json
    """The facts that the binding's status is about to state."""
    account_exists: bool
    policy: Outcome


async def verify(acting: Acting, identity: Identity) -> Outcome:
    """Prove that credentials are issued, unless that was done lately."""
    if not identity.account_exists:
        return Outcome(_unknown("There is no ServiceAccount to try it with."))
    status, settings = identity.binding.status, acting.settings.verification
    synced = identity.policy.finding
    if synced is not None and synced.status is not Status.TRUE:
        return Outcome(_as_before(identity) or _unknown("It is tried once the policy is applied."))
    now, period = acting.clock(), dt.timedelta(seconds=settings.period_seconds)
    known = proven(status, identity.facts, now, period)
    if known is not None and not identity.policy.changed:
        return Outcome(known)
    return await _try(acting, identity, now)


async def _try(acting: Acting, identity: Identity, now: dt.datetime) -> Outcome:
    meta, values = identity.binding.meta, identity.values
    account = identity.binding.spec.service_account_name
    try:
        token = await acting.client.create_token(
            meta.namespace, account, audience=values.audience, seconds=MIN_TOKEN_EXPIRATION
        )
    except errors.NotFound:
        return Outcome(_unknown("There is no ServiceAccount to try it with."))
    except (errors.PermissionDenied, errors.Rejected) as error:
        return Outcome(
            Finding(
                Status.FALSE,
                Reason.VERIFICATION_FAILED,
                f"No token could be made for ServiceAccount {account!r} to try: {error}; let the "
                "operator create serviceaccounts/token, or set verification: Disabled",
            ),
            again_after_seconds=acting.settings.verification.retry_seconds,
        )
    except errors.ClientError as error:
        untried = _unknown("The API server makes no token to try it with; it is asked again.")
        return Outcome(_as_before(identity) or untried, error=error)
    try:
        await acting.coreweave.exchange(values.credentials_uri, token)
    except errors.ClientError as error:
        return _refused(acting, identity, error, now)
    told = frozenset[Event]()
    if _as_before(identity) is None:
        subject = subject_of(identity.binding)
        message = f"CoreWeave issued credentials for {values.principal}"
        told = frozenset({events.credentials_verified(subject, message)})
    return Outcome(verified(), told, changed=True)


def _refused(
    acting: Acting, identity: Identity, error: errors.ClientError, now: dt.datetime
) -> Outcome:
    settings = acting.settings.verification
    refusal = _refusal(identity, error)
    if refusal is None:
        return Outcome(_unanswered(identity, error), error=error)
    grace = dt.timedelta(seconds=settings.grace_seconds)
    if changed_lately(_changes(acting, identity, refusal.reason), now, grace):
        return Outcome(not_in_force(refusal), again_after_seconds=_GRACE_RETRY_SECONDS)
    make = {
        Reason.TOKEN_REJECTED: events.token_rejected,
        Reason.MINT_DENIED: events.mint_denied,
    }.get(refusal.reason)
    told = frozenset({make(subject_of(identity.binding), refusal.message)} if make else ())
    return Outcome(refusal, told, again_after_seconds=settings.retry_seconds)


def _refusal(identity: Identity, error: errors.ClientError) -> Finding | None:
    """Return what is wrong with the identity; None where the service did not look at it."""
    if isinstance(error, errors.BadRequest):
        return token_rejected(identity.values)
    if isinstance(error, errors.PermissionDenied):
        granted = bool(identity.binding.spec.grants)
        applied = identity.policy.finding is not None  # and it is True, or nothing is tried
        return mint_denied(identity.values, granted=granted, applied=applied)
    if isinstance(error, errors.BadEndpoint):
        return Finding(
            Status.FALSE,
            Reason.VERIFICATION_FAILED,
            f"No token is sent to {identity.values.credentials_uri} to try it: {error}",
        )
    if isinstance(error, errors.Terminal | errors.Malformed):
        return Finding(
            Status.FALSE,
            Reason.VERIFICATION_FAILED,
            f"{identity.values.credentials_uri} does not answer as CoreWeave's exchange does: "
            f"{error}; check spec.endpoints.api and spec.organizationID of the StorageFederation",
        )
    return None


def _unanswered(identity: Identity, error: errors.ClientError) -> Finding:
    limited = isinstance(error, errors.RateLimited)
    problem = "wants fewer requests" if limited else "cannot be reached or is in trouble"
    return Finding(
        Status.UNKNOWN,
        Reason.API_UNAVAILABLE,
        f"CoreWeave's API at {identity.federation.spec.endpoints.api} {problem}, so nothing could "
        "be proven; it is asked again by itself",
    )


def _changes(acting: Acting, identity: Identity, reason: Reason) -> tuple[dt.datetime | None, ...]:
    """Return when something was changed that may turn a refusal of `reason` into its opposite.

    What a former process changed is read from statuses: since when they say so.
    """
    status, federation = identity.binding.status, identity.federation
    waiting_since = turned(status, ConditionType.CREDENTIALS_VERIFIED, Status.UNKNOWN)
    waiting = waiting_since if _is_waiting(status) else None
    if reason is Reason.MINT_DENIED and identity.policy.finding is not None:
        applied = acting.clock() if identity.policy.changed else None
        return applied, turned(status, ConditionType.POLICY_SYNCED, Status.TRUE), waiting
    managed = federation.spec.trust_management is TrustManagement.MANAGED
    if reason is Reason.TOKEN_REJECTED and managed:
        registered = turned(federation.status, ConditionType.TRUST_REGISTERED, Status.TRUE)
        return registered, waiting
    return ()


def _is_waiting(status: Json) -> bool:
    """Tell whether a status says that a proof is waited for."""
    finding = recorded_finding(status, ConditionType.CREDENTIALS_VERIFIED)
    return finding is not None and finding.reason is _PENDING


def _as_before(identity: Identity) -> Finding | None:
    """Return what was proven, if nothing changed since then; however long ago it was."""
    return proven_once(identity.binding.status, identity.facts)


def _unknown(message: str) -> Finding:
    return Finding(Status.UNKNOWN, _PENDING, message)
