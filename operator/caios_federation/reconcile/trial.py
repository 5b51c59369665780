"""Whether injection works, tried through the API server with a Pod that is never stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import mapping_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import (
    NAMESPACE,
    POD,
    SERVICE_ACCOUNT,
    KubernetesClient,
)
from caios_federation.core.trial import find_missing, render_trial_account, render_trial_pod

_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What the API server made of the Pod."""

    missing: tuple[str, ...]
    """What an injected Pod has and this one has not."""
    warnings: tuple[str, ...]
    """What the API server and webhooks, ours among them, say about it."""


async def try_injection(
    client: KubernetesClient, namespace: str, account: str | None, *, deadline_seconds: float
) -> Trial:
    """Return what becomes of a Pod of `account`; without one, of a ServiceAccount made for it.

    Tried again until nothing is missing or the time is over: the API server learns of a webhook
    configuration with a delay. Raises ClientError.
    """
    if account is not None:
        return await _until_injected(client, namespace, account, deadline_seconds)
    async with _trial_account(client, namespace) as name:
        return await _until_injected(client, namespace, name, deadline_seconds)


async def is_switched_off(client: KubernetesClient, namespace: str) -> bool:
    """Tell whether a label of the namespace switches injection off; no where it may not be read.

    Raises ClientError.
    """
    try:
        body = await client.read(NAMESPACE, "", namespace)
    except errors.PermissionDenied:
        return False
    return mapping_of(mapping_of(body, "metadata"), "labels").get(words.INJECT) == words.FALSE


async def _until_injected(
    client: KubernetesClient, namespace: str, account: str, deadline_seconds: float
) -> Trial:
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline_seconds
    while True:
        body, warnings = await client.try_create(POD, render_trial_pod(namespace, account))
        missing = find_missing(body)
        if not missing or loop.time() + _RETRY_SECONDS > end:
            return Trial(missing, warnings)
        await asyncio.sleep(_RETRY_SECONDS)


@asynccontextmanager
async def _trial_account(client: KubernetesClient, namespace: str) -> AsyncIterator[str]:
    """Yield the name of an annotated ServiceAccount, which is deleted again."""
    made = (await client.create(SERVICE_ACCOUNT, render_trial_account(namespace)))["metadata"]
    name = str(made["name"])
    try:
        yield name
    finally:
        try:
            await client.delete(SERVICE_ACCOUNT, namespace, name, uid=str(made["uid"]))
        except errors.ClientError as error:
            error.add_note(f"left behind: kubectl delete serviceaccount -n {namespace} {name}")
            raise
