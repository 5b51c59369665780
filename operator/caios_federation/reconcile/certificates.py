"""The serving certificate that the operator makes itself: a CA and a pair in a directory.

Pure up to `keep_certificate`; the admission server notices new files by itself.
"""

import asyncio
import datetime as dt
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caios_federation.observe.logging import logger

CA_FILE: Final = "ca.crt"
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
_SKEW: Final = dt.timedelta(minutes=5)
"""How far back a certificate starts, for clocks that run behind."""
_RENEWED_AT: Final = 2 / 3
"""Part of its life after which a certificate is replaced."""

log = logger("certificates")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A CA certificate and a serving pair that it signed, all PEM."""

    ca: bytes
    certificate: bytes
    key: bytes


def issue_bundle(hosts: Sequence[str], lifetime: dt.timedelta, now: dt.datetime) -> Bundle:
    """Make a CA and a serving pair for `hosts`; the CA's key is forgotten at once."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "caios-federation webhook CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "caios-federation webhook")])
    pair = (
        _builder(name, ca_name, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_host, hosts))), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Bundle(
        ca=ca.public_bytes(pem),
        certificate=pair.public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def renewal_time(bundle: Bundle, hosts: Sequence[str]) -> dt.datetime | None:
    """Return when `bundle` is to be replaced; None for one that cannot serve `hosts`.

    Its parts may stem from different issues, when a process was killed between two files.
    """
    try:
        pair = x509.load_pem_x509_certificate(bundle.certificate)
        names = pair.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        pair.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.ca))
        key = serialization.load_pem_private_key(bundle.key, None)
    except (ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature, UnsupportedAlgorithm):
        return None
    if key.public_key() != pair.public_key() or not set(map(_host, hosts)) <= set(names):
        return None
    life = pair.not_valid_after_utc - pair.not_valid_before_utc
    return pair.not_valid_before_utc + life * _RENEWED_AT


def ensure_certificate(
    directory: Path, hosts: Sequence[str], lifetime: dt.timedelta, now: dt.datetime
) -> dt.datetime:
    """Have a pair for `hosts` in `directory` that is not due yet; return when it will be."""
    files = [directory / name for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE)]
    if all(file.exists() for file in files):
        due = renewal_time(Bundle(*(file.read_bytes() for file in files)), hosts)
        if due is not None and due > now:
            return due
    bundle = issue_bundle(hosts, lifetime, now)
    # Whoever still serves with the old pair is trusted until it has the new one.
    authorities = bundle.ca + _first_certificate(files[0])
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file, content in zip(files, (authorities, bundle.certificate, bundle.key), strict=True):
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(content)
        fresh.replace(file)
    due = renewal_time(bundle, hosts)
    log.info("certificate issued", hosts=list(hosts), renewal=due and due.isoformat())
    return due or now


async def keep_certificate(
    directory: Path,
    hosts: Sequence[str],
    lifetime: dt.timedelta,
    clock: Callable[[], dt.datetime],
    renewed: Callable[[], None],
) -> None:
    """Keep a valid pair in `directory` for ever, and tell of each new one."""
    while True:
        before = clock()
        due = await asyncio.to_thread(ensure_certificate, directory, hosts, lifetime, before)
        renewed()
        await asyncio.sleep(max((due - clock()).total_seconds(), 1))


def _first_certificate(file: Path) -> bytes:
    """Return the first certificate of `file`; nothing where there is none that can be read."""
    try:
        first = x509.load_pem_x509_certificate(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return b""
    return first.public_bytes(serialization.Encoding.PEM)


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
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
