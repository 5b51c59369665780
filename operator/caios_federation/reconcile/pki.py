"""Certificates as bytes: a CA and serving pairs are made here, and read again, whoever made them.

Reading never fails: what is no certificate is passed over.
"""

import contextlib
import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caios_federation.core.rotation import SKEW, Dated

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_PEM: Final = serialization.Encoding.PEM
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a certificate or a key of anybody may raise, at any of its parts."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A serving certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


def issue_authority(lifetime: dt.timedelta, now: dt.datetime) -> Authority:
    """Make a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own, because verifiers look up an issuer by its name.
    name = _name(f"caios-federation webhook CA {serial % 2**32:08x}")
    certificate = (
        _builder(name, name, key.public_key(), now, now + lifetime)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue_pair(
    authority: Authority, hosts: Sequence[str], lifetime: dt.timedelta, now: dt.datetime
) -> Pair:
    """Make a serving pair for `hosts`, never for longer than `authority` is in force."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.certificate
    expires = min(now + lifetime, signer.not_valid_after_utc)
    certificate = (
        _builder(_name("caios-federation webhook"), signer.subject, key.public_key(), now, expires)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(_PEM), key_pem(key))


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates among what `pem` holds, in its order."""
    found = []
    for block in _BLOCK.findall(pem):
        with contextlib.suppress(*_UNREADABLE):
            found.append(x509.load_pem_x509_certificate(block))
    return found


def read_authority(certificates: Iterable[x509.Certificate], key: bytes) -> Authority | None:
    """Return the CA of `certificates` that `key` (PEM) belongs to."""
    try:
        loaded = serialization.load_pem_private_key(key, None)
    except _UNREADABLE:
        return None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        return None  # not one of ours
    public = loaded.public_key()
    for certificate in certificates:
        with contextlib.suppress(*_UNREADABLE):
            may_sign = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            if may_sign.ca and certificate.public_key() == public:
                return Authority(certificate, loaded)
    return None


def read_pair(certificate: bytes, key: bytes, hosts: Sequence[str]) -> x509.Certificate | None:
    """Return the serving certificate, where its key fits and it names all of `hosts`."""
    try:
        (first, *_) = read_certificates(certificate)
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fits = serialization.load_pem_private_key(key, None).public_key() == first.public_key()
    except _UNREADABLE:
        return None
    return first if fits and set(map(_host, hosts)) <= set(names) else None


def signer_of(
    certificate: x509.Certificate, authorities: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    """Return the one of `authorities` that signed `certificate`."""
    for authority in authorities:
        with contextlib.suppress(InvalidSignature, *_UNREADABLE):
            certificate.verify_directly_issued_by(authority)
            return authority
    return None


def dated(certificate: x509.Certificate) -> Dated:
    """Return what decisions need to know of `certificate`."""
    return Dated(
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def pem_of(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return `certificates` as one file."""
    return b"".join(certificate.public_bytes(_PEM) for certificate in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return `key` as a file."""
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what a key is for; strict verifiers trust no CA that does not say it (RFC 5280)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    expires: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(now - SKEW)
        .not_valid_after(expires)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
