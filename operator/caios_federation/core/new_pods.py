"""What new Pods of a ServiceAccount are given, and since when: by this Pods that missed are judged.

One from before that moment missed for a cause that is over: its successor would be given what it
lacks. One from after it missed for a reason that nobody knows. The moment is kept in the status of
the binding, since nothing else tells later when a label went or the cluster's issuer changed.
"""

import datetime as dt
from dataclasses import dataclass

from caios_federation.api.binding import Injection
from caios_federation.api.objects import Json, mapping_of
from caios_federation.core.principal import Principal
from caios_federation.core.times import parse_time, render_time


@dataclass(frozen=True, slots=True)
class NewPods:
    """What new Pods are given."""

    injection: Injection
    """Disabled while they are given nothing, whoever asks for that."""
    principal: Principal | None
    """While they are given nothing, the one that they were given last."""
    since: dt.datetime
    """Whole seconds, by our clock."""

    @property
    def injected(self) -> bool:
        """Whether they are given an identity."""
        return self.injection is Injection.ENABLED


def remember_new_pods(
    before: NewPods | None,
    principal: Principal | None,
    *,
    made: dt.datetime,
    now: dt.datetime,
    spreading: dt.timedelta,
) -> NewPods:
    """Return what is to be remembered now that new Pods are given `principal`, or None.

    `made` is when the binding was made; where nothing was remembered it is all that is known, and
    no later moment is made up. `spreading` is how long it takes until every replica of the webhook
    knows of another issuer: until then Pods may be given the former principal.
    """
    if principal is None:
        if before is not None and not before.injected:
            return before
        if before is None:
            return NewPods(Injection.DISABLED, None, made)
        return NewPods(Injection.DISABLED, before.principal, now)
    if before is None:
        return NewPods(Injection.ENABLED, principal, made)
    if before.injected and before.principal == principal:
        return before
    same = before.principal in {None, principal}
    return NewPods(Injection.ENABLED, principal, now if same else now + spreading)


def read_new_pods(status: Json) -> NewPods | None:
    """Return what a status remembers; None where that is nothing, or makes no sense."""
    told = mapping_of(status, "newPods")
    since, principal = parse_time(told.get("since")), told.get("principal")
    try:
        injection = Injection(str(told.get("injection")))
    except ValueError:
        return None
    if since is None:
        return None
    given = Principal(principal) if isinstance(principal, str) and principal else None
    return NewPods(injection, given, since)


def render_new_pods(new_pods: NewPods) -> Json:
    """Return `status.newPods`."""
    principal = {"principal": new_pods.principal} if new_pods.principal else {}
    since = render_time(new_pods.since)
    return {"injection": new_pods.injection.value, **principal, "since": since}
