"""What others do to our policies: put right at the next resync, or left alone if it is the same."""

import uuid
from functools import partial
from typing import Any

import pytest

from integration.product.conftest import wait_for
from integration.storage.conftest import READY, Json, Storage, granted

NAMES = ("widened", "narrowed", "removed", "rewritten")
GRANTS = (
    {"name": "data", "buckets": ["data", "more"], "access": "ReadWrite", "prefixes": ["a/", "b/"]},
    {"name": "logs", "buckets": ["logs"], "access": "WriteOnly"},
)


@pytest.fixture(scope="module")
def place(storage: Storage) -> str:
    """Return a namespace with Ready bindings, applied by an earlier process of the operator.

    What a process wrote itself it believes more than a LIST, for half a minute.
    """
    namespace = f"drift-{uuid.uuid4().hex[:8]}"
    storage.world.kubectl.run("create", "namespace", namespace)
    objects: list[Json] = []
    for name in NAMES:
        objects += granted(namespace, *GRANTS, name=name)
    storage.world.apply(*objects)
    for name in NAMES:
        wait_for(partial(storage.ready, namespace, name), READY)
    storage.restart()
    storage.sweep()
    return namespace


@pytest.mark.parametrize("how", ["widened", "narrowed", "removed"])
def test_what_somebody_changed_is_repaired_and_told_once(
    storage: Storage, place: str, how: str
) -> None:
    conditions, policy = _conditions(storage, place, how), storage.policy_of(place, how)
    first, *others = policy["statements"]
    if how == "removed":
        storage.remote.delete_policy(policy["name"])
    elif how == "widened":
        wider = {**first, "name": "everything", "actions": ["s3:*"], "resources": ["*"]}
        storage.remote.put_policy({**policy, "statements": [first, *others, wider]})
    else:
        storage.remote.put_policy({**policy, "statements": [first]})
    wait_for(lambda: storage.policy_of(place, how), policy)
    wait_for(lambda: storage.events(place, how)["DriftRepaired"], 1)
    storage.sweep()
    assert storage.events(place, how)["DriftRepaired"] == 1
    assert _conditions(storage, place, how) == conditions


def test_the_same_in_other_words_is_left_alone(storage: Storage, place: str) -> None:
    before = storage.world.get("fsb", place, "rewritten")
    policy = storage.policy_of(place, "rewritten")
    lists = ("actions", "resources", "principals")
    statements = [
        {
            **each,
            "name": f"renamed-{number}",
            **{field: [*reversed(each[field]), each[field][0]] for field in lists},
        }
        for number, each in enumerate(reversed(policy["statements"]))
    ]
    rewritten = {**policy, "statements": [*statements, statements[0]]}
    storage.remote.put_policy(rewritten)
    changes = len(storage.remote.changes())
    storage.sweep()
    storage.sweep()
    assert storage.policy_of(place, "rewritten") == rewritten
    names = [change.name for change in storage.remote.changes()[changes:]]
    assert policy["name"] not in names
    assert storage.world.get("fsb", place, "rewritten") == before


def _conditions(storage: Storage, namespace: str, name: str) -> list[dict[str, Any]]:
    """Return a binding's conditions, with the times at which they turned."""
    found: list[dict[str, Any]] = (storage.world.get("fsb", namespace, name) or {})["status"][
        "conditions"
    ]
    return found
