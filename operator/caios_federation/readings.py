"""What the running process holds, as `/metrics` shows it: read when it is scraped."""

import asyncio
from typing import TYPE_CHECKING

from caios_federation.admission.server import AdmissionServer
from caios_federation.api.binding import Binding
from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.caches import Caches
from caios_federation.core.conditions import recorded_condition
from caios_federation.core.status import is_ready
from caios_federation.observe.metrics import RECONCILED
from caios_federation.observe.state import State

if TYPE_CHECKING:  # imported by who leads alone: a process that injects starts faster without
    from caios_federation.reconcile.leader import Leader


def read_state(caches: Caches, server: AdmissionServer | None, leader: "Leader | None") -> State:
    """Return what there is to tell. Only who may lead knows the statuses of bindings.

    To be called in the event loop.
    """
    controller = None if leader is None else leader.controller
    filled = leader is not None and caches.synced.is_set()
    bindings = list(caches.bindings.objects.values()) if filled else []
    ready = sum(is_ready(binding.status) for binding in bindings)
    expires = server.certificate_expires if server else None
    if expires is None and controller is not None:
        expires = controller.serving.expires
    return State(
        cache_objects={cache.kind.kind: len(cache.objects) for cache in caches.all},
        cache_last_sync={
            cache.kind.kind: cache.last_sync for cache in caches.all if cache.last_sync is not None
        },
        queue_depth=(
            {}
            if controller is None
            else {**dict.fromkeys(RECONCILED, 0), **controller.queue.depth()}
        ),
        queue_oldest={} if controller is None else controller.queue.oldest(),
        bindings=(ready, len(bindings) - ready) if filled else None,
        managed_policies=sum(map(_is_in_force, bindings)) if filled else None,
        certificate_expires=expires.timestamp() if expires else None,
        leads=None if leader is None else controller is not None,
        tasks=len(asyncio.all_tasks()),
    )


def _is_in_force(binding: Binding) -> bool:
    """Tell whether a binding has a policy at CoreWeave that says what its grants say."""
    synced = recorded_condition(binding.status, ConditionType.POLICY_SYNCED)
    return synced.get("status") == Status.TRUE and synced.get("reason") == Reason.SYNCED
