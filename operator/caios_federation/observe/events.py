"""Events for people: one per state change, made by typed constructors.

Posted by the acting controller alone. What can be acted on stands in a condition too; an event
says when it came about. An object's event is posted once until it is over.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json

_MESSAGE_LIMIT: Final = 1024
"""Characters; the API server refuses longer messages."""
_NAME_SHOWN: Final = 200
"""Characters of the object's name in the event's; with the digest they are a name."""
_DIGITS: Final = 16


class EventReason(StrEnum):
    """Why there is an event."""

    POLICY_APPLIED = "PolicyApplied"
    POLICY_REMOVED = "PolicyRemoved"
    POLICY_RETAINED = "PolicyRetained"
    DRIFT_REPAIRED = "DriftRepaired"
    CREDENTIALS_VERIFIED = "CredentialsVerified"
    TRUST_REGISTERED = "TrustRegistered"
    PODS_RESTARTED = "PodsRestarted"

    ANNOTATION_INVALID = "AnnotationInvalid"
    NAME_TAKEN = "NameTaken"
    CONFLICT = "Conflict"
    GRANT_NOT_ALLOWED = "GrantNotAllowed"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    POLICY_SYNC_FAILED = "PolicySyncFailed"
    TOKEN_REJECTED = "TokenRejected"  # noqa: S105  # an event's name
    MINT_DENIED = "MintDenied"
    PODS_MISSED = "PodsMissed"
    CLEANUP_BLOCKED = "CleanupBlocked"
    POLICY_ABANDONED = "PolicyAbandoned"


NORMAL: Final = frozenset(
    {
        EventReason.POLICY_APPLIED,
        EventReason.POLICY_REMOVED,
        EventReason.POLICY_RETAINED,
        EventReason.DRIFT_REPAIRED,
        EventReason.CREDENTIALS_VERIFIED,
        EventReason.TRUST_REGISTERED,
        EventReason.PODS_RESTARTED,
    }
)
"""Reasons that tell of something done; the others are warnings, and tell of a state."""
_ORDER: Final = {reason: place for place, reason in enumerate(EventReason)}


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is told of an object."""

    subject: Subject
    reason: EventReason
    message: str

    @property
    def type(self) -> str:
        """Normal for what was done, Warning for what is wrong."""
        return "Normal" if self.reason in NORMAL else "Warning"

    @property
    def order(self) -> tuple[int, str]:
        """Where it is told among events of one look: a policy is applied before it is tried."""
        return _ORDER[self.reason], self.message


def annotation_invalid(account: Subject, message: str) -> Event:
    """Return the event for an annotation that cannot be understood."""
    return Event(account, EventReason.ANNOTATION_INVALID, message)


def name_taken(account: Subject) -> Event:
    """Return the event for an annotated ServiceAccount whose binding's name is taken."""
    return Event(
        account,
        EventReason.NAME_TAKEN,
        f"{words.BINDING_KIND} {account.namespace}/{account.name} exists and names another "
        "ServiceAccount, so none was made for this one; create a binding of another name for it",
    )


def conflict(binding: Subject, message: str) -> Event:
    """Return the event for a binding whose ServiceAccount another binding has."""
    return Event(binding, EventReason.CONFLICT, message)


def grant_not_allowed(binding: Subject, message: str) -> Event:
    """Return the event for a binding that asks for more than the grant rules allow."""
    return Event(binding, EventReason.GRANT_NOT_ALLOWED, message)


def service_account_not_found(binding: Subject, message: str) -> Event:
    """Return the event for a binding whose ServiceAccount does not exist."""
    return Event(binding, EventReason.SERVICE_ACCOUNT_NOT_FOUND, message)


def policy_applied(binding: Subject, message: str) -> Event:
    """Return the event for a policy that was written to CoreWeave; the message has its digest."""
    return Event(binding, EventReason.POLICY_APPLIED, message)


def policy_removed(binding: Subject, message: str) -> Event:
    """Return the event for a policy that was removed from CoreWeave."""
    return Event(binding, EventReason.POLICY_REMOVED, message)


def policy_retained(binding: Subject, message: str) -> Event:
    """Return the event for a policy that stays when its binding goes, as the binding says."""
    return Event(binding, EventReason.POLICY_RETAINED, message)


def drift_repaired(binding: Subject, message: str) -> Event:
    """Return the event for a policy that somebody else had changed or removed."""
    return Event(binding, EventReason.DRIFT_REPAIRED, message)


def policy_sync_failed(binding: Subject, message: str) -> Event:
    """Return the event for a policy that could not be applied."""
    return Event(binding, EventReason.POLICY_SYNC_FAILED, message)


def cleanup_blocked(binding: Subject, message: str) -> Event:
    """Return the event for a binding that stays, since its policy could not be removed."""
    return Event(binding, EventReason.CLEANUP_BLOCKED, message)


def policy_abandoned(binding: Subject, message: str) -> Event:
    """Return the event for a binding that went without its policy, for want of a federation."""
    return Event(binding, EventReason.POLICY_ABANDONED, message)


def credentials_verified(binding: Subject, message: str) -> Event:
    """Return the event for an identity that was issued credentials, anew or for the first time."""
    return Event(binding, EventReason.CREDENTIALS_VERIFIED, message)


def token_rejected(binding: Subject, message: str) -> Event:
    """Return the event for an identity whose tokens CoreWeave does not accept."""
    return Event(binding, EventReason.TOKEN_REJECTED, message)


def mint_denied(binding: Subject, message: str) -> Event:
    """Return the event for an identity that no policy lets have credentials."""
    return Event(binding, EventReason.MINT_DENIED, message)


def trust_registered(federation: Subject, message: str) -> Event:
    """Return the event for an OIDC configuration that was created or repaired."""
    return Event(federation, EventReason.TRUST_REGISTERED, message)


def pods_missed(binding: Subject) -> Event:
    """Return the event for Pods without the identity: of the same words whichever Pods they are.

    The condition names them; with it the event would come again for every Pod.
    """
    return Event(
        binding,
        EventReason.PODS_MISSED,
        "Pods run without the identity: status.pods.missed names them, and the condition "
        "PodsFederated says what to do",
    )


def pods_restarted(binding: Subject, message: str) -> Event:
    """Return the event for what owns Pods and was restarted; the message has the time."""
    return Event(binding, EventReason.PODS_RESTARTED, message)


def event_name(event: Event, stamp: str) -> str:
    """Return the event's name: that of a warning is the same whenever the same is wrong.

    So the API server refuses what it has already: a controller that starts, or takes over, warns
    of nothing twice. What was done has its time (`stamp`, RFC 3339) in its name, since it may be
    done again.
    """
    subject = event.subject
    said = f"{subject.uid}\n{event.reason}\n{event.message}"
    said += f"\n{stamp}" if event.reason in NORMAL else ""
    digest = hashlib.sha256(said.encode(errors="backslashreplace")).hexdigest()
    return f"{subject.name[:_NAME_SHOWN].rstrip('-.')}.{digest[:_DIGITS]}"


def render_event(event: Event, now: dt.datetime) -> Json:
    """Return `event` as the API has it."""
    subject = event.subject
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": event_name(event, stamp),
            "namespace": subject.namespace or "default",
        },
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_MESSAGE_LIMIT],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": words.MANAGER},
        "reportingComponent": words.MANAGER,
    }
    return body


class Episodes:
    """Which events are current and posted: each once, and again only after it was over.

    A warning is current while what it tells of lasts; what was done is current in the look that did
    it alone.
    """

    def __init__(self) -> None:
        self._posted: dict[str, frozenset[Event]] = {}

    def open(self, key: str, events: frozenset[Event]) -> frozenset[Event]:
        """Note that exactly `events` hold for the object `key`; return those yet to be posted.

        By name, so that this can be told of an object that is gone; a successor of the same name
        has another uid, and so other events.
        """
        posted = self._posted.pop(key, frozenset()) & events
        if posted:
            self._posted[key] = posted
        return events - posted

    def posted(self, key: str, event: Event) -> None:
        """Note that `event` of the object `key` was posted."""
        self._posted[key] = self._posted.get(key, frozenset()) | {event}
