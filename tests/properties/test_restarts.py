"""Restarts end: whatever the webhook does, and however often somebody looks.

A small world in minutes: a Deployment whose restart replaces every Pod, a webhook that injects as
a test says, and outages that the operator notices when they begin and end.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from builders import FEDERATED, Json, pod
from caios_federation.core.plan import Placement
from caios_federation.core.pods import CountedPod, Standing, standing_of
from caios_federation.core.restarts import (
    SETTLING,
    AlreadyRestarting,
    Restart,
    Workload,
    decide_restart,
    read_workload,
    render_rollout,
)
from strategies import json_values

START = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
COOLDOWN = dt.timedelta(minutes=10)
MINUTE = dt.timedelta(minutes=1)

waits = st.integers(1, 120)
"""Minutes until the next thing happens."""
things = st.sampled_from(["look", "look", "look", "outage", "recovery", "crash", "scale up"])
histories = st.lists(st.tuples(waits, things), max_size=60)


@dataclass
class World:
    """A Deployment of two Pods that missed injection, and what became of it."""

    injects: Callable[[], bool]
    """Whether the webhook, where it serves, injects the next Pod."""
    now: dt.datetime = START
    serving_since: dt.datetime | None = START
    workload: Workload = field(default_factory=lambda: Workload("Deployment", "trainer"))
    pods: list[CountedPod] = field(default_factory=list)
    restarts: int = 0
    recoveries: int = 0

    def __post_init__(self) -> None:
        self.pods = [self.make(federated=False), self.make(federated=False)]
        self.now += SETTLING

    def make(self, *, federated: bool | None = None) -> CountedPod:
        """Create a Pod now."""
        injected = self.serving_since is not None and self.injects()
        carries = injected if federated is None else federated
        return CountedPod("p", "u", self.now, federated=carries, ready=True, owner=None)

    def live(self, thing: str) -> None:
        match thing:
            case "look":
                self.look()
            case "outage":
                self.serving_since = None
            case "recovery" if self.serving_since is None:
                self.serving_since = self.now
                self.recoveries += 1
            case "crash":
                self.pods[0] = self.make()
            case "scale up":
                self.pods.append(self.make())

    def look(self) -> None:
        if all(one.federated for one in self.pods):
            return
        decision = decide_restart(self.workload, self.pods, self.now, COOLDOWN, self.serving_since)
        if isinstance(decision, Restart):
            self.restarts += 1
            meta = {"name": "trainer", "namespace": "team-a", "resourceVersion": "1"}
            self.workload = read_workload("Deployment", render_rollout(meta, decision, self.now))
            self.pods = [self.make() for _ in self.pods]

    def run(self, history: list[tuple[int, str]]) -> None:
        for minutes, thing in history:
            self.now += minutes * MINUTE
            self.live(thing)


@given(histories)
def test_a_webhook_that_never_injects_sees_one_restart_and_one_for_each_outage(
    history: list[tuple[int, str]],
) -> None:
    world = World(injects=lambda: False)
    world.run(history)
    assert world.restarts <= 1 + world.recoveries


@given(histories, st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_webhook_that_injects_as_it_likes_sees_restarts_at_doubling_distances(
    history: list[tuple[int, str]], moods: list[bool]
) -> None:
    turn = iter(moods * 1000)
    world = World(injects=lambda: next(turn))
    world.run([(minutes, thing) for minutes, thing in history if thing != "outage"])
    passed = (world.now - START) / COOLDOWN
    # 1 + 2 + 4 + ... cooldowns lie between the restarts after the first.
    assert 2 ** max(world.restarts - 1, 0) - 1 <= passed


@given(histories)
def test_a_webhook_that_injects_whenever_it_serves_heals_everything(
    history: list[tuple[int, str]],
) -> None:
    world = World(injects=lambda: True)
    world.run(history)
    if world.serving_since is None:
        world.live("recovery")
    for _ in range(3):
        world.now += COOLDOWN
        world.look()
    assert all(one.federated for one in world.pods)


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_rollout_that_is_stuck_is_left_alone_however_old_it_is(old: int, looked: int) -> None:
    world = World(injects=lambda: True)
    pods = [replace(one, created=START - old * MINUTE) for one in world.pods]
    stuck = replace(world.workload, restarted_at=START + MINUTE)
    now = START + (looked + 1) * MINUTE
    decision = decide_restart(stuck, pods, now, COOLDOWN, START)
    assert decision == AlreadyRestarting()


@given(json_values, json_values, json_values)
def test_a_pod_of_any_shape_is_judged(metadata: object, status: object, spec: object) -> None:
    raw: Json = {**pod(), "metadata": metadata, "status": status}
    assert standing_of(raw, FEDERATED, Placement()) in set(Standing)
    assert standing_of({**pod(), "spec": spec}, FEDERATED, Placement()) in set(Standing)
