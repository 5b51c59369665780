"""A whole Kubernetes with one node, in a network namespace of its own. Needs root.

Every start is a fresh cluster: only the certificates, the key of the tokens, the identity of the
issuer and imported images outlive it. So there is one way to mend a cluster that is not whole.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from caios_testbed import directories
from caios_testbed.cluster import containers, leftovers, restarts, severing
from caios_testbed.cluster.api import Api
from caios_testbed.cluster.binaries import NODE, Binaries, ensure_binaries
from caios_testbed.cluster.components import ISSUER, Plan
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.images import ensure_sandbox_image
from caios_testbed.cluster.kubeconfig import write_kubeconfig
from caios_testbed.cluster.launch import launch, start_containerd
from caios_testbed.cluster.network import (
    NODE_ADDRESS,
    POD_NETWORK,
    Network,
    choose_subnet,
    ends,
    taken_networks,
)
from caios_testbed.cluster.node import Node
from caios_testbed.cluster.oci import Image
from caios_testbed.cluster.packages import NODE as NODE_PACKAGES
from caios_testbed.cluster.packages import ensure_packages
from caios_testbed.cluster.pki import Pki
from caios_testbed.cluster.process import boot_id
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.roster import Roster
from caios_testbed.cluster.state import Ports, locked

NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
"""A name becomes part of host names, paths and a namespace's name."""

PORTS = Ports(apiserver=6443, etcd=2379, etcd_peer=2380, controller_manager=10257)
"""The usual ones: the namespace is the cluster's own."""

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "dnsmasq",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster called `name`, whether it runs or not. Raises ClusterError for a bad name."""

    name: str = "caios"

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ClusterError(
                f"cluster name {self.name!r}: use up to 32 lower-case letters, digits and dashes, "
                "beginning with a letter"
            )

    def up(self, progress: Progress) -> None:
        """Start the cluster, or say that it runs; what an earlier one left is removed first.

        Returns when the node is ready and a Pod may be created. Raises ClusterError, with the end
        of the log of the component that failed; the processes are ended then, the logs kept.
        """
        self._require_root()
        ensure_packages(NODE_PACKAGES, progress)
        binaries = ensure_binaries(NODE, progress)
        sandbox = ensure_sandbox_image(progress)
        with locked(self.directory):
            if self.healthy:
                progress.note(f"cluster {self.name} runs already")
                return
            self._require_ours()
            if self._roster.state.processes:
                progress.note(f"cluster {self.name} is not whole; starting it anew")
            with progress.step(f"cluster {self.name} ready", f"starting cluster {self.name}"):
                self._clear()
                try:
                    self._launch(binaries, sandbox, progress)
                except BaseException:
                    self._clear()
                    raise

    def down(self) -> None:
        """End and remove all but certificates, identity, images and logs; fine when not up."""
        with locked(self.directory):
            self._require_ours()
            if self._roster.state.processes or self._node_left:
                self._require_root()
                self._clear()

    def status(self) -> dict[str, bool]:
        """Return which components run."""
        return {name: self._roster.alive(name) for name in COMPONENTS}

    @property
    def healthy(self) -> bool:
        """Whether every component runs, and the API server says that the node is ready."""
        return all(self.status().values()) and self._api.node_ready(self.node_name)

    def load_image(self, tar: Path) -> None:
        """Make the image in `tar` (an OCI layout, or of `docker save`) known to the node.

        Raises ClusterError when containerd does not run or refuses the file.
        """
        if not self._roster.alive("containerd"):
            raise self._not_up()
        containers.import_image(self._node().socket, tar)

    def stop(self, component: str, grace: float = restarts.GRACE_SECONDS) -> None:
        """End a component of the control plane; what it stored stays.

        By SIGTERM, and by SIGKILL after `grace` seconds; `grace=0` kills at once. Raises
        ClusterError.
        """
        with locked(self.directory):
            restarts.stop(self._roster, component, grace)

    def start(self, component: str) -> None:
        """Start a component that was ended; return when it serves. Raises ClusterError."""
        with locked(self.directory):
            restarts.start(self._running_plan, self._roster, component)

    def restart(self, component: str, grace: float = restarts.GRACE_SECONDS) -> None:
        """End a component as `stop` does, and start it again."""
        with locked(self.directory):
            restarts.restart(self._running_plan, self._roster, component, grace)

    def expire_watches(self) -> None:
        """Restart the API server so that a watch resumed from an earlier version gets 410."""
        with locked(self.directory):
            restarts.expire_watches(self._running_plan, self._roster)

    def drop_connections(self, *clients: str) -> int:
        """Close connections to the API server of addresses or networks, by default of all Pods.

        Return how many there were. They may be made again at once. Raises ClusterError.
        """
        return severing.drop_connections(self.network, PORTS.apiserver, clients or (POD_NETWORK,))

    def blackout(self, seconds: float, *clients: str) -> AbstractContextManager[None]:
        """Let packets between the API server and `clients`, by default all Pods, vanish.

        For as long as the `with`, at most `seconds`. Raises ClusterError.
        """
        sources = clients or (POD_NETWORK,)
        return severing.blackout(self.network, PORTS.apiserver, seconds, sources)

    def resolve(self, name: str, address: str) -> None:
        """Let Pods resolve `name` to `address`, until the cluster goes down.

        For Services that are called by name: the cluster's DNS server knows none by itself.
        """
        hosts = self._node().hosts
        if not hosts.is_dir():
            raise self._not_up()
        (hosts / name).write_text(f"{address} {name}\n")

    def container_pid(self, container: str) -> int:
        """Return the pid on this machine of the first process of one of the cluster's containers.

        `container` is its id without scheme. Raises ClusterError when it does not run.
        """
        return containers.main_pid(self._node().containerd_state, container)

    def command_inside(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` inside of the cluster's network namespace."""
        return [*self.network.enter, *argv]

    @property
    def directory(self) -> Path:
        """Where the cluster keeps its state, certificates, configuration and logs."""
        return directories.state("clusters", self.name)

    @property
    def kubeconfig(self) -> Path:
        """How the host reaches the cluster as its administrator. It stands alone."""
        return self.directory / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        """The kubectl of the cluster's version."""
        return ensure_binaries(("kubectl",), Progress.quiet())["kubectl"]

    @property
    def netns(self) -> str:
        """The network namespace, by the name that `ip netns` knows."""
        return self.network.namespace

    @property
    def network(self) -> Network:
        """The namespace and its link to the host."""
        return Network(self.name)

    @property
    def node_name(self) -> str:
        """The Node object's name."""
        return f"{self.name}-node"

    @property
    def node_address(self) -> str:
        """The node's address: Pods reach it, and all names of CoreWeave lead to it."""
        return NODE_ADDRESS

    @property
    def host_address(self) -> str:
        """The host's address as the cluster sees it; raises ClusterError when it is not up."""
        return str(ends(self._subnet)[0])

    @property
    def cluster_address(self) -> str:
        """The cluster's address as the host sees it; raises ClusterError when it is not up."""
        return str(ends(self._subnet)[1])

    @property
    def url(self) -> str:
        """The API server's URL as the host sees it; raises ClusterError when it is not up."""
        return f"https://{self.cluster_address}:{PORTS.apiserver}"

    @property
    def ca_file(self) -> Path:
        """The certificate that the API server's own chains to."""
        return self.pki.ca

    @property
    def pki(self) -> Pki:
        """The certificates and keys, the administrator's among them."""
        return Pki(self.directory / "pki")

    @property
    def issuer(self) -> str:
        """The `iss` of ServiceAccount tokens; the same for every start of the cluster."""
        return ISSUER.format(self._roster.state.cluster_id)

    @property
    def audit_log(self) -> Path:
        """Writes to the API server since the start, and reads of ServiceAccounts: JSON lines."""
        return self.directory / "logs" / "audit.log"

    @property
    def _subnet(self) -> IPv4Network:
        subnet = self._roster.state.subnet
        if subnet is None:
            raise self._not_up()
        return IPv4Network(subnet)

    @property
    def _roster(self) -> Roster:
        return Roster(self.directory, self.network.enter)

    @property
    def _api(self) -> Api:
        return Api(self.url, self.pki)

    @property
    def _node_left(self) -> bool:
        return self._node().run.exists()

    def _node(self) -> Node:
        return Node(self.name, self.directory)

    def _not_up(self) -> ClusterError:
        return ClusterError(
            f"cluster {self.name} is not up; run: caios-testbed cluster up --name {self.name}"
        )

    def _require_root(self) -> None:
        if os.geteuid() != 0:
            raise ClusterError(
                "a cluster with a node needs root, for namespaces and mounts; "
                "without root there is: caios-testbed cluster up --control-plane"
            )

    def _require_ours(self) -> None:
        """Raise ClusterError when a cluster of this name runs that another state file describes."""
        if self._roster.state.subnet is None and self.network.path.exists():
            raise ClusterError(
                f"network namespace {self.netns} exists but is not known to {self.directory}; "
                f"if no other user runs cluster {self.name}: ip netns delete {self.netns}"
            )

    def _launch(self, binaries: Binaries, sandbox: Image, progress: Progress) -> None:
        shutil.rmtree(self.directory / "logs", ignore_errors=True)
        subnet = choose_subnet(self.name, taken_networks())
        self._roster.update(subnet=str(subnet), ports=PORTS)
        self.network.create(subnet)
        plan = self._plan(binaries)
        node = self._node()
        hosts = (NODE_ADDRESS, self.cluster_address)
        plan.pki.ensure(hosts, node=node.host_name, address=NODE_ADDRESS)
        plan.write_files()
        node.write_files(plan, sandbox.reference)
        context = f"caios-testbed-{self.name}"
        write_kubeconfig(
            self.kubeconfig, context=context, url=plan.url, pki=plan.pki, client="admin"
        )
        launch(plan, node, self._roster, sandbox, progress)

    @property
    def _running_plan(self) -> Plan:
        return self._plan(ensure_binaries(NODE, Progress.quiet()))

    def _plan(self, binaries: Binaries) -> Plan:
        return Plan(
            directory=self.directory,
            binaries=binaries,
            pki=self.pki,
            cluster_id=self._roster.state.cluster_id,
            ports=PORTS,
            address=self.cluster_address,
            bind="0.0.0.0",
            node_address=NODE_ADDRESS,
        )

    def _forget_containers(self, node: Node, roster: Roster) -> bool:
        """Remove all containers, which have ended, from containerd's data.

        Return whether what is left, the images, may be kept for the next start: importing them
        takes longer than all the rest. A containerd that was killed is started once more for it.
        """
        containerd = roster.state.process("containerd")
        if containerd is None:
            return True
        if containerd.boot != boot_id():
            return False  # the machine went down, and not all may have reached the disk
        if not containerd.alive:
            try:
                start_containerd(node, roster)
            except ClusterError:
                return False
        return containers.remove_all(node.socket)

    def _clear(self) -> None:
        """Remove all that a start made but certificates, identity, images and logs."""
        node, roster = self._node(), self._roster
        roster.stop("kubelet", "kube-proxy", grace=0)  # or kubelet starts again what ends
        ids = leftovers.container_ids(node.containerd_state)
        leftovers.end_containers(ids)
        kept = self._forget_containers(node, roster)
        roster.stop("containerd", grace=0)
        leftovers.end_shims(node.socket)
        leftovers.remove_shim_sockets(node.containerd_state)
        roster.stop_all(grace=0)
        leftovers.unmount(node.scratch)
        leftovers.remove_log_links(node.pod_logs)
        leftovers.remove_network_results(ids)
        self.network.delete()
        for path in (*node.scratch, self.directory / "etcd"):
            if path != node.containerd_root or not kept:
                shutil.rmtree(path, ignore_errors=True)
        roster.update(subnet=None, ports=None)
