"""Proof that an identity is issued credentials: when to try, and what the answer means."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.api.objects import Json
from caios_federation.core.conditions import recorded_condition, recorded_finding
from caios_federation.core.injection import Values
from caios_federation.core.times import parse_time

_PROVEN: Final = ("issuer", "audience", "principal", "credentialsURI")
"""Facts of a status that credentials are issued for."""


def proven(status: Json, facts: Json, now: dt.datetime, period: dt.timedelta) -> Finding | None:
    """Return what was proven of these very `facts`, unless that was too long ago."""
    verified_at = parse_time(status.get("lastVerifiedTime"))
    if verified_at is None or not dt.timedelta() <= now - verified_at < period:
        return None
    return proven_once(status, facts)


def proven_once(status: Json, facts: Json) -> Finding | None:
    """Return what was proven of these very `facts`, however long ago; nothing that is no proof."""
    before = recorded_finding(status, ConditionType.CREDENTIALS_VERIFIED)
    if before is None or (before.status, before.reason) != (Status.TRUE, Reason.VERIFIED):
        return None
    return before if same_proof(status, facts) else None


def same_proof(status: Json, facts: Json) -> bool:
    """Tell whether what was proven then would be proven now."""
    digests = [(body.get("policy") or {}).get("digest") for body in (status, facts)]
    return digests[0] == digests[1] and all(status.get(k) == facts.get(k) for k in _PROVEN)


def verified() -> Finding:
    """Return the finding of credentials that were issued."""
    message = "CoreWeave issued credentials for the identity (status.lastVerifiedTime)."
    return Finding(Status.TRUE, Reason.VERIFIED, message)


def token_rejected(values: Values) -> Finding:
    """Return the finding of a token that was not accepted (HTTP 400).

    The service does not say which claim it did not like, so both are told.
    """
    return Finding(
        Status.FALSE,
        Reason.TOKEN_REJECTED,
        f"CoreWeave did not accept the token with issuer {values.issuer} and audience "
        f"{values.audience}; register an OIDC configuration with exactly this Issuer URL and "
        "Client ID (Audience), and see that it is active",
    )


def mint_denied(values: Values, *, granted: bool, applied: bool) -> Finding:
    """Return the finding of an identity that may not be issued credentials (HTTP 403).

    `granted` says that the binding has grants, `applied` that their policy is at CoreWeave.
    """
    if not granted:
        next_step = "grant it something by spec.grants of a binding, or apply a policy by hand"
    elif applied:
        next_step = (
            "the policy of this binding has one: see in the Console that it is there, in the "
            "organization that spec.organizationID of the StorageFederation names"
        )
    else:
        next_step = "apply status.policy.document, or a policy of your own with it"
    return Finding(
        Status.FALSE,
        Reason.MINT_DENIED,
        f"No access policy has a statement that allows {words.MINT_ACTION} on * to "
        f"{values.principal}; {next_step}",
    )


def not_in_force(refusal: Finding) -> Finding:
    """Return the finding of a refusal so soon after a change that it says nothing yet."""
    return Finding(
        Status.UNKNOWN,
        Reason.PENDING,
        f"CoreWeave refuses still ({refusal.reason}); a change made there just now may not be in "
        "force yet, it is tried again",
    )


def changed_lately(
    changes: tuple[dt.datetime | None, ...], now: dt.datetime, grace: dt.timedelta
) -> bool:
    """Tell whether one of `changes` is so recent that it may not be in force everywhere."""
    return any(moment is not None and now - moment < grace for moment in changes)


def turned(status: Json, kind: ConditionType, to: Status) -> dt.datetime | None:
    """Return since when the condition `kind` of a status is `to`; None where it is not."""
    condition: Mapping[str, Any] = recorded_condition(status, kind)
    return (
        parse_time(condition.get("lastTransitionTime")) if condition.get("status") == to else None
    )
