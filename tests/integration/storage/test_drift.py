"""What others do to our policies: put right at the next resync, or left alone if it is the same."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from integration.product.conftest import wait_for
from integration.storage.conftest import READY, Storage, granted
from integration.storage.remote import Json

GRANTS = (
    {"name": "data", "buckets": ["data", "more"], "access": "ReadWrite", "prefixes": ["a/", "b/"]},
    {"name": "logs", "buckets": ["logs"], "access": "WriteOnly"},
)
CHANGED = ("widened", "narrowed", "removed")


@dataclass(frozen=True, slots=True)
class Seen:
    """A binding and its policy."""

    body: Json
    policy: Any
    events: Counter[str]

    @property
    def conditions(self) -> list[Json]:
        """The binding's conditions, with the times at which they turned."""
        found: list[Json] = self.body["status"]["conditions"]
        return found


@dataclass(frozen=True, slots=True)
class Meddling:
    """Bindings by name, before others meddled with their policies and two resyncs after it."""

    before: Mapping[str, Seen]
    put: Mapping[str, Json]
    after: Mapping[str, Seen]


def _widened(policy: Json) -> Json:
    first = policy["statements"][0]
    wider = {**first, "name": "everything", "actions": ["s3:*"], "resources": ["*"]}
    return {**policy, "statements": [*policy["statements"], wider]}


def _narrowed(policy: Json) -> Json:
    return {**policy, "statements": policy["statements"][:1]}


def _rewritten(policy: Json) -> Json:
    """Return what means the same: another order, other names, everything twice."""
    statements = [
        {
            **each,
            "name": f"renamed-{number}",
            **{
                field: [*reversed(each[field]), each[field][0]]
                for field in ("actions", "resources", "principals")
            },
        }
        for number, each in enumerate(reversed(policy["statements"]))
    ]
    return {**policy, "statements": [*statements, statements[0]]}


MEDDLE: Mapping[str, Callable[[Json], Json]] = {
    "widened": _widened,
    "narrowed": _narrowed,
    "rewritten": _rewritten,
}


@pytest.fixture(scope="module")
def meddling(storage: Storage) -> Meddling:
    """Meddle with policies that an earlier process of the operator applied.

    What a process wrote itself it believes more than a LIST, for half a minute.
    """
    place, names = f"drift-{uuid.uuid4().hex[:8]}", (*CHANGED, "rewritten")
    storage.world.kubectl.run("create", "namespace", place)
    objects: list[Json] = []
    for name in names:
        objects += granted(place, *GRANTS, name=name)
    storage.world.apply(*objects)
    for name in names:
        wait_for(partial(storage.ready, place, name), READY)
    storage.restart()
    storage.sweep()

    before = {name: _seen(storage, place, name) for name in names}
    put = {name: meddle(before[name].policy) for name, meddle in MEDDLE.items()}
    for policy in put.values():
        storage.remote.put_policy(policy)
    storage.remote.delete_policy(before["removed"].policy["name"])
    storage.sweep()
    for name in CHANGED:
        wait_for(partial(storage.policy_of, place, name), before[name].policy)
    storage.sweep()
    return Meddling(before, put, {name: _seen(storage, place, name) for name in names})


@pytest.mark.parametrize("how", CHANGED)
def test_what_somebody_changed_is_repaired_and_told_once(meddling: Meddling, how: str) -> None:
    before, after = meddling.before[how], meddling.after[how]
    assert after.policy == before.policy != meddling.put.get(how)
    assert after.events["DriftRepaired"] == 1
    assert after.conditions == before.conditions


def test_the_same_in_other_words_is_left_alone(meddling: Meddling) -> None:
    before, after = meddling.before["rewritten"], meddling.after["rewritten"]
    assert after.policy == meddling.put["rewritten"] != before.policy
    assert (after.events, after.body) == (before.events, before.body)


def _seen(storage: Storage, place: str, name: str) -> Seen:
    body = storage.world.get("fsb", place, name) or {}
    return Seen(body, storage.policy_of(place, name), storage.events(place, name))
