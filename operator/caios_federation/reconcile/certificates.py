"""The serving certificate that the operator makes itself: a CA and a pair in a directory.

Pure up to `read_pair`; the admission server notices new files by itself.
"""

import asyncio
import contextlib
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caios_federation.clients import errors
from caios_federation.observe.logging import logger

CA_FILE: Final = "ca.crt"
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
_SKEW: Final = dt.timedelta(minutes=5)
"""How far back a certificate starts, for clocks that run behind."""
_RENEWED_AT: Final = 2 / 3
"""Part of its life after which a certificate is replaced."""
_TAKEN_UP_SECONDS: Final = 5
"""How long a pair waits after its CA was published: API servers learn of it by a watch."""
_LONGEST_WAIT_SECONDS: Final = 300.0

log = logger("certificates")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A CA certificate and a serving pair that it signed, all PEM."""

    ca: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a pair that can serve."""

    due: dt.datetime
    """When it is to be replaced."""
    expires: dt.datetime
    authority: bytes
    """The CA that signed it, PEM."""


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


def examine(bundle: Bundle, hosts: Sequence[str]) -> Held | None:
    """Return what `bundle` is good for; None for one that cannot serve `hosts`.

    Its parts may stem from different issues, when a process was killed between two files, and its
    CA may be several: the one that serves next comes first, before the one of the pair.
    """
    try:
        pair = x509.load_pem_x509_certificate(bundle.certificate)
        names = pair.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        authorities = x509.load_pem_x509_certificates(bundle.ca)
        key = serialization.load_pem_private_key(bundle.key, None)
    except (ValueError, TypeError, x509.ExtensionNotFound, UnsupportedAlgorithm):
        return None
    authority = next((ca for ca in authorities if _signed(ca, pair)), None)
    if authority is None or key.public_key() != pair.public_key():
        return None
    if not set(map(_host, hosts)) <= set(names):
        return None
    return _held(pair, authority)


def read_pair(directory: Path, hosts: Sequence[str], now: dt.datetime) -> Held | None:
    """Return what `directory` holds; None where nothing there can serve `hosts` at `now`.

    Raises OSError when a file is there and cannot be read.
    """
    try:
        bundle = Bundle(
            *((directory / name).read_bytes() for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE))
        )
    except FileNotFoundError:
        return None
    held = examine(bundle, hosts)
    return held if held is not None and held.expires > now else None


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Replace files of `directory`, in order; all are written before the first is replaced.

    A full disk is thus found while everything old is still in its place. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in contents.items():
        fresh = directory / f"{name}.new"
        fresh.touch(mode=0o600)
        fresh.write_bytes(content)
    for name in contents:
        (directory / f"{name}.new").replace(directory / name)


async def keep_certificate(
    directory: Path,
    hosts: Sequence[str],
    lifetime: dt.timedelta,
    clock: Callable[[], dt.datetime],
    publish: Callable[[], Awaitable[None]],
) -> None:
    """Keep a pair in `directory` for ever that the API server trusts.

    `publish` has the API server trust what `ca.crt` holds, and raises ClientError where that did
    not work. Trouble with the files ends the process only before there was a pair to serve with:
    raises Rejected then.
    """
    keeper = _Keeper(directory, hosts, lifetime, clock, publish)
    held: Held | None = None
    waits = _waits()
    while True:
        try:
            # What is on the disk may be spoilt meanwhile; the server has the last pair in memory.
            held = await asyncio.to_thread(read_pair, directory, hosts, clock()) or held
            if held is None or held.due <= clock():
                held = await keeper.renew(held)
            waits = _waits()
            pause = max((held.due - clock()).total_seconds(), 1)
        except OSError as error:
            if held is None:
                raise errors.Rejected(
                    f"{directory}: {error.strerror}: no certificate can be kept there; set "
                    "CAIOS_CERTIFICATES__DIRECTORY to a directory that this process may write"
                ) from error
            pause = next(waits)
            log.warning(
                "certificate not renewed",
                err=f"{type(error).__name__}: {error}",
                retryAfterSeconds=pause,
            )
        await asyncio.sleep(pause)


async def watch_ca(directory: Path, poll_seconds: float, changed: Callable[[], None]) -> None:
    """Tell of each new content of `ca.crt`, whoever writes it, for ever; files give no event.

    A missing file is none: somebody is about to replace it, and there is nothing to publish.
    """
    seen: bytes | None = None
    while True:
        found = await asyncio.to_thread(_digest, directory / CA_FILE)
        if found is not None and found != seen:
            seen = found
            changed()
        await asyncio.sleep(poll_seconds)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """What a renewal is made of."""

    directory: Path
    hosts: Sequence[str]
    lifetime: dt.timedelta
    clock: Callable[[], dt.datetime]
    publish: Callable[[], Awaitable[None]]

    async def renew(self, held: Held | None) -> Held:
        """Replace `held` by a new pair. Raises OSError.

        While a pair serves, the CA of the next one is published first: servers take up new files
        by themselves, and the API server refuses a certificate whose CA it has not heard of.
        """
        now = self.clock()
        bundle = await asyncio.to_thread(issue_bundle, self.hosts, self.lifetime, now)
        fresh = _held(*map(x509.load_pem_x509_certificate, (bundle.certificate, bundle.ca)))
        pair = {CERTIFICATE_FILE: bundle.certificate, KEY_FILE: bundle.key}
        if held is None or held.expires <= now:
            # Nobody is served by the old pair. Which CA it had is unknown, if it had any.
            old = await asyncio.to_thread(_authorities, self.directory / CA_FILE)
            await self._write({CA_FILE: bundle.ca + old} | pair)
            self._tell(fresh)
            await self._published((fresh.due - now).total_seconds())
        else:
            await self._write({CA_FILE: bundle.ca + held.authority})
            # An API server that cannot be told for half of what is left would refuse the old pair
            # too once that has expired. With the new one calls work as soon as it can be told.
            left = (held.expires - now).total_seconds() / 2
            if not await self._published(left):
                log.warning("certificate serves before its CA is published")
            await self._write(pair)
            self._tell(fresh)
        return fresh

    def _tell(self, fresh: Held) -> None:
        log.info("certificate issued", hosts=list(self.hosts), renewal=fresh.due.isoformat())

    async def _write(self, contents: Mapping[str, bytes]) -> None:
        await asyncio.to_thread(write_files, self.directory, contents)

    async def _published(self, seconds: float) -> bool:
        """Publish `ca.crt`, trying for `seconds`; tell whether the API server has it now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for wait in _waits():
                    try:
                        await self.publish()
                    except errors.ClientError as error:
                        log.warning("CA not published", err=str(error), retryAfterSeconds=wait)
                        await asyncio.sleep(wait)
                    else:
                        await asyncio.sleep(_TAKEN_UP_SECONDS)
                        return True
        return False


def _held(pair: x509.Certificate, authority: x509.Certificate) -> Held:
    life = pair.not_valid_after_utc - pair.not_valid_before_utc
    return Held(
        due=pair.not_valid_before_utc + life * _RENEWED_AT,
        expires=pair.not_valid_after_utc,
        authority=authority.public_bytes(serialization.Encoding.PEM),
    )


def _waits() -> Iterator[float]:
    """Yield growing waits without end."""
    wait = 1.0
    while True:
        yield wait
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)


def _digest(file: Path) -> bytes | None:
    """Return a digest of what `file` holds; None where that cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None


def _authorities(file: Path) -> bytes:
    """Return the first certificates of `file`; nothing where there are none that can be read.

    Two, as many as a renewal leaves there when it is interrupted.
    """
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return b""
    return b"".join(ca.public_bytes(serialization.Encoding.PEM) for ca in found[:2])


def _signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


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
