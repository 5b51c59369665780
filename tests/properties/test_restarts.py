"""Restarts end: whatever the webhook does, and however often somebody looks.

A small world in minutes: a Deployment whose restart replaces every Pod, a webhook that injects as
a test says, outages that the operator notices when they begin and end, injection that is switched
off and on, and an issuer that becomes another one, of which the webhook learns some time later.
The operator remembers nothing but what is written on the Deployment and in the status.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from builders import FEDERATED, Json, pod
from caios_federation.core.new_pods import read_new_pods, remember_new_pods, render_new_pods
from caios_federation.core.plan import Placement
from caios_federation.core.pods import CountedPod, Standing, standing_of
from caios_federation.core.principal import Principal
from caios_federation.core.restarts import (
    SETTLING,
    AlreadyRestarting,
    Decision,
    NotAgain,
    Restart,
    Workload,
    decide_restart,
    read_workload,
    render_rollout,
)
from strategies import json_values

A = Principal("a")
START = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
COOLDOWN = dt.timedelta(minutes=10)
MINUTE = dt.timedelta(minutes=1)
SPREADING = 6 * MINUTE

waits = st.integers(1, 120)
"""Minutes until the next thing happens."""
CAUSES = ["recovery", "on", "issuer a", "issuer b"]
"""What can end a reason for which Pods miss injection."""
things = st.sampled_from(["look"] * 3 + ["outage", "off", "crash", "scale up", *CAUSES])
histories = st.lists(st.tuples(waits, things), max_size=60)


@dataclass(frozen=True, slots=True)
class Run:
    """A Pod that runs."""

    created: dt.datetime
    principal: Principal | None


@dataclass
class World:
    """A Deployment of two Pods that missed injection, and what became of it."""

    injects: Callable[[], bool]
    """Whether the webhook, where it serves, injects the next Pod."""
    learns: bool = True
    """Whether the webhook ever learns of another issuer."""
    now: dt.datetime = START
    serving_since: dt.datetime | None = START
    wanted: bool = True
    principal: Principal = A
    given: Principal = A
    """By the webhook."""
    learnt_at: dt.datetime = START
    status: Json = field(default_factory=dict)
    workload: Workload = field(default_factory=lambda: Workload("Deployment", "trainer"))
    pods: list[Run] = field(default_factory=list)
    causes: list[dt.datetime] = field(default_factory=list)
    """For each restart but those in vain: since when new Pods were given the identity."""
    restarts: int = 0
    ended: int = 0
    """How many causes ended."""

    def __post_init__(self) -> None:
        self.pods = [Run(self.now, None), Run(self.now, None)]
        self.remember()
        self.now += SETTLING

    def make(self) -> Run:
        """Create a Pod now."""
        if self.learns and self.now >= self.learnt_at:
            self.given = self.principal
        injected = self.wanted and self.serving_since is not None and self.injects()
        return Run(self.now, self.given if injected else None)

    def live(self, thing: str) -> None:
        match thing:
            case "look":
                self.look()
            case "outage":
                self.serving_since = None
            case "recovery" if self.serving_since is None:
                self.serving_since = self.now
                self.ended += 1
            case "off":
                self.wanted = False
            case "on" if not self.wanted:
                self.wanted = True
                self.ended += 1
            case "issuer a" | "issuer b" if self.principal != thing[-1]:
                self.principal = Principal(thing[-1])
                self.learnt_at = self.now + SPREADING - MINUTE
                self.ended += 1
            case "crash":
                self.pods[0] = self.make()
            case "scale up":
                self.pods.append(self.make())
        self.remember()

    def remember(self) -> None:
        """Do as the operator does whenever something changed."""
        new_pods = remember_new_pods(
            read_new_pods(self.status),
            self.principal if self.wanted else None,
            made=START,
            now=self.now,
            spreading=SPREADING,
        )
        self.status = {"newPods": render_new_pods(new_pods)}

    def counted(self) -> list[CountedPod]:
        return [
            CountedPod(
                name="p",
                uid="u",
                created=one.created,
                federated=one.principal == self.principal,
                ready=True,
                owner=None,
                stale=one.principal not in {None, self.principal},
            )
            for one in self.pods
        ]

    def look(self) -> Decision | None:
        self.remember()
        new_pods = read_new_pods(self.status)
        assert new_pods is not None
        if not new_pods.injected or all(one.federated for one in self.counted()):
            return None
        since = self.serving_since and max(self.serving_since, new_pods.since)
        decision = decide_restart(self.workload, self.counted(), self.now, COOLDOWN, since)
        if isinstance(decision, Restart):
            assert since is not None
            self.restarts += 1
            if not decision.in_vain:
                self.causes.append(since)
            meta = {"name": "trainer", "namespace": "team-a", "resourceVersion": "1"}
            self.workload = read_workload("Deployment", render_rollout(meta, decision, self.now))
            self.pods = [self.make() for _ in self.pods]
        return decision

    def run(self, history: list[tuple[int, str]]) -> None:
        for minutes, thing in history:
            self.now += minutes * MINUTE
            self.live(thing)

    def calm_down(self) -> None:
        """Have everything switched on, and let time pass."""
        for thing in ("recovery", "on"):
            self.live(thing)
        for _ in range(3):
            self.now += COOLDOWN
            self.look()

    @property
    def healed(self) -> bool:
        return all(one.federated for one in self.counted())


@given(histories, st.booleans())
def test_a_webhook_that_never_injects_sees_one_restart_and_one_for_each_cause_that_ended(
    history: list[tuple[int, str]], learns: bool
) -> None:
    world = World(injects=lambda: False, learns=learns)
    world.run(history)
    assert world.restarts <= 1 + world.ended


@given(histories, st.booleans(), st.lists(st.booleans(), min_size=1, max_size=40))
def test_an_owner_is_restarted_at_most_once_for_each_cause(
    history: list[tuple[int, str]], learns: bool, moods: list[bool]
) -> None:
    """Whatever its Pods do, and whichever causes take turns."""
    turn = iter(moods * 1000)
    world = World(injects=lambda: next(turn), learns=learns)
    world.run(history)
    assert len(set(world.causes)) == len(world.causes) <= 1 + world.ended


@given(st.lists(waits, max_size=60))
def test_pods_that_carry_another_principal_for_ever_see_no_second_restart(
    looks: list[int],
) -> None:
    world = World(injects=lambda: True, learns=False)
    world.look()
    world.run([(30, "issuer b"), *((minutes, "look") for minutes in looks)])
    world.calm_down()
    assert world.restarts == 2
    assert world.look() == NotAgain(stale=True)


@given(histories, st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_webhook_that_injects_as_it_likes_sees_restarts_at_doubling_distances(
    history: list[tuple[int, str]], moods: list[bool]
) -> None:
    turn = iter(moods * 1000)
    world = World(injects=lambda: next(turn))
    world.run([(minutes, thing) for minutes, thing in history if thing not in {"outage", *CAUSES}])
    passed = (world.now - START) / COOLDOWN
    # 1 + 2 + 4 + ... cooldowns lie between the restarts after the first.
    assert 2 ** max(world.restarts - 1, 0) - 1 <= passed


@given(histories)
def test_a_webhook_that_injects_whenever_it_serves_heals_everything(
    history: list[tuple[int, str]],
) -> None:
    world = World(injects=lambda: True)
    world.run(history)
    world.calm_down()
    assert world.healed


@given(st.permutations([*CAUSES, *CAUSES]), st.booleans())
def test_each_new_cause_restarts_what_was_restarted_for_another_one(
    causes: list[str], crashes: bool
) -> None:
    """Pods that were all created anew while the cause lasted, younger than the last restart."""
    world = World(injects=lambda: True)
    world.look()
    for cause in causes:
        before = {"recovery": "outage", "on": "off"}.get(cause)
        if before:
            world.run([(1, before)])
        if before or crashes:
            world.run([(15, "crash")])
            world.pods = [world.make() for _ in world.pods]
        lacking = world.ended
        world.run([(15, cause)])
        due = world.ended > lacking
        restarts = world.restarts
        world.run([(1, "look"), (15, "look"), (15, "look")])
        assert world.restarts == restarts + due
        assert world.healed


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_rollout_that_is_stuck_is_left_alone_however_old_it_is(old: int, looked: int) -> None:
    world = World(injects=lambda: True)
    pods = [replace(one, created=START - old * MINUTE) for one in world.counted()]
    stuck = replace(world.workload, restarted_at=START + MINUTE)
    now = START + (looked + 1) * MINUTE
    decision = decide_restart(stuck, pods, now, COOLDOWN, START)
    assert decision == AlreadyRestarting()


@given(json_values, json_values, json_values)
def test_a_pod_of_any_shape_is_judged(metadata: object, status: object, spec: object) -> None:
    raw: Json = {**pod(), "metadata": metadata, "status": status}
    assert standing_of(raw, FEDERATED, Placement()) in set(Standing)
    assert standing_of({**pod(), "spec": spec}, FEDERATED, Placement()) in set(Standing)
