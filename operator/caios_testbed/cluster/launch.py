"""The order in which a cluster's parts start, and what each waits for.

Whatever does not depend on the API server starts while that does, since that takes longest.
"""

from __future__ import annotations

from functools import partial

from caios_testbed.cluster import components, containers, leftovers, share
from caios_testbed.cluster.api import Api
from caios_testbed.cluster.components import Plan
from caios_testbed.cluster.node import Node
from caios_testbed.cluster.oci import Image
from caios_testbed.cluster.process import PROC, listening
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.roster import Roster

READY_SECONDS = 180
"""From the start of a component to its readiness: 3 s on an idle machine, two minutes were seen on
one with nine times the work that it has cores for."""


def launch(plan: Plan, node: Node, roster: Roster, sandbox: Image, progress: Progress) -> None:
    """Start everything; return when a Pod may be created. Raises ClusterError."""
    api = Api(plan.url, plan.pki)
    with progress.step("kube-apiserver ready", "waiting for kube-apiserver"):
        start_etcd(plan, roster)
        roster.start("kube-apiserver", components.apiserver(plan))
        dnsmasq = roster.start("dnsmasq", node.dnsmasq())
        start_containerd(node, roster)
        share.weigh_pods(leftovers.cgroup_roots((PROC / "mounts").read_text()))
        containers.import_image(node.socket, sandbox.tar)
        wait_for_apiserver(api, roster)
    with progress.step("node ready", "waiting for the node"):
        start_controllers(plan, roster)
        roster.start("kube-scheduler", components.scheduler(plan))
        roster.start("kubelet", node.kubelet(plan.binaries))
        roster.start("kube-proxy", node.kube_proxy(plan.binaries))
        api.publish_discovery()
        roster.wait("dnsmasq", lambda: listening(dnsmasq.pid, 53), READY_SECONDS)
        wait_for_controllers(api, roster)
        roster.wait("kubelet", partial(api.node_ready, node.host_name), READY_SECONDS)


def start_containerd(node: Node, roster: Roster) -> None:
    """Start containerd and wait until it answers."""
    roster.start("containerd", node.containerd())
    roster.wait("containerd", partial(containers.answers, node.socket), READY_SECONDS)


def start_etcd(plan: Plan, roster: Roster) -> None:
    """Start etcd and wait until it listens."""
    etcd = roster.start("etcd", components.etcd(plan))
    # An API server that starts before etcd listens waits for a second before it tries again.
    roster.wait("etcd", lambda: listening(etcd.pid, plan.ports.etcd), READY_SECONDS)


def start_apiserver(plan: Plan, roster: Roster, api: Api) -> None:
    """Start the API server and wait until it is ready."""
    roster.start("kube-apiserver", components.apiserver(plan))
    wait_for_apiserver(api, roster)


def start_controllers(plan: Plan, roster: Roster) -> None:
    """Start the controller manager."""
    roster.start("kube-controller-manager", components.controller_manager(plan))


def wait_for_apiserver(api: Api, roster: Roster) -> None:
    """Wait until the API server serves all that it is asked."""
    roster.wait("kube-apiserver", partial(api.answers, "/readyz"), READY_SECONDS)


def wait_for_controllers(api: Api, roster: Roster) -> None:
    """Wait until the controllers work: only then a Pod may be created in `default`."""
    namespace = "/api/v1/namespaces/default"
    for path in (
        f"{namespace}/serviceaccounts/default",
        f"{namespace}/configmaps/kube-root-ca.crt",
    ):
        roster.wait("kube-controller-manager", partial(api.answers, path), READY_SECONDS)
