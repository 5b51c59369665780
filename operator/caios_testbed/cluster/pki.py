"""The cluster's certificates: one CA, and a pair for each component that talks to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from caios_testbed.authority import Authority

SERVICE_NETWORK = "10.0.0.0/24"
KUBERNETES_SERVICE = "10.0.0.1"
"""The first address of the Service network, which the API server gives to itself."""

API_SERVER_HOSTS = (
    "127.0.0.1",
    "localhost",
    KUBERNETES_SERVICE,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""Names under which any client may reach the API server, wherever it runs."""

CLIENTS = {
    "admin": ("kubernetes-admin", ("system:masters",)),
    "apiserver-kubelet": ("kube-apiserver", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
}
"""File name to common name and groups, as Kubernetes' own RBAC rules expect them."""


@dataclass(frozen=True, slots=True)
class Pki:
    """Files below `directory`: ca.crt, ca.key, sa.key, and NAME.crt, NAME.key."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The CA's key: the controller manager signs certificate requests with it."""
        return self.directory / "ca.key"

    @property
    def service_account_key(self) -> Path:
        """The private key that signs ServiceAccount tokens."""
        return self.directory / "sa.key"

    def certificate(self, name: str) -> Path:
        """Where the certificate called `name` is."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Where the key called `name` is."""
        return self.directory / f"{name}.key"

    def ensure(self, hosts: Sequence[str], node: str | None = None, address: str = "") -> None:
        """Make what is missing, and issue every leaf anew: `hosts` may have changed.

        `hosts` are added to the API server's names. `node` and its `address` get a kubelet pair.
        The CA and the key of the tokens are kept, so that those who trust them go on trusting.
        """
        authority = Authority.at(self.directory, "caios-testbed cluster")
        if not self.service_account_key.exists():
            self._write_service_account_key()
        self._issue(authority, "apiserver", "kube-apiserver", (), (*API_SERVER_HOSTS, *hosts))
        for name, (common_name, groups) in CLIENTS.items():
            self._issue(authority, name, common_name, groups, ())
        if node:
            name = f"system:node:{node}"
            self._issue(authority, "kubelet", name, ("system:nodes",), (node, address))

    def _issue(
        self,
        authority: Authority,
        name: str,
        common_name: str,
        groups: Sequence[str],
        hosts: Sequence[str],
    ) -> None:
        pair = authority.issue(common_name, organizations=groups, hosts=hosts)
        pair.write(self.certificate(name), self.key(name))

    def _write_service_account_key(self) -> None:
        # RSA, because that is what hosted clusters sign with: verifiers meet RS256, as they will.
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.service_account_key.touch(mode=0o600)
        self.service_account_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
