"""What a decision is made of: everything that is known of an object at one moment, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass

from caios_federation.api.binding import Binding
from caios_federation.api.conditions import Finding
from caios_federation.api.federation import Federation
from caios_federation.core.account import Annotations
from caios_federation.core.new_pods import NewPods
from caios_federation.core.pods import PodSurvey
from caios_federation.core.principal import Issuer


@dataclass(frozen=True, slots=True)
class ObservedBinding:
    """Everything that is known about a binding, at one moment."""

    binding: Binding
    holder: Binding | None
    """The binding that has the ServiceAccount; not necessarily this one."""
    annotations: Annotations | None
    """Those of the ServiceAccount; None where there is no ServiceAccount."""
    federation: Federation | None
    discovered_issuer: Issuer | None
    namespace_labels: Mapping[str, str] | None = None
    """None where the namespace is not known (yet)."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of acting for a binding."""

    policy: Finding | None = None
    """What came of applying the policy; None where nothing is to be applied."""
    credentials: Finding | None = None
    """What came of trying the identity; None where that is switched off."""
    verified_at: str | None = None
    """When credentials were last issued, RFC 3339."""
    new_pods: NewPods | None = None
    """What new Pods are given: remembered, whether or not the binding is in force. None where
    that is not known."""
    pods: PodSurvey | None = None
    """None where no Pod is to be injected."""


@dataclass(frozen=True, slots=True)
class ObservedFederation:
    """Everything that is known about a federation, at one moment."""

    federation: Federation
    discovered_issuer: Issuer | None
    discovery_problem: str
    bindings_total: int
    bindings_ready: int
    api_token: Finding | None = None
    """Whether CoreWeave knows the API token; None where the federation has none."""
    trust: Finding | None = None
    """Whether CoreWeave trusts the issuer; None where nobody asked to look."""
    injection: Finding | None = None
    """Whether the webhook answers."""
