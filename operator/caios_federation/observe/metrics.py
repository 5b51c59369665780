"""Every metric of the process, and the closed lists of what their labels say.

Made once, in `runtime.py`, and handed down: there is no global registry. Names of objects and
namespaces are no labels, and what is in no list is counted as `other`. What the admission server
counts is in `admission.py`, what is read of the process when it is scraped in `state.py`.
"""

import platform
from collections.abc import Callable, Collection
from enum import StrEnum
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from caios_federation.api import vocabulary as words
from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.observe.admission import AdmissionCounts
from caios_federation.observe.changes import note_write
from caios_federation.observe.state import State, StateCollector
from caios_federation.settings import Role

OTHER: Final = "other"
RECONCILED: Final = frozenset(
    {
        words.BINDING_KIND,
        words.FEDERATION_KIND,
        "MutatingWebhookConfiguration",
        "ServiceAccount",
    }
)
"""What is reconciled."""
KINDS: Final = RECONCILED | {"Namespace"}
"""What is reconciled or cached."""
OPERATIONS: Final = frozenset(
    {
        "CreateAccessKeyFromContainerCreds",
        "CreateOIDCConfig",
        "DeleteAccessPolicy",
        "EnsureAccessPolicy",
        "ListAccessPolicies",
        "ListOIDCConfigs",
        "UpdateOIDCConfig",
        "WhoAmI",
    }
)
"""What is asked of CoreWeave."""
RESOURCES: Final = frozenset(
    {
        "clusterroles",
        "configmaps",
        "customresourcedefinitions",
        "daemonsets",
        "deployments",
        "events",
        "leases",
        "mutatingwebhookconfigurations",
        "namespaces",
        "openid-configuration",
        "pods",
        "pods/eviction",
        "replicasets",
        "secrets",
        "serviceaccounts",
        "serviceaccounts/token",
        "statefulsets",
        words.BINDINGS,
        f"{words.BINDINGS}/status",
        words.FEDERATIONS,
        f"{words.FEDERATIONS}/status",
    }
)
"""What is asked for of the API server."""
VERBS: Final = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})
_READING: Final = frozenset({"get", "list", "watch"})
_NO_CHANGE: Final = frozenset({"events", "leases", "serviceaccounts/token"})
"""What is written without anything being different afterwards that a reconciliation is about."""
_WRITING_OPERATIONS: Final = frozenset(
    {"CreateOIDCConfig", "DeleteAccessPolicy", "EnsureAccessPolicy", "UpdateOIDCConfig"}
)
_NO_ANSWER: Final = "none"
_TOO_MANY: Final = 429
"""A class of its own: it is about how often is asked, not about who asks for what."""
CODES: Final = frozenset({"2xx", "3xx", "4xx", str(_TOO_MANY), "5xx", _NO_ANSWER})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Result(StrEnum):
    """What came of a reconciliation."""

    CHANGED = "changed"  # something was written
    UNCHANGED = "unchanged"  # everything was as it should be
    RETRY = "retry"  # another system is in trouble; it is tried again
    FAILED = "failed"  # a person must act, or it is a defect; it is tried again too


class PolicyOperation(StrEnum):
    """What is done to a policy at CoreWeave."""

    ENSURE = "ensure"
    DELETE = "delete"


class PolicyResult(StrEnum):
    """What came of it."""

    DONE = "done"
    FAILED = "failed"


class Metrics:
    """What this process counts and measures."""

    def __init__(self, role: Role = Role.ALL, *, commit: str = "unknown") -> None:
        # A second series for each one, to tell when it began: nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.admission = AdmissionCounts()
        if role is not Role.CONTROLLER:
            registry.register(self.admission)
        self._reconciles = Counter(
            "caios_federation_reconcile",
            "Reconciliations, by what came of them.",
            ["kind", "result"],
            registry=registry,
        )
        self._reconcile_seconds = Histogram(
            "caios_federation_reconcile_duration_seconds",
            "Time that a reconciliation took.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._coreweave = Counter(
            "caios_federation_coreweave_requests",
            "Requests sent to CoreWeave, each try, by class of the answer's status.",
            ["operation", "code"],
            registry=registry,
        )
        self._coreweave_seconds = Histogram(
            "caios_federation_coreweave_request_duration_seconds",
            "Time until CoreWeave's answer was read.",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._kubernetes = Counter(
            "caios_federation_kubernetes_requests",
            "Requests sent to the API server, but for watches, by class of the answer's status.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self._policy_changes = Counter(
            "caios_federation_policy_changes",
            "Writes of policies at CoreWeave.",
            ["operation", "result"],
            registry=registry,
        )
        self._drift_repairs = Counter(
            "caios_federation_drift_repairs",
            "Policies at CoreWeave that somebody else had changed or removed, and that were put "
            "right.",
            registry=registry,
        )
        self._transitions = Counter(
            "caios_federation_condition_transitions",
            "Conditions that were written with another status or reason than before.",
            ["kind", "condition", "status", "reason"],
            registry=registry,
        )
        self._lag = Histogram(
            "caios_federation_event_loop_lag_seconds",
            "How late the event loop was, asked four times a second.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        Gauge(
            "caios_federation_build_info",
            "What runs here; always 1.",
            ["version", "commit", "python_version"],
            registry=registry,
        ).labels(version("caios-federation-operator"), commit, platform.python_version()).set(1)
        if role is not Role.WEBHOOK:
            self._begin_at_zero()

    def reconciled(self, kind: str, result: Result, seconds: float) -> None:
        """Count a reconciliation of an object of `kind`."""
        kind = _known(kind, KINDS)
        self._reconciles.labels(kind, result).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def coreweave_answered(self, operation: str, status: int | None, seconds: float) -> None:
        """Count a request to CoreWeave; without a status there was no answer."""
        if operation in _WRITING_OPERATIONS and _is_success(status):
            note_write()
        operation = _known(operation, OPERATIONS)
        self._coreweave.labels(operation, _class_of(status)).inc()
        self._coreweave_seconds.labels(operation).observe(seconds)

    def kubernetes_answered(self, verb: str, resource: str, status: int | None) -> None:
        """Count a request to the API server; without a status there was no answer."""
        if verb not in _READING and resource not in _NO_CHANGE and _is_success(status):
            note_write()
        self._kubernetes.labels(
            _known(verb, VERBS), _known(resource, RESOURCES), _class_of(status)
        ).inc()

    def policy_written(self, operation: PolicyOperation, result: PolicyResult) -> None:
        """Count a write of a policy."""
        self._policy_changes.labels(operation, result).inc()

    def drift_repaired(self) -> None:
        """Count a policy that somebody else had changed or removed."""
        self._drift_repairs.inc()

    def condition_turned(self, kind: str, condition: str, status: str, reason: str) -> None:
        """Count a condition that says something else than before."""
        self._transitions.labels(
            _known(kind, KINDS),
            _known(condition, list(ConditionType)),
            _known(status, list(Status)),
            _known(reason, list(Reason)),
        ).inc()

    def loop_lagged(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._lag.observe(seconds)

    def read(self, state: Callable[[], State]) -> None:
        """Show, besides, what `state` returns whenever it is asked."""
        self.registry.register(StateCollector(state))

    def _begin_at_zero(self) -> None:
        """Show what has not happened yet, where that is few: a rate misses a series' first step."""
        for kind in RECONCILED:
            for outcome in Result:
                self._reconciles.labels(kind, outcome)
        for operation in PolicyOperation:
            for result in PolicyResult:
                self._policy_changes.labels(operation, result)


def _known(value: str, values: Collection[str]) -> str:
    return value if value in values else OTHER


def _is_success(status: int | None) -> bool:
    return _class_of(status) == "2xx"


def _class_of(status: int | None) -> str:
    if status is None:
        return _NO_ANSWER
    return str(status) if status == _TOO_MANY else _known(f"{status // 100}xx", CODES)
