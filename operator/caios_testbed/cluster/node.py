"""The node: containerd, kubelet, kube-proxy and the DNS server, each with its configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caios_testbed.cluster.binaries import Binaries
from caios_testbed.cluster.components import Plan
from caios_testbed.cluster.network import NODE_ADDRESS, POD_NETWORK
from caios_testbed.cluster.packages import PLUGINS
from caios_testbed.cluster.pki import KUBERNETES_SERVICE, Pki

COREWEAVE_NAMES = ("api.coreweave.com", "cwlota.com", "cwobject.com")
"""Names that lead to the node's address, where the stand-in listens; subdomains included, because
buckets are hosts."""

CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  # A container's OOM score may only be lowered with CAP_SYS_RESOURCE, which a sandboxed root lacks.
  restrict_oom_score_adj = true
  # So that a cluster's Pods leave nothing among the host's own network namespaces.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{run}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
"""


@dataclass(frozen=True, slots=True)
class Node:
    """The node of the cluster called `name`."""

    name: str
    directory: Path
    """The cluster's own, for what need not be on a short path."""

    @property
    def host_name(self) -> str:
        """The Node object's name."""
        return f"{self.name}-node"

    @property
    def run(self) -> Path:
        """Sockets and mounts. A short path: that of a socket has 107 characters at most."""
        return Path("/run/caios-testbed", self.name)

    @property
    def containerd_state(self) -> Path:
        """What containerd keeps of running containers."""
        return self.run / "containerd"

    @property
    def containerd_root(self) -> Path:
        """Images and snapshots."""
        return self.directory / "containerd"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def hosts(self) -> Path:
        """Files like /etc/hosts, which the DNS server reads as soon as they are there."""
        return self.run / "hosts"

    @property
    def kubelet_root(self) -> Path:
        """Volumes of Pods."""
        return self.directory / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """Logs of Pods."""
        return self.directory / "pods"

    @property
    def pod_network(self) -> str:
        """The name of the Pods' network, under which the CNI library keeps results."""
        return f"testbed-{self.name}"

    @property
    def scratch(self) -> tuple[Path, ...]:
        """Everything that a stopped node leaves on disk."""
        return (self.run, self.containerd_root, self.kubelet_root, self.pod_logs)

    def write_files(self, plan: Plan, sandbox: str) -> None:
        """Write the configuration of all parts; `sandbox` is the sandbox image's reference."""
        directory = self.directory
        for made in (*self.scratch, self.hosts, directory / "cni"):
            made.mkdir(parents=True, exist_ok=True)
        containerd = CONTAINERD.format(
            root=self.containerd_root,
            state=self.containerd_state,
            run=self.run,
            socket=self.socket,
            sandbox=sandbox,
            plugins=PLUGINS,
            cni=directory / "cni",
        )
        (directory / "containerd.toml").write_text(containerd)
        (directory / "cni" / "10-pods.conflist").write_text(json.dumps(self._cni(), indent=2))
        (directory / "resolv.conf").write_text(f"nameserver {NODE_ADDRESS}\n")
        plan.write_kubeconfig("kubelet")
        proxy = plan.write_kubeconfig("kube-proxy")
        for name, config in (
            ("kubelet", self._kubelet_configuration(plan.pki)),
            ("kube-proxy", self._proxy_configuration(proxy)),
        ):
            (directory / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def containerd(self) -> list[str]:
        """Return containerd's command line."""
        return ["containerd", "--config", str(self.directory / "containerd.toml")]

    def kubelet(self, binaries: Binaries) -> list[str]:
        """Return kubelet's command line."""
        directory = self.directory
        return [
            str(binaries["kubelet"]),
            f"--config={directory / 'kubelet.yaml'}",
            f"--kubeconfig={directory / 'kubelet.kubeconfig'}",
            f"--root-dir={self.kubelet_root}",
            f"--hostname-override={self.host_name}",
            f"--node-ip={NODE_ADDRESS}",
        ]

    def kube_proxy(self, binaries: Binaries) -> list[str]:
        """Return kube-proxy's command line."""
        config = self.directory / "kube-proxy.yaml"
        return [str(binaries["kube-proxy"]), f"--config={config}"]

    def dnsmasq(self) -> list[str]:
        """Return the DNS server's command line: it knows a few names, and asks nobody else."""
        kubernetes = ("kubernetes.default.svc.cluster.local", "kubernetes.default.svc")
        return [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--log-facility=-",
            "--no-resolv",
            "--no-hosts",
            f"--listen-address={NODE_ADDRESS}",
            "--bind-interfaces",
            f"--hostsdir={self.hosts}",
            *(f"--address=/{name}/{NODE_ADDRESS}" for name in COREWEAVE_NAMES),
            # Or else a name that has no IPv6 address would, for that question, not exist at all.
            *(f"--local=/{name}/" for name in COREWEAVE_NAMES),
            *(f"--host-record={name},{KUBERNETES_SERVICE}" for name in kubernetes),
            # Everything else does not exist, and that at once: resolvers try their search domains
            # first, and a refusal instead of "no such name" would end the search for some.
            "--address=/#/",
        ]

    def _kubelet_configuration(self, pki: Pki) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(pki.ca)},
                "webhook": {"enabled": False},
                "anonymous": {"enabled": False},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "tlsCertFile": str(pki.certificate("kubelet")),
            "tlsPrivateKeyFile": str(pki.key("kubelet")),
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            # Sandboxes and older machines: cgroup v1, swap, no quota of their own for kubelet.
            "failCgroupV1": False,
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            # How long a changed Secret takes to reach Pods that mount it: a minute by default.
            "syncFrequency": "10s",
            # A developer's full disk is no reason to evict Pods, nor to delete images that cannot
            # be pulled again.
            "evictionHard": {
                "memory.available": "0%",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": [NODE_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.directory / "resolv.conf"),
            "podLogsDir": str(self.pod_logs),
            "volumePluginDir": str(self.kubelet_root / "volume-plugins"),
            "healthzBindAddress": "127.0.0.1",
            # kube-proxy has its own tables, and needs none of kubelet's.
            "makeIPTablesUtilChains": False,
        }

    def _proxy_configuration(self, kubeconfig: Path) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": self.host_name,
            "clusterCIDR": POD_NETWORK,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # Limits of connection tracking belong to the host; a namespace may not set them.
            "conntrack": {
                "maxPerCore": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }

    def _cni(self) -> dict[str, Any]:
        # Each Pod has a link of its own to the node (`ptp`), so that all traffic between Pods is
        # routed. On a common bridge, answers of a Service's Pod would bypass connection tracking
        # on kernels without br_netfilter.
        ipam = {
            "type": "host-local",
            "dataDir": str(self.run / "ipam"),
            "ranges": [[{"subnet": POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "0.4.0",
            "name": self.pod_network,
            "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}],
        }
