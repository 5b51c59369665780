"""Certificates for tests, made as the operator makes its own, and verified as clients do."""

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

import builders
from caios_federation.reconcile.pki import issue_authority, issue_pair, key_pem, pem_of

HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A CA and a serving pair that it signed, all PEM."""

    ca: bytes
    ca_key: bytes
    certificate: bytes
    key: bytes

    @property
    def files(self) -> dict[str, bytes]:
        """The keys of the Secret."""
        return {
            "ca.crt": self.ca,
            "ca.key": self.ca_key,
            "tls.crt": self.certificate,
            "tls.key": self.key,
        }

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def issue_bundle(
    hosts: Sequence[str],
    now: dt.datetime,
    lifetime: dt.timedelta = HOUR,
    ca_lifetime: dt.timedelta | None = None,
) -> Bundle:
    """Make a CA and a pair for `hosts`."""
    authority = issue_authority(ca_lifetime or 4 * lifetime, now)
    pair = issue_pair(authority, hosts, lifetime, now)
    ca = pem_of([authority.certificate])
    return Bundle(ca, key_pem(authority.key), pair.certificate, pair.key)


def verify(
    certificate: x509.Certificate, trusted: list[x509.Certificate], host: str, at: dt.datetime
) -> None:
    """Check as a TLS client does that trusts `trusted` alone. Raises VerificationError."""
    builder = PolicyBuilder().store(Store(trusted)).time(at)
    builder.build_server_verifier(x509.DNSName(host)).verify(certificate, [])


def secret(files: dict[str, bytes], *, ours: bool = True) -> builders.Json:
    """Return a Secret with `files`."""
    label = {"app.kubernetes.io/managed-by": "caios-federation"} if ours else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": "caios-federation-webhook-tls",
            "namespace": "caios-federation",
            "labels": label,
        },
        "data": {name: base64.b64encode(held).decode() for name, held in files.items()},
    }
