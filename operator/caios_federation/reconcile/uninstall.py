"""Uninstalling: clean up as the one that acts, so that no controller puts things back meanwhile."""

import asyncio
from collections.abc import Sequence
from typing import Final

from caios_federation.api.objects import mapping_of
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import LEASE, KubernetesClient
from caios_federation.clients.lease import Election
from caios_federation.core.uninstall import Report, still_acting
from caios_federation.reconcile.clean_up import clean_up, remove
from caios_federation.settings import Settings

_PATIENCE_SECONDS: Final = 15.0
"""How long the Lease is waited for beyond its duration: a controller that was told to end gives it
back within a few seconds."""


async def uninstall(
    client: KubernetesClient,
    settings: Settings,
    *,
    deadline_seconds: float,
    token_secrets: Sequence[str] = (),
) -> Report:
    """Take the Lease, clean up, remove the Lease; return what was done.

    `token_secrets` are told to be left, beside those that StorageFederations name.

    Raises Rejected where a controller keeps the Lease, and Unavailable where nobody knows who has
    it. Nothing was removed then.
    """
    report = Report(settings.namespace, token_secrets=[*token_secrets])
    begun, ending = asyncio.Event(), asyncio.Event()
    troubles: list[str] = []

    async def act() -> None:
        nonlocal report
        if ending.is_set():
            return
        begun.set()
        # What a term that was cut short removed stays on record; what it found is found again.
        report = Report(settings.namespace, removed=report.removed, token_secrets=[*token_secrets])
        try:
            async with asyncio.timeout(deadline_seconds):
                await clean_up(client, settings, report)
        except TimeoutError:
            report.failed(
                "whatever is not listed above",
                f"not looked at within {deadline_seconds:g} s",
                "caios-federation uninstall  # once more: it goes on where it ended",
            )
        # Last, so that a standby does not take over before; nothing is given back after this.
        await remove(client, LEASE, settings.namespace, settings.lease.name, report)
        ending.set()

    election = Election(client, settings.namespace, settings.lease, trouble=troubles.append)
    patience = settings.lease.duration_seconds + _PATIENCE_SECONDS
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(election.run(act, ending))
        waiting = tasks.create_task(begun.wait())
        await asyncio.wait(
            {running, waiting}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if begun.is_set():
            # A Lease that is lost on the way is competed for again, but not for ever.
            await asyncio.wait({running}, timeout=deadline_seconds + patience)
        waiting.cancel()
        ending.set()
    if not begun.is_set():
        raise await _refusal(client, settings, troubles)
    return report


async def _refusal(
    client: KubernetesClient, settings: Settings, troubles: list[str]
) -> errors.ClientError:
    """Return why the Lease could not be taken."""
    namespace, name = settings.namespace, settings.lease.name
    try:
        lease = await client.read(LEASE, namespace, name)
    except errors.ClientError as error:
        why = troubles[-1] if troubles else str(error)
        return errors.Unavailable(f"Lease {namespace}/{name}: {why}; nothing was removed")
    holder = str(mapping_of(lease, "spec").get("holderIdentity") or "")
    if not holder and troubles:
        return errors.Unavailable(f"Lease {namespace}/{name}: {troubles[-1]}; nothing was removed")
    return errors.Rejected(still_acting(namespace, name, holder))
