"""End single components of a running cluster, and start them again on the same data and ports."""

from __future__ import annotations

from caios_testbed.cluster import components
from caios_testbed.cluster.api import Api
from caios_testbed.cluster.components import Plan
from caios_testbed.cluster.etcd import compact
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.launch import (
    start_apiserver,
    start_controllers,
    start_etcd,
    wait_for_apiserver,
    wait_for_controllers,
)
from caios_testbed.cluster.roster import Roster

RESTARTABLE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The control plane. Those of the node would leave Pods behind whose state nobody knows."""

GRACE_SECONDS = 10.0
"""From SIGTERM to SIGKILL. An API server would drain its watches for a minute."""


def stop(roster: Roster, name: str, grace: float) -> None:
    """End a component by SIGTERM and, `grace` seconds later, by SIGKILL; at once with `grace=0`.

    What it stored stays. Raises ClusterError for one that cannot be started again alone.
    """
    if name not in RESTARTABLE:
        raise ClusterError(f"{name}: cannot be restarted alone; one of {', '.join(RESTARTABLE)}")
    roster.stop(name, grace=grace)


def start(plan: Plan, roster: Roster, name: str) -> None:
    """Start a component that was ended; return when it serves again.

    With etcd, that is when the API server has found it. Raises ClusterError.
    """
    api = Api(plan.url, plan.pki)
    if name == "etcd":
        start_etcd(plan, roster)
        if roster.alive("kube-apiserver"):
            wait_for_apiserver(api, roster)
            _revive_controllers(plan, roster)
    elif name == "kube-apiserver":
        start_apiserver(plan, roster, api)
        _revive_controllers(plan, roster)
    elif name == "kube-controller-manager":
        start_controllers(plan, roster)
        wait_for_controllers(api, roster)
    else:
        roster.start(name, components.scheduler(plan))


def _revive_controllers(plan: Plan, roster: Roster) -> None:
    """Do the kubelet's part: a controller manager that loses its API server while it starts ends.

    One that was ended on purpose is not in the roster.
    """
    name = "kube-controller-manager"
    if roster.state.process(name) is not None and not roster.alive(name):
        start_controllers(plan, roster)


def restart(plan: Plan, roster: Roster, name: str, grace: float) -> None:
    """End a component and start it again."""
    stop(roster, name, grace)
    start(plan, roster, name)


def expire_watches(plan: Plan, roster: Roster) -> None:
    """Make every watch that is resumed from a version seen so far end with 410 Expired.

    While the API server is down, etcd moves on and forgets all but its newest revision, so that
    the API server begins with an empty history. Raises ClusterError.
    """
    stop(roster, "kube-apiserver", grace=0)
    compact(plan.ports.etcd, roster.prefix)
    start(plan, roster, "kube-apiserver")
