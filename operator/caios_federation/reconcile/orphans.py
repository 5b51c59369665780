"""Policies of this cluster whose bindings are gone: their finalizer was removed by force."""

from caios_federation.api import vocabulary as words
from caios_federation.caches import Caches
from caios_federation.core.naming import policy_name
from caios_federation.core.principal import Issuer
from caios_federation.core.sync import changes
from caios_federation.observe import events
from caios_federation.observe.events import Event, Subject
from caios_federation.reconcile.acting import Acting, log
from caios_federation.reconcile.organizations import Remote


async def sweep(
    caches: Caches, acting: Acting, remote: Remote, issuer: Issuer, federation: Subject
) -> frozenset[Event]:
    """Remove policies of no binding, once for each LIST. Raises ClientError.

    Bindings of every federation count: two federations of one cluster may share an organization,
    and then a prefix too. What was retained on purpose stays.
    """
    policies = remote.policies
    current = await policies.current()
    if not policies.unswept:
        return frozenset()
    expected = {
        policy_name(issuer, binding.meta.namespace, binding.meta.name)
        for binding in caches.bindings.objects.values()
        if binding.spec.grants or words.POLICY_FINALIZER in binding.meta.finalizers
    }
    if current.keys() - expected:
        expected |= await acting.retained.names(fresh=True)
    kept = {name: meaning for name, meaning in current.items() if name in expected}
    removed = set()
    for name in sorted(changes(kept, current, owned=policies.owned).delete):
        await policies.delete(name)
        log.info("orphaned policy removed", federation=federation.name, policyName=name)
        removed.add(
            events.policy_removed(
                federation, f"Policy {name!r}, of no binding any more, is removed"
            )
        )
    policies.unswept = False
    return frozenset(removed)
