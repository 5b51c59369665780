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
from caios_federation.reconcile.snapshot import PolicySnapshot


async def sweep(
    caches: Caches, acting: Acting, remote: Remote, issuer: Issuer, federation: Subject
) -> frozenset[Event]:
    """Remove policies of no binding, once for each LIST. Raises ClientError.

    Bindings of every federation count: two federations of one cluster may share an organization,
    and then a prefix too. What was retained on purpose stays. Where a federation states another
    issuer than the API server does, the prefix is another cluster's, and so may the bindings be.
    """
    if caches.issuer not in {None, issuer}:
        return frozenset()
    policies = remote.policies
    await policies.current()
    if not policies.unswept:
        return frozenset()
    removed: set[Event] = set()
    if _orphan(caches, policies, issuer, frozenset()) is not None:
        await acting.retained.read()
    while name := _orphan(caches, policies, issuer, acting.retained.known()):
        await policies.delete(name)
        log.info("orphaned policy removed", federation=federation.name, policyName=name)
        message = f"Policy {name!r}, of no binding any more, is removed"
        removed.add(events.policy_removed(federation, message))
    policies.unswept = False
    return frozenset(removed)


def _orphan(
    caches: Caches, policies: PolicySnapshot, issuer: Issuer, retained: frozenset[str]
) -> str | None:
    """Return a policy of ours that no binding has, as of now.

    Bindings come while others are asked, and go, leaving a name on the record of what is retained.
    A binding without grants and without our finalizer has none, whatever there is of its name; of
    one whose spec cannot be read, nobody can say that.
    """
    expected = {
        policy_name(issuer, binding.meta.namespace, binding.meta.name)
        for binding in caches.bindings.objects.values()
        if binding.spec.grants
        or binding.invalid is not None
        or words.POLICY_FINALIZER in binding.meta.finalizers
    }
    current = policies.known()
    expected |= retained
    kept = {name: current[name] for name in current if name in expected}
    return min(changes(kept, current, owned=policies.owned).delete, default=None)
