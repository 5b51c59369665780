"""Federations: their issuer, and how many bindings they have."""

from caios_federation.api.vocabulary import FEDERATION_KIND
from caios_federation.caches import Caches
from caios_federation.clients import errors
from caios_federation.clients.kubernetes import FEDERATION
from caios_federation.core.observed import ObservedFederation
from caios_federation.core.status import federation_status, is_ready, same_status
from caios_federation.reconcile.acting import Acting


async def reconcile_federation(caches: Caches, acting: Acting, name: str) -> None:
    """Bring the status of a federation up to date. Raises ClientError."""
    federation = caches.federations.objects.get(name)
    if federation is None or federation.meta.deleting:
        return
    bindings = [b for b in caches.bindings.objects.values() if b.spec.federation_name == name]
    seen = ObservedFederation(
        federation=federation,
        discovered_issuer=caches.issuer,
        discovery_problem=caches.issuer_problem,
        bindings_total=len(bindings),
        bindings_ready=sum(is_ready(binding.status) for binding in bindings),
    )
    status = federation_status(seen, now=acting.now())
    if same_status(status, federation.status):
        return
    try:
        body = await acting.client.apply_status(
            FEDERATION, {"metadata": {"name": name}, "status": status}
        )
    except errors.NotFound:
        return  # deleted meanwhile; the watch is about to say so
    acting.wrote(caches.federations.answered(body))
    acting.tell(FEDERATION_KIND, federation.meta, status)
