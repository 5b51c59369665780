"""200 bindings, an API that fails three times in ten, an operator that is killed; and then rest.

All that is told here comes from one run: bindings are applied, changed and deleted while the API
fails and the operator is killed, and what is left is the cluster of the tests about rest.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import operator_writes
from integration.product.conftest import wait_for
from integration.storage.conftest import SETTINGS, Storage, opened
from integration.storage.fleet import Fleet, foreign, grants_of

SIZE = 200
"""Bindings that are left in the end, of somewhat more that were applied."""
DELETED = range(40, 60)
APPLIED = range(SIZE + len(DELETED))
SHARE = 0.3
"""Of the requests to CoreWeave's API, those that go wrong."""
KINDS: tuple[dict[str, Any], ...] = (
    {"status": 429},
    {"status": 429, "retryAfterSeconds": 1},
    {"status": 500, "stage": "after"},
    {"status": 503, "retryAfterSeconds": 1},
    {"status": 504},
    {"status": 502, "body": "garbage"},
    {"status": 200, "body": "garbage"},
    {"body": "truncated"},
    {"dropConnection": True},
    {"dropConnection": True, "stage": "after"},
    {"latencySeconds": 0.5},
    # Longer than the operator waits: what it gave up may be stored after what it sent next.
    {"latencySeconds": 3},
)
FAULTS = [{**kind, "probability": 1 - (1 - SHARE) ** (1 / len(KINDS))} for kind in KINDS]
LIST = "ListAccessPolicies"
RESYNC_SECONDS = float(SETTINGS["CAIOS_RECONCILE__RESYNC_SECONDS"])
PROGRESS_SECONDS = 60.0
CONVERGED_SECONDS = 90.0
"""Longer than our own writes are believed more than a LIST: 30 s."""
UNDONE_SECONDS = 30.0
"""How long a policy may be as it was declared before, when a write that was given up comes about
after the next one: a few resyncs, and a process that is killed."""


class Storm:
    """The run."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.fleet = Fleet(storage, len(APPLIED))
        self.foreign = foreign(storage)
        self.kills = 0

    def run(self) -> None:
        """Apply, fail, kill, change and delete; then wait until all is as declared."""
        remote, fleet = self.storage.remote, self.fleet
        for policy in self.foreign.values():
            remote.put_policy(policy)
        fleet.namespaces()
        with remote.failing(*FAULTS), ThreadPoolExecutor(1) as background:
            applying = background.submit(
                fleet.apply, {number: grants_of(number) for number in APPLIED}
            )
            self._kill_when_policies_reach(20)
            self._kill_when_policies_reach(80)
            applying.result()
            fleet.change(range(20), by=1)
            self._wait_for(lambda: self._stored(range(20)) > 5, "a changed policy")
            self._kill()
            fleet.change(range(20, 40), by=3)
            fleet.delete(DELETED[:10])
            self._start()
            fleet.delete(DELETED[10:])
            self._wait_for(lambda: self._removed() > 3, "a removed policy")
            self._kill_and_start()
            self._wait_for(lambda: len(fleet.unready()) < 30, "all but 30 of them ready")
            self._kill_and_start()
            self._wait_for(self._all_as_declared, "all as declared while faults go on")
            log = list(remote.emulator.state.log)
            hit = [entry for entry in log if entry.fault]
            assert len(hit) > 200
            assert abs(len(hit) / len(log) - SHARE) < 0.06
        assert self.kills == 5
        assert eventually(self._converged, CONVERGED_SECONDS), self._difference()

    def _converged(self) -> bool:
        """Tell whether all is as declared, and no request is left that could change it."""
        if not all(entry["status"] for entry in self.storage.remote.requests()):
            return False
        return self.storage.own_policies() == self.fleet.expected and self._all_ready()

    def _all_as_declared(self) -> bool:
        return self._current() == self.fleet.expected and self._all_ready()

    def _all_ready(self) -> bool:
        bodies = self.fleet.bindings()
        return len(bodies) == len(self.fleet.left) and not self.fleet.unready()

    def _difference(self) -> str:
        found, expected = self.storage.own_policies(), self.fleet.expected
        wrong = {n for n in found.keys() & expected.keys() if found[n] != expected[n]}
        return (
            f"missing {sorted(expected.keys() - found.keys())}, "
            f"left {sorted(found.keys() - expected.keys())}, wrong {sorted(wrong)}, "
            f"{len(self.fleet.bindings())} bindings, not ready {self.fleet.unready()[:5]}"
        )

    def _current(self) -> dict[str, Any]:
        """Return what is stored; never the victim of a fault."""
        last = {change.name: change.policy for change in self.storage.remote.changes()}
        own = {n: p for n, p in last.items() if n.startswith(self.storage.prefix)}
        return {name: policy for name, policy in own.items() if policy is not None}

    def _stored(self, numbers: range) -> int:
        """Return how many of the bindings have the policy that they are to have now."""
        current, expected = self._current(), self.fleet.expected
        names = map(self.fleet.policy_name, numbers)
        return sum(current.get(name) == expected[name] for name in names)

    def _removed(self) -> int:
        return sum(
            change.policy is None and change.name.startswith(self.storage.prefix)
            for change in self.storage.remote.changes()
        )

    def _kill_when_policies_reach(self, number: int) -> None:
        self._wait_for(lambda: len(self._current()) >= number, f"{number} policies")
        self._kill_and_start()

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        assert eventually(condition, PROGRESS_SECONDS), f"never saw {what}"

    def _kill_and_start(self) -> None:
        self._kill()
        self._start()

    def _kill(self) -> None:
        assert self.storage.world.product.alive
        self.storage.world.product.stop(grace=0)
        self.kills += 1

    def _start(self) -> None:
        self.storage.world.product.start(SETTINGS)


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """Yield a run that has converged."""
    with opened(tmp_path_factory.mktemp("convergence"), SETTINGS) as storage:
        storm = Storm(storage)
        storm.run()
        yield storm


def test_in_the_end_policies_are_as_declared_and_every_binding_is_ready(storm: Storm) -> None:
    assert storm.storage.own_policies() == storm.fleet.expected
    assert len(storm.fleet.expected) == SIZE
    assert storm.fleet.unready() == []


def test_policies_of_others_are_never_written_nor_removed(storm: Storm) -> None:
    found = storm.storage.remote.policies()
    assert {name: found.get(name) for name in storm.foreign} == storm.foreign
    touched = [
        change.name
        for change in storm.storage.remote.changes()[len(storm.foreign) :]
        if not change.name.startswith(storm.storage.prefix)
    ]
    asked = [
        entry["path"]
        for entry in storm.storage.remote.requests("DeleteAccessPolicy")
        if not entry["path"].rpartition("/")[2].startswith(storm.storage.prefix)
    ]
    assert (touched, asked) == ([], [])


def test_no_policy_was_ever_other_than_declared_by_then(storm: Storm) -> None:
    own = [c for c in storm.storage.remote.changes() if c.name.startswith(storm.storage.prefix)]
    assert len(own) >= SIZE
    assert [problem for change in own if (problem := storm.fleet.undeclared(change))] == []


def test_what_comes_about_late_is_undone_within_half_a_minute(storm: Storm) -> None:
    own = [c for c in storm.storage.remote.changes() if c.name.startswith(storm.storage.prefix)]
    steps_back = storm.fleet.steps_back(own)
    print(f"seconds that an older policy was back: {sorted(steps_back)}")
    assert max(steps_back, default=0) < UNDONE_SECONDS


def test_at_rest_a_resync_is_one_list_and_no_write(storm: Storm) -> None:
    """A LIST begins each resync: between the first and the third are two whole ones."""
    storage, remote = storm.storage, storm.storage.remote
    counts = {"total": SIZE, "ready": SIZE}
    wait_for(
        lambda: (storage.world.get("sfed", "default", "default") or {})["status"]["bindings"],
        counts,
    )
    lists = len(remote.requests(LIST))
    _wait_for_lists(storm, lists + 1)
    writes, changes = len(_operator_writes(storage)), len(remote.changes())
    asked = len(remote.requests())
    _wait_for_lists(storm, lists + 3)
    assert (_operator_writes(storage)[writes:], remote.changes()[changes:]) == ([], [])
    since = [entry["operation"] for entry in remote.requests()[asked:]]
    assert set(since) == {LIST, "WhoAmI", "ListOIDCConfigs"}
    times = [dt.datetime.fromisoformat(e["time"]) for e in remote.requests(LIST)[lists:]]
    pauses = [(late - early).total_seconds() for early, late in pairwise(times)]
    # The resync period is spread by a fifth each way.
    assert [pause for pause in pauses if pause < RESYNC_SECONDS * 0.75] == []


def _operator_writes(storage: Storage) -> list[tuple[str, str]]:
    return operator_writes(storage.world.plane.audit_log)


def _wait_for_lists(storm: Storm, number: int) -> None:
    remote = storm.storage.remote
    assert eventually(lambda: len(remote.requests(LIST)) >= number, PROGRESS_SECONDS)
