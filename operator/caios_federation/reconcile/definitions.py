"""Bringing a cluster's CRDs up to this release: for those whom Helm does not upgrade them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from caios_federation.api.objects import Json
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import DEFINITION, KubernetesClient
from caios_federation.core.definitions import (
    is_established,
    naming_problem,
    refuse_loss,
    versions_lost,
)

_LOOK_SECONDS: Final = 0.5


async def ensure_definitions(
    client: KubernetesClient,
    definitions: Iterable[Json],
    say: Callable[[str], None],
    *,
    deadline_seconds: float,
) -> None:
    """Apply CRDs and wait until they are served, saying what becomes of each.

    None is applied unless all may be. Raises Rejected where one is newer in the cluster or cannot
    be served, Unavailable where one is not served in time, and what the API server refuses with.
    """
    wanted = [(body["metadata"]["name"], body) for body in definitions]
    before = {name: await _read(client, name) for name, _ in wanted}
    for name, body in wanted:
        if lost := versions_lost(before[name], body):
            raise errors.Rejected(refuse_loss(name, lost))
    for name, body in wanted:
        applied = await client.apply(DEFINITION, body)
        await _established(client, name, deadline_seconds)
        say(f"CRD {name}: {_what_happened(before[name], applied)}")


async def _read(client: KubernetesClient, name: str) -> Json:
    try:
        return await client.read(DEFINITION, "", name)
    except errors.NotFound:
        return {}


async def _established(client: KubernetesClient, name: str, deadline_seconds: float) -> None:
    try:
        async with asyncio.timeout(deadline_seconds):
            while not is_established(body := await client.read(DEFINITION, "", name)):
                if problem := naming_problem(body):
                    raise errors.Rejected(
                        f"CRD {name}: not served: {problem}; kubectl get crd {name} -o yaml"
                    )
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise errors.Unavailable(
            f"CRD {name}: applied, but not served after {deadline_seconds:g} s; "
            f"kubectl describe crd {name}"
        ) from None


def _what_happened(before: Json, applied: Json) -> str:
    if not before:
        return "created"
    same = before["metadata"].get("generation") == applied["metadata"].get("generation")
    return "unchanged" if same else "upgraded"
