"""What was restarted once is restarted again for another cause, and never twice for one."""

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

import builders
from builders import Json, words
from caios_federation.core.principal import parse_issuer
from caios_federation.core.times import render_time
from component.clients.api_server import Seen, reply
from component.reconcile.objects import merged
from component.reconcile.world import NOW, Api, World, world

OWNER = "/apis/apps/v1/namespaces/team-a/statefulsets/trainer"
RESTARTED_AT = "caios.coreweave.com/restarted-at"
FORMER = parse_issuer("https://former.example.com")
HOUR = 3600.0
SPREAD = 400.0
"""Seconds: by then every replica knows of an issuer."""


@dataclass(slots=True)
class Owning(Api):
    """Has a StatefulSet too."""

    owner: Json = field(default_factory=dict)
    patches: int = 0

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if request.path != OWNER:
            return await Api.__call__(self, request)
        if request.method == "PATCH":
            self.patches += 1
            self.owner = merged(self.owner, request.json)
        return reply(**self.owner)


@dataclass(slots=True)
class Team:
    """A StatefulSet that was restarted half an hour ago, and its binding."""

    here: World
    api: Owning

    async def look(self, *, after: float = 0) -> None:
        self.here.clock.advance(after)
        await self.here.reconcile()

    def run(self, *, issuer: str | None = builders.ISSUER) -> None:
        """Have the Pod created anew, with the principal of `issuer`."""
        raw = builders.pod()
        if issuer is not None:
            given = builders.sources(account=words(inject="true"), issuer=parse_issuer(issuer))
            raw = builders.inject(raw, given).pod
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "trainer"}
        raw["metadata"] |= {
            "name": "trainer-0",
            "uid": f"u-{self.here.clock.now}",
            "creationTimestamp": render_time(self.here.clock.now),
            "ownerReferences": [{**reference, "uid": "u-trainer", "controller": True}],
        }
        self.api.pods = [raw]

    def bind(self, **spec: Any) -> None:  # noqa: ANN401  # JSON
        known = self.here.caches.bindings.objects.get("team-a/reader")
        status = known.status if known else {}
        self.here.know({**builders.binding(remediation="Restart", **spec), "status": status})

    def label(self, **labels: str) -> None:
        metadata = {"name": "team-a", "resourceVersion": str(self.api.version), "labels": labels}
        self.api.version += 1
        self.here.caches.namespaces.observe("MODIFIED", {"metadata": metadata})

    @property
    def told(self) -> str:
        status = self.here.caches.bindings.objects["team-a/reader"].status
        found: str = next(
            entry["message"] for entry in status["conditions"] if entry["type"] == "PodsFederated"
        )
        return found


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    federation = builders.federation()
    turned = {"type": "InjectionServing", "status": "True"}
    federation["status"] = {
        "conditions": [{**turned, "lastTransitionTime": "2026-11-24T11:00:00Z"}]
    }
    note = {"annotations": {RESTARTED_AT: render_time(NOW - dt.timedelta(minutes=30))}}
    metadata = {"name": "trainer", "namespace": "team-a", "uid": "u-trainer"}
    owner = {"metadata": {**metadata, "resourceVersion": "1", **note}}
    api = Owning(owner={**owner, "spec": {"template": {"metadata": note}}})
    async with world(builders.service_account(), federation, api=api) as here:
        team = Team(here, api)
        team.bind()
        team.label()
        yield team


async def test_an_issuer_that_was_not_known_at_first_is_no_cause(team: Team) -> None:
    """A status that is lost, or of an earlier version, and a discovery that fails meanwhile."""
    team.here.caches.issuer = None
    team.run(issuer=None)
    await team.look(after=60)
    assert "newPods" not in team.here.caches.bindings.objects["team-a/reader"].status
    team.here.caches.issuer = builders.ISSUER
    await team.look(after=SPREAD)
    assert "was restarted and its new Pods missed injection too" in team.told
    await team.look(after=HOUR)
    assert team.api.patches == 0


async def test_another_issuer_is_cause_for_one_restart(team: Team) -> None:
    team.here.caches.issuer = FORMER
    team.run(issuer=FORMER)
    await team.look()
    assert team.told == "Every running Pod has the identity."
    team.here.caches.issuer = builders.ISSUER
    await team.look()
    assert "StatefulSet 'trainer' is being restarted" in team.told
    await team.look(after=60)
    assert team.api.patches == 0, "replicas of the webhook may not know of it"
    await team.look(after=SPREAD)
    assert team.api.patches == 1
    (event,) = (
        request.json
        for request in team.here.server.seen
        if request.path.endswith("/events") and request.json["reason"] == "PodsRestarted"
    )
    assert event["message"].endswith(": 1 Pod carried another principal")
    team.run()
    await team.look(after=HOUR)
    assert team.told == "Every running Pod has the identity."
    assert team.api.patches == 1


async def test_a_restart_after_which_pods_carry_the_former_principal_is_not_repeated(
    team: Team,
) -> None:
    team.here.caches.issuer = FORMER
    await team.look()
    team.run(issuer=FORMER)
    team.here.caches.issuer = builders.ISSUER
    await team.look()
    await team.look(after=SPREAD)
    for _ in range(3):
        team.run(issuer=FORMER)
        await team.look(after=HOUR)
    assert team.api.patches == 1
    assert "its new Pods carry another principal too" in team.told


async def test_issuers_that_take_turns_faster_than_they_spread_restart_nothing(team: Team) -> None:
    for _ in range(20):
        for issuer in (FORMER, builders.ISSUER):
            team.run(issuer=team.here.caches.issuer)
            team.here.caches.issuer = issuer
            await team.look(after=SPREAD / 2)
    assert team.api.patches == 0


def switch(team: Team, what: str, *, on: bool) -> None:
    match what:
        case "binding":
            team.bind(injection="Enabled" if on else "Disabled")
        case "account":
            team.here.know(builders.service_account(**({} if on else {"inject": "false"})))
        case "namespace":
            team.label(**({} if on else words(inject="false")))


@pytest.mark.parametrize("what", ["binding", "account", "namespace"])
async def test_pods_from_before_injection_was_switched_on_are_cause_for_one_restart(
    team: Team, what: str
) -> None:
    await team.look()
    switch(team, what, on=False)
    await team.look(after=60)
    team.run(issuer=None)
    await team.look(after=60)
    switch(team, what, on=True)
    await team.look(after=60)
    assert team.api.patches == 0, "not everybody may know of it"
    await team.look(after=10)
    assert team.api.patches == 1
    for _ in range(3):
        team.run(issuer=None)
        await team.look(after=HOUR)
    assert team.api.patches == 1
    assert "its new Pods missed injection too" in team.told


async def test_what_the_operator_does_not_know_for_a_while_is_no_cause(team: Team) -> None:
    """As after a start, until the API server tells its issuer."""
    team.run(issuer=None)
    await team.look()
    for _ in range(3):
        team.here.caches.issuer = None
        await team.look(after=HOUR)
        team.here.caches.issuer = builders.ISSUER
        await team.look(after=HOUR)
    assert team.api.patches == 0
    assert "its new Pods missed injection too" in team.told


async def test_a_status_that_was_lost_is_no_cause(team: Team) -> None:
    team.run(issuer=None)
    for _ in range(3):
        await team.look(after=HOUR)
        team.here.know(builders.binding(remediation="Restart"))
    assert team.api.patches == 0


async def test_a_binding_that_is_seconds_old_is_waited_for(team: Team) -> None:
    body = builders.binding(remediation="Restart")
    body["metadata"]["creationTimestamp"] = render_time(NOW - dt.timedelta(seconds=3))
    team.here.know(body)
    team.api.owner = {"metadata": {**team.api.owner["metadata"], "annotations": {}}}
    team.run(issuer=None)
    assert await team.here.reconcile() == 7
    await team.look(after=7)
    assert team.api.patches == 1
