"""Events: rendered as the API takes them, and posted once an episode."""

import datetime as dt
import re
from dataclasses import replace

import pytest

from caios_federation.observe import events
from caios_federation.observe.events import (
    NORMAL,
    Episodes,
    Event,
    EventReason,
    Subject,
    annotation_invalid,
    conflict,
    event_name,
    name_taken,
    policy_removed,
    render_event,
    service_account_not_found,
)

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
STAMP = "2026-11-24T12:00:00Z"
READER = Subject("v1", "ServiceAccount", "team-a", "reader", "uid-1")
INVALID = annotation_invalid(READER, "annotation is wrong")
TAKEN = name_taken(READER)
KEY = "ServiceAccount team-a/reader"


def begin(episodes: Episodes, *events: Event, key: str = KEY) -> frozenset[Event]:
    """Return what is yet to be posted, and post it."""
    new = episodes.open(key, frozenset(events))
    for event in new:
        episodes.posted(key, event)
    return new


def test_an_event_is_new_once() -> None:
    episodes = Episodes()
    assert begin(episodes, INVALID) == {INVALID}
    assert begin(episodes, INVALID) == frozenset()


def test_an_event_that_could_not_be_posted_is_still_to_be_posted() -> None:
    episodes = Episodes()
    assert episodes.open(KEY, frozenset({INVALID, TAKEN})) == {INVALID, TAKEN}
    episodes.posted(KEY, TAKEN)
    assert episodes.open(KEY, frozenset({INVALID, TAKEN})) == {INVALID}


def test_an_event_is_new_again_after_it_was_over() -> None:
    episodes = Episodes()
    begin(episodes, INVALID)
    assert begin(episodes) == frozenset()
    assert begin(episodes, INVALID) == {INVALID}


def test_an_event_that_joins_another_is_new_alone() -> None:
    episodes = Episodes()
    begin(episodes, INVALID)
    assert begin(episodes, INVALID, TAKEN) == {TAKEN}
    assert begin(episodes, TAKEN) == frozenset()
    assert begin(episodes, INVALID, TAKEN) == {INVALID}


def test_another_message_is_another_event() -> None:
    episodes = Episodes()
    begin(episodes, INVALID)
    other = annotation_invalid(READER, "annotation is wrong otherwise")
    assert begin(episodes, other) == {other}


def test_objects_have_episodes_of_their_own() -> None:
    episodes = Episodes()
    begin(episodes, INVALID)
    assert begin(episodes, INVALID, key="another") == {INVALID}


def test_events_of_one_look_are_told_in_the_order_of_its_steps() -> None:
    verified = events.credentials_verified(READER, "issued")
    applied, removed = events.policy_applied(READER, "b"), policy_removed(READER, "a")
    told = sorted({TAKEN, verified, removed, applied}, key=lambda event: event.order)
    assert told == [applied, removed, verified, TAKEN]


def test_what_is_over_leaves_nothing_in_memory() -> None:
    episodes = Episodes()
    for number in range(100):
        begin(episodes, INVALID, key=str(number))
        begin(episodes, key=str(number))
    assert episodes._posted == {}


def test_an_event_is_rendered_as_the_api_takes_it() -> None:
    assert render_event(INVALID, NOW) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(INVALID, STAMP), "namespace": "team-a"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "namespace": "team-a",
            "name": "reader",
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "AnnotationInvalid",
        "message": "annotation is wrong",
        "firstTimestamp": "2026-11-24T12:00:00Z",
        "lastTimestamp": "2026-11-24T12:00:00Z",
        "count": 1,
        "source": {"component": "caios-federation"},
        "reportingComponent": "caios-federation",
    }


def test_what_is_done_again_is_told_again() -> None:
    done = policy_removed(READER, "Policy 'x' is removed")
    assert event_name(done, STAMP) != event_name(done, "2026-11-24T12:00:01Z")
    assert event_name(INVALID, STAMP) == event_name(INVALID, "2026-11-24T12:00:01Z")


def test_the_same_event_has_the_same_name_at_any_time_and_in_any_process() -> None:
    assert event_name(INVALID, STAMP) == "reader.0192adfd0713ed1d"


@pytest.mark.parametrize(
    "other",
    [
        replace(INVALID, message="annotation is wrong otherwise"),
        replace(INVALID, reason=EventReason.CONFLICT),
        replace(INVALID, subject=replace(READER, uid="uid-2")),
    ],
)
def test_another_event_has_another_name(other: Event) -> None:
    assert event_name(other, STAMP) != event_name(INVALID, STAMP)


@pytest.mark.parametrize("at", [".", "-", ".-"])
def test_a_name_that_is_cut_is_a_name_still(at: str) -> None:
    subject = replace(READER, name="n" * 199 + at + "n" * 10)
    assert re.fullmatch(
        "n{199}[.][0-9a-f]{16}", event_name(replace(INVALID, subject=subject), STAMP)
    )


def test_an_event_about_a_cluster_scoped_object_is_in_the_default_namespace() -> None:
    subject = Subject("caios.coreweave.com/v1alpha1", "StorageFederation", "", "default", "uid-2")
    assert render_event(conflict(subject, "x"), NOW)["metadata"]["namespace"] == "default"


def test_a_long_name_and_a_long_message_are_cut_to_what_the_api_takes() -> None:
    subject = Subject("v1", "ServiceAccount", "team-a", "n" * 253, "uid-1")
    body = render_event(annotation_invalid(subject, "m" * 5000), NOW)
    assert re.fullmatch("n{200}[.][0-9a-f]{16}", body["metadata"]["name"])
    assert body["message"] == "m" * 1024
    assert body["involvedObject"]["name"] == "n" * 253


MADE = {
    INVALID,
    TAKEN,
    conflict(READER, "x"),
    service_account_not_found(READER, "x"),
    events.grant_not_allowed(READER, "x"),
    events.policy_applied(READER, "x"),
    events.policy_removed(READER, "x"),
    events.policy_retained(READER, "x"),
    events.drift_repaired(READER, "x"),
    events.policy_sync_failed(READER, "x"),
    events.cleanup_blocked(READER, "x"),
    events.policy_abandoned(READER, "x"),
    events.credentials_verified(READER, "x"),
    events.token_rejected(READER, "x"),
    events.mint_denied(READER, "x"),
    events.trust_registered(READER, "x"),
    events.pods_missed(READER),
    events.pods_restarted(READER, "x"),
}


def test_each_reason_has_an_event() -> None:
    assert {event.reason for event in MADE} == set(EventReason)


def test_what_was_done_is_normal_and_what_is_wrong_a_warning() -> None:
    normal = {event.reason for event in MADE if render_event(event, NOW)["type"] == "Normal"}
    assert normal == NORMAL
    warnings = {event.reason for event in MADE if render_event(event, NOW)["type"] == "Warning"}
    assert warnings == set(EventReason) - NORMAL


def test_a_taken_name_is_told_with_what_to_do() -> None:
    assert TAKEN.message.startswith("FederatedStorageBinding team-a/reader exists")
    assert "create a binding of another name" in TAKEN.message
