"""How each part of the control plane is told to run: its command line, and its audit policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from caios_testbed.cluster.binaries import Binaries
from caios_testbed.cluster.kubeconfig import write_kubeconfig
from caios_testbed.cluster.pki import SERVICE_NETWORK, Pki
from caios_testbed.cluster.state import Ports

ISSUER = "https://oidc.cks.coreweave.com/id/{}"
"""The form of a CKS cluster's issuer: tokens of the testbed carry an `iss` like a real one's."""

UNLIMITED = ("--kube-api-qps=1000", "--kube-api-burst=2000")
"""The default of 20 calls a second makes the controllers take 6 s to start in an empty cluster."""

WRITES = ["create", "update", "patch", "delete", "deletecollection"]

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "userGroups": ["system:serviceaccounts:kube-system"],
            "verbs": WRITES,
        },
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "Metadata", "verbs": WRITES},
        {"level": "None"},
    ],
}
"""Every write, whoever made it. Reads of ServiceAccounts alone, because they show which rights a
program in the cluster uses; not of Kubernetes' own controllers, which are many and prove nothing.
"""

AUDIT_MEGABYTES, AUDIT_FILES = 64, 16
"""When the audit log is rotated, and how many files are kept: a long run fills 1 GiB at most, which
is about a million requests."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One control plane: where it keeps things and where it listens."""

    directory: Path
    binaries: Binaries
    pki: Pki
    cluster_id: str
    ports: Ports
    address: str
    """Where clients reach the API server."""
    bind: str
    """Where it listens."""
    node_address: str = ""
    """The node's address; empty for a control plane without a node."""

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.ports.apiserver}"

    @property
    def issuer(self) -> str:
        """The `iss` of the tokens."""
        return ISSUER.format(self.cluster_id)

    @property
    def audit_log(self) -> Path:
        """One JSON object per line and request; older ones are beside it (`audit.log_files`)."""
        return self.directory / "logs" / "audit.log"

    @property
    def etcd_data(self) -> Path:
        """Where etcd keeps its data."""
        return self.directory / "etcd"

    def write_files(self) -> None:
        """Write what the command lines below refer to."""
        self.audit_log.parent.mkdir(parents=True, exist_ok=True)
        self.audit_log.touch()
        (self.directory / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        for client in ("controller-manager", "scheduler"):
            self.write_kubeconfig(client)

    def write_kubeconfig(self, client: str) -> Path:
        """Write and return the kubeconfig of a component called `client` in the PKI."""
        path = self.directory / f"{client}.kubeconfig"
        write_kubeconfig(path, context=client, url=self.url, pki=self.pki, client=client)
        return path


def etcd(plan: Plan) -> list[str]:
    """Return etcd's command line. Its data outlives it but not the machine: no sync to disk."""
    client = f"http://127.0.0.1:{plan.ports.etcd}"
    peer = f"http://127.0.0.1:{plan.ports.etcd_peer}"
    return [
        str(plan.binaries["etcd"]),
        "--name=etcd",
        f"--data-dir={plan.etcd_data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=etcd={peer}",
        "--log-level=error",
    ]


def apiserver(plan: Plan) -> list[str]:
    """Return kube-apiserver's command line."""
    pki = plan.pki
    argv = [
        str(plan.binaries["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{plan.ports.etcd}",
        f"--bind-address={plan.bind}",
        f"--secure-port={plan.ports.apiserver}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--client-ca-file={pki.ca}",
        f"--service-account-issuer={plan.issuer}",
        # The default names the advertised address, which only Pods reach.
        f"--service-account-jwks-uri={plan.url}/openid/v1/jwks",
        f"--service-account-key-file={pki.service_account_key}",
        f"--service-account-signing-key-file={pki.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={plan.directory / 'audit-policy.yaml'}",
        f"--audit-log-path={plan.audit_log}",
        f"--audit-log-maxsize={AUDIT_MEGABYTES}",
        f"--audit-log-maxbackup={AUDIT_FILES}",
        "--profiling=false",
        # By one worker, which is the default, Pods of a load go more slowly than they come.
        "--delete-collection-workers=4",
    ]
    if not plan.node_address:
        # Nobody but its clients on this host reaches it: it writes no Endpoints of itself, which
        # must not be loopback ones, and looks for no other address on a machine that has none.
        return [*argv, f"--advertise-address={plan.bind}", "--endpoint-reconciler-type=none"]
    return [
        *argv,
        f"--advertise-address={plan.node_address}",
        f"--kubelet-certificate-authority={pki.ca}",
        f"--kubelet-client-certificate={pki.certificate('apiserver-kubelet')}",
        f"--kubelet-client-key={pki.key('apiserver-kubelet')}",
        # Else it tries to resolve the node's name, and logs and exec hang.
        "--kubelet-preferred-address-types=InternalIP",
    ]


def controller_manager(plan: Plan) -> list[str]:
    """Return kube-controller-manager's command line."""
    return [
        str(plan.binaries["kube-controller-manager"]),
        f"--kubeconfig={plan.directory / 'controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.ports.controller_manager}",
        f"--cert-dir={plan.directory / 'controller-manager'}",
        f"--service-account-private-key-file={plan.pki.service_account_key}",
        f"--root-ca-file={plan.pki.ca}",
        f"--cluster-signing-cert-file={plan.pki.ca}",
        f"--cluster-signing-key-file={plan.pki.ca_key}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        *UNLIMITED,
    ]


def scheduler(plan: Plan) -> list[str]:
    """Return kube-scheduler's command line."""
    return [
        str(plan.binaries["kube-scheduler"]),
        f"--kubeconfig={plan.directory / 'scheduler.kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        *UNLIMITED,
    ]
