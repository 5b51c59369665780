"""The certificate that the operator makes itself (peers checklist 4.11)."""

import asyncio
import contextlib
import datetime as dt
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from caios_federation.reconcile.certificates import (
    ensure_certificate,
    issue_bundle,
    keep_certificate,
    renewal_time,
)
from virtual_time import VirtualLoop

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LIFETIME = dt.timedelta(days=90)
HOSTS = ["hook.caios.svc", "hook.caios.svc.cluster.local", "10.0.0.5"]
SKEW = dt.timedelta(minutes=5)
DUE = NOW - SKEW + (LIFETIME + SKEW) * 2 / 3


def ensure(directory: Path, hosts: list[str] = HOSTS, now: dt.datetime = NOW) -> dt.datetime:
    with structlog.testing.capture_logs():
        return ensure_certificate(directory, hosts, LIFETIME, now)


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def authorities(directory: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((directory / "ca.crt").read_bytes())


def leaf(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())


def verify(directory: Path, host: str, at: dt.datetime = NOW) -> None:
    """Check as a TLS client does that trusts the CA alone."""
    verify_against(leaf(directory), authorities(directory), host, at)


def verify_against(
    certificate: x509.Certificate, trusted: list[x509.Certificate], host: str, at: dt.datetime
) -> None:
    builder = PolicyBuilder().store(Store(trusted)).time(at)
    builder.build_server_verifier(x509.DNSName(host)).verify(certificate, [])


@pytest.mark.parametrize("host", HOSTS[:2])
def test_the_ca_vouches_for_the_names_of_the_service(tmp_path: Path, host: str) -> None:
    ensure(tmp_path)
    verify(tmp_path, host)


def test_the_ca_vouches_for_no_other_name_and_no_other_time(tmp_path: Path) -> None:
    ensure(tmp_path)
    with pytest.raises(VerificationError):
        verify(tmp_path, "other.caios.svc")
    with pytest.raises(VerificationError):
        verify(tmp_path, HOSTS[0], NOW + LIFETIME + SKEW)


def test_a_certificate_is_valid_for_clocks_that_run_behind(tmp_path: Path) -> None:
    ensure(tmp_path)
    verify(tmp_path, HOSTS[0], NOW - dt.timedelta(minutes=4))


def test_another_ca_does_not_vouch_for_it(tmp_path: Path) -> None:
    ensure(tmp_path)
    other = x509.load_pem_x509_certificates(issue_bundle(HOSTS, LIFETIME, NOW).ca)
    with pytest.raises(VerificationError):
        verify_against(leaf(tmp_path), other, HOSTS[0], NOW)


def test_an_address_is_named_as_one(tmp_path: Path) -> None:
    ensure(tmp_path)
    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]
    assert names.get_values_for_type(x509.DNSName) == HOSTS[:2]


def test_the_key_fits_the_certificate_and_is_its_owners_alone(tmp_path: Path) -> None:
    ensure(tmp_path)
    key = load_pem_private_key((tmp_path / "tls.key").read_bytes(), None)
    assert key.public_key() == leaf(tmp_path).public_key()
    assert stat.S_IMODE((tmp_path / "tls.key").stat().st_mode) == 0o600


def test_the_key_of_the_ca_is_nowhere(tmp_path: Path) -> None:
    ensure(tmp_path)
    assert set(contents(tmp_path)) == {"ca.crt", "tls.crt", "tls.key"}
    (ca,) = authorities(tmp_path)
    key = load_pem_private_key((tmp_path / "tls.key").read_bytes(), None)
    assert key.public_key() != ca.public_key()


def test_a_missing_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    ensure(tmp_path / "a" / "tls")
    assert stat.S_IMODE((tmp_path / "a" / "tls").stat().st_mode) == 0o700


def test_a_certificate_is_due_at_two_thirds_of_its_life(tmp_path: Path) -> None:
    assert ensure(tmp_path) == DUE
    assert renewal_time(issue_bundle(HOSTS, LIFETIME, NOW), HOSTS) == DUE


def test_a_certificate_that_is_not_due_is_kept(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    assert ensure(tmp_path, now=DUE - dt.timedelta(seconds=1)) == DUE
    assert contents(tmp_path) == before


def test_a_certificate_that_is_due_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    assert ensure(tmp_path, now=DUE) > DUE
    after = contents(tmp_path)
    assert all(before[name] != after[name] for name in before)
    verify(tmp_path, HOSTS[0], DUE + LIFETIME - SKEW)


def test_an_expired_certificate_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    ensure(tmp_path, now=NOW + 10 * LIFETIME)
    verify(tmp_path, HOSTS[0], NOW + 10 * LIFETIME)


def test_a_certificate_for_other_hosts_is_replaced(tmp_path: Path) -> None:
    ensure(tmp_path, ["elsewhere.svc"])
    ensure(tmp_path)
    verify(tmp_path, HOSTS[0])


def test_a_certificate_for_more_hosts_is_kept(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    ensure(tmp_path, HOSTS[:1])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_missing_file_is_replaced(tmp_path: Path, name: str) -> None:
    ensure(tmp_path)
    (tmp_path / name).unlink()
    ensure(tmp_path)
    verify(tmp_path, HOSTS[0])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00"])
@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_spoilt_file_is_replaced(tmp_path: Path, name: str, content: bytes) -> None:
    ensure(tmp_path)
    (tmp_path / name).write_bytes(content)
    ensure(tmp_path)
    verify(tmp_path, HOSTS[0])
    key = load_pem_private_key((tmp_path / "tls.key").read_bytes(), None)
    assert key.public_key() == leaf(tmp_path).public_key()


def test_a_pair_of_which_one_half_is_older_is_replaced(tmp_path: Path) -> None:
    """What a process leaves that is killed between two files."""
    ensure(tmp_path)
    old = (tmp_path / "tls.key").read_bytes()
    ensure(tmp_path, now=DUE)
    (tmp_path / "tls.key").write_bytes(old)
    ensure(tmp_path, now=DUE)
    key = load_pem_private_key((tmp_path / "tls.key").read_bytes(), None)
    assert key.public_key() == leaf(tmp_path).public_key()


def test_the_bundle_keeps_the_ca_of_the_pair_that_may_still_serve(tmp_path: Path) -> None:
    ensure(tmp_path)
    old_leaf, (old_ca,) = leaf(tmp_path), authorities(tmp_path)
    ensure(tmp_path, now=DUE)
    both = authorities(tmp_path)
    assert both[1:] == [old_ca]
    verify_against(old_leaf, both, HOSTS[0], DUE)
    verify_against(leaf(tmp_path), both, HOSTS[0], DUE)


def test_the_bundle_does_not_grow(tmp_path: Path) -> None:
    now = NOW
    for _ in range(4):
        now = ensure(tmp_path, now=now)
    assert len(authorities(tmp_path)) == 2


def test_a_ca_is_published_before_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    really = Path.replace

    def note(self: Path, target: Path) -> Path:
        written.append(target.name)
        return really(self, target)

    monkeypatch.setattr(Path, "replace", note)  # the order is seen nowhere else
    ensure(tmp_path)
    assert written == ["ca.crt", "tls.crt", "tls.key"]


@pytest.mark.parametrize("certificate", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_what_is_no_certificate_is_due_at_no_time(certificate: bytes) -> None:
    bundle = issue_bundle(HOSTS, LIFETIME, NOW)
    assert renewal_time(replace(bundle, certificate=certificate), HOSTS) is None
    assert renewal_time(replace(bundle, ca=certificate), HOSTS) is None
    assert renewal_time(replace(bundle, key=certificate), HOSTS) is None


def test_parts_of_different_bundles_are_due_at_no_time() -> None:
    one, other = (issue_bundle(HOSTS, LIFETIME, NOW) for _ in range(2))
    assert renewal_time(replace(one, ca=other.ca), HOSTS) is None
    assert renewal_time(replace(one, key=other.key), HOSTS) is None
    assert renewal_time(replace(one, certificate=other.certificate), HOSTS) is None


def test_a_spoilt_ca_never_enters_the_bundle(tmp_path: Path) -> None:
    ensure(tmp_path)
    spoilt = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca.crt").write_bytes(spoilt)
    ensure(tmp_path)
    assert len(authorities(tmp_path)) == 1


class Keeping:
    """Keeping a certificate for ever, in virtual time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.renewals: list[float] = []

    def clock(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.loop.time())

    async def keep(self, directory: Path) -> None:
        await keep_certificate(
            directory,
            HOSTS,
            LIFETIME,
            self.clock,
            lambda: self.renewals.append(self.loop.time()),
        )


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeping]:
    async def at_once(work: Callable[..., dt.datetime], *args: object) -> dt.datetime:
        return work(*args)

    # A thread would end at a time of its own, which virtual time does not wait for.
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    with contextlib.closing(VirtualLoop()) as loop, structlog.testing.capture_logs():
        yield Keeping(loop)


def test_a_certificate_is_kept_valid_for_ever(tmp_path: Path, keeping: Keeping) -> None:
    task = keeping.loop.create_task(keeping.keep(tmp_path))
    for _ in range(12):
        keeping.loop.advance(dt.timedelta(days=30).total_seconds())
        verify(tmp_path, HOSTS[0], keeping.clock())
    task.cancel()
    keeping.loop.settle()
    assert task.cancelled()
    assert len(keeping.renewals) == 7
    assert len(authorities(tmp_path)) == 2


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path, keeping: Keeping) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        keeping.loop.run(keeping.keep(tmp_path / "file" / "tls"))
