"""What every reconciliation acts with: the API, a clock, the posting of events."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caios_federation.api.binding import Binding
from caios_federation.api.objects import Json, Meta
from caios_federation.api.vocabulary import API_VERSION, BINDING_KIND
from caios_federation.caches import Change
from caios_federation.clients.coreweave import CoreWeave
from caios_federation.clients.errors import ClientError, WriteConflict
from caios_federation.clients.kubernetes import EVENT, KubernetesClient
from caios_federation.core.conditions import turned_conditions
from caios_federation.observe.events import Episodes, Event, Subject, render_event
from caios_federation.observe.logging import logger
from caios_federation.observe.metrics import Metrics
from caios_federation.reconcile.looks import Looks
from caios_federation.reconcile.organizations import Organizations
from caios_federation.reconcile.retained import Retained
from caios_federation.settings import Settings

log = logger("controller")


def subject_of(binding: Binding) -> Subject:
    """Return a binding as events are about it."""
    meta = binding.meta
    return Subject(API_VERSION, BINDING_KIND, meta.namespace, meta.name, meta.uid)


@dataclass(frozen=True, slots=True)
class Acting:
    """The hands of the controller."""

    client: KubernetesClient
    clock: Callable[[], dt.datetime]
    wrote: Callable[[Change], None]
    """Told of each object that our own write changed."""
    settings: Settings
    coreweave: CoreWeave
    organizations: Organizations
    retained: Retained
    looks: Looks
    episodes: Episodes = field(default_factory=Episodes)
    metrics: Metrics = field(default_factory=Metrics)

    def now(self) -> str:
        """Return the time as a condition has it: RFC 3339, seconds."""
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def tell(self, kind: str, meta: Meta, status: Mapping[str, Any], before: Json) -> None:
        """Log that a status was written, with what its last condition, Ready, says.

        Count what of it is another than `before`.
        """
        for entry in turned_conditions(before, status):
            turned = (entry["type"], entry["status"], entry["reason"])
            self.metrics.condition_turned(kind, *turned)
        ready = status["conditions"][-1]
        log.info(
            "status changed",
            kind=kind,
            namespace=meta.namespace,
            name=meta.name,
            ready=ready["status"],
            reason=ready["reason"],
        )

    async def post(self, kind: str, key: str, events: frozenset[Event]) -> None:
        """Post those of `events`, the current ones of an object, that are new.

        Told without events too, and of objects that are gone: what is over can then begin anew.
        An event that cannot be posted is logged, since it must not keep a status from being
        written, and is tried again when the object is next looked at, at the latest on the resync.
        """
        episode = f"{kind} {key}"
        for event in sorted(self.episodes.open(episode, events), key=lambda each: each.order):
            try:
                await self.client.create(EVENT, render_event(event, self.clock()))
            except WriteConflict:
                # It is there, posted before a restart or in an episode that ended within the API
                # server's event TTL (an hour unless set): people still see it, so once is enough.
                self.episodes.posted(episode, event)
            except ClientError as error:
                log.warning("event not posted", reason=event.reason, err=str(error))
            else:
                self.episodes.posted(episode, event)
