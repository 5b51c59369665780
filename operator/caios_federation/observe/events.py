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

    ANNOTATION_INVALID = "AnnotationInvalid"
    NAME_TAKEN = "NameTaken"
    CONFLICT = "Conflict"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"


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
    """A Warning about an object."""

    subject: Subject
    reason: EventReason
    message: str


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


def service_account_not_found(binding: Subject, message: str) -> Event:
    """Return the event for a binding whose ServiceAccount does not exist."""
    return Event(binding, EventReason.SERVICE_ACCOUNT_NOT_FOUND, message)


def event_name(event: Event) -> str:
    """Return the event's name: the same whenever the same is said of the same object.

    So the API server refuses what it has already: a controller that starts, or takes over, says
    nothing twice.
    """
    subject = event.subject
    said = f"{subject.uid}\n{event.reason}\n{event.message}"
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
            "name": event_name(event),
            "namespace": subject.namespace or "default",
        },
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "type": "Warning",
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
    """Which warnings are current and posted: each once, and again only after it was over."""

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
