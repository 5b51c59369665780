"""An issuer that could not be discovered is asked for again, long before the next audit."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import cast

import pytest
import structlog

import builders
from caios_federation.caches import Caches, Change
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import Kind, KubernetesClient, Page
from caios_federation.settings import CacheSettings
from virtual_time import VirtualLoop

SETTINGS = CacheSettings()
PERIOD = SETTINGS.audit_period_seconds


class Reluctant:
    """An API server that tells its issuer for some spans of time only."""

    def __init__(self, *told: tuple[float, float]) -> None:
        self.told = told
        self.asked: list[float] = []
        """When it was asked for the issuer, by the loop's clock."""
        self.lists = 0

    async def discover_issuer(self) -> str:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        if not any(since <= now < until for since, until in self.told):
            raise errors.PermissionDenied("403 because")
        return builders.ISSUER

    async def list_pages(self, _kind: Kind, **_: object) -> AsyncIterator[Page]:
        self.lists += 1
        yield Page((), "10")


class Known:
    """What the caches were told of, in virtual time."""

    def __init__(self) -> None:
        self.caches = Caches(slim=True)
        self.changes: list[tuple[float, Change]] = []
        self.lines: list[structlog.typing.EventDict] = []

    def note(self, change: Change) -> None:
        self.changes.append((asyncio.get_running_loop().time(), change))

    def live(self, api: Reluctant, seconds: float) -> None:
        """Let `seconds` pass, as the runtime does."""
        random.seed(1)
        known = cast("KubernetesClient", api), SETTINGS, self.note

        async def run() -> None:
            jobs = [
                asyncio.create_task(self.caches.keep_true(*known)),
                asyncio.create_task(self.caches.insist_on_issuer(*known)),
            ]
            await asyncio.sleep(seconds)
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)

        loop = VirtualLoop()
        with structlog.testing.capture_logs() as self.lines:
            loop.run(run())
        loop.close()


def pauses(api: Reluctant) -> list[float]:
    return [later - earlier for earlier, later in pairwise(api.asked)]


def test_it_is_known_soon_after_it_can_be() -> None:
    known, api = Known(), Reluctant((5, 1e9))
    known.live(api, PERIOD / 2)
    assert known.caches.issuer == builders.ISSUER
    ((when, change),) = known.changes
    assert change == Change(None, "", None, builders.ISSUER)
    assert 5 <= when < 15


def test_once_it_is_known_audits_alone_ask_for_it() -> None:
    known, api = Known(), Reluctant((5, 1e9))
    known.live(api, 10 * PERIOD)
    when, _ = known.changes[0]
    # The audits are jittered; the second one comes soon after the first.
    assert 8 <= sum(asked > max(when, 30) for asked in api.asked) <= 11


def test_in_vain_it_is_asked_for_less_and_less_and_nothing_is_listed_along() -> None:
    known, api, patient = Known(), Reluctant(), Reluctant((0, 1e9))
    known.live(api, 10 * PERIOD)
    assert 0.4 <= pauses(api)[0] <= 0.6
    assert len(api.asked) < 40
    Known().live(patient, 10 * PERIOD)
    assert abs(api.lists - patient.lists) <= 3  # one audit more or less, for the jitter


def test_a_later_failure_begins_with_short_pauses_again() -> None:
    known, api = Known(), Reluctant((0, 100), (PERIOD + 60, 1e9))
    known.live(api, 2 * PERIOD)
    first = next(asked for asked in api.asked if asked >= 100)
    after = api.asked[api.asked.index(first) + 1] - first
    assert after == pytest.approx(0.5, rel=0.2)
    assert known.caches.issuer == builders.ISSUER, "it outlives failures"
    assert [change.now for _, change in known.changes] == [builders.ISSUER]


def test_the_same_trouble_is_told_seldom() -> None:
    known, api = Known(), Reluctant()
    known.live(api, 100)
    told = [line for line in known.lines if line["event"] == "issuer not discovered"]
    assert len(api.asked) > 8
    assert len(told) == 1  # once a minute, of the real clock
