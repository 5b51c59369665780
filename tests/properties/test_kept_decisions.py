"""What was resolved for one Pod of a ServiceAccount holds for the next one."""

import asyncio
from typing import cast

from hypothesis import given

import strategies
from builders import Json
from caios_federation.admission.decide import Decider, Decision
from caios_federation.caches import Account, Caches
from caios_federation.clients.kubernetes import KubernetesClient
from caios_federation.core.injection import Sources
from caios_federation.core.plan import Placement

NO_CLIENT = cast("KubernetesClient", None)
"""Everything is known: nobody asks the API server."""


def knowing(facts: Sources) -> Decider:
    """Return a decider whose caches hold `facts`."""
    caches = Caches()
    caches.issuer = facts.discovered_issuer
    key = f"{facts.namespace}/{facts.service_account}"
    caches.accounts.objects[key] = Account("uid", facts.annotations)
    if facts.binding:
        caches.bindings._store("team-a/binding", facts.binding)
    if facts.federation:
        caches.federations.objects[facts.federation.meta.name] = facts.federation
    return Decider(caches, NO_CLIENT, Placement(), live_read_seconds=1)


async def decided(decider: Decider, facts: Sources, *pods: Json) -> list[Decision]:
    return [await decider.decide(facts.namespace, pod) for pod in pods]


@given(facts=strategies.all_sources(), first=strategies.pods(), second=strategies.pods())
def test_the_next_pod_is_decided_as_if_it_were_the_first(
    facts: Sources, first: Json, second: Json
) -> None:
    for pod in (first, second):
        pod["spec"]["serviceAccountName"] = facts.service_account
    decider = knowing(facts)
    before, alone = asyncio.run(decided(decider, facts, first, second))
    asyncio.run(decided(decider, facts, first))  # whichever of the two was kept last
    for pod, decision in ((first, before), (second, alone)):
        again = decider.decide_as_before(facts.namespace, pod)
        assert again in (None, decision)
        assert again is None or again.principal


@given(facts=strategies.injecting_sources(), pod=strategies.pods())
def test_what_a_pod_without_wishes_of_its_own_was_given_is_kept(facts: Sources, pod: Json) -> None:
    pod["spec"]["serviceAccountName"] = facts.service_account
    pod["metadata"] = {"name": "of-no-wishes"}
    decider = knowing(facts)
    (decision,) = asyncio.run(decided(decider, facts, pod))
    assert decider.decide_as_before(facts.namespace, pod) == decision
