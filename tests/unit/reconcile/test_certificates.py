"""The certificate that the operator makes itself (peers checklist 4.11)."""

import asyncio
import contextlib
import datetime as dt
import errno
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from caios_federation.clients import errors
from caios_federation.reconcile import certificates
from caios_federation.reconcile.certificates import (
    examine,
    issue_bundle,
    keep_certificate,
    read_pair,
    watch_ca,
    write_files,
)
from virtual_time import VirtualLoop

T = TypeVar("T")
NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
LIFETIME = dt.timedelta(days=90)
HOSTS = ["hook.caios.svc", "hook.caios.svc.cluster.local", "10.0.0.5"]
SKEW = dt.timedelta(minutes=5)
DUE = NOW - SKEW + (LIFETIME + SKEW) * 2 / 3


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the work of threads at once: virtual time does not wait for them."""

    async def at_once(work: Callable[..., T], *args: object) -> T:
        return work(*args)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def ensure(directory: Path, hosts: list[str] = HOSTS, now: dt.datetime = NOW) -> dt.datetime:
    """Keep a certificate for a moment that takes no time; return when it is due."""

    async def publish() -> None:
        """Have it at once."""

    with contextlib.closing(VirtualLoop()) as loop, structlog.testing.capture_logs():
        task = loop.create_task(keep_certificate(directory, hosts, LIFETIME, lambda: now, publish))
        loop.advance(10)
        task.cancel()
        loop.settle()
    held = read_pair(directory, hosts, now)
    assert held is not None
    return held.due


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
    assert examine(replace(bundle, certificate=certificate), HOSTS) is None
    assert examine(replace(bundle, ca=certificate), HOSTS) is None
    assert examine(replace(bundle, key=certificate), HOSTS) is None


def test_parts_of_different_bundles_are_due_at_no_time() -> None:
    one, other = (issue_bundle(HOSTS, LIFETIME, NOW) for _ in range(2))
    assert examine(replace(one, ca=other.ca), HOSTS) is None
    assert examine(replace(one, key=other.key), HOSTS) is None
    assert examine(replace(one, certificate=other.certificate), HOSTS) is None


def test_a_spoilt_ca_never_enters_the_bundle(tmp_path: Path) -> None:
    ensure(tmp_path)
    spoilt = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca.crt").write_bytes(spoilt)
    ensure(tmp_path)
    assert len(authorities(tmp_path)) == 1


def test_a_renewal_that_was_interrupted_keeps_the_ca_of_the_pair_that_serves(
    tmp_path: Path,
) -> None:
    """Killed between the CA and the pair, twice."""
    ensure(tmp_path)
    old_leaf, (old_ca,) = leaf(tmp_path), authorities(tmp_path)
    for _ in range(2):
        unused = issue_bundle(HOSTS, LIFETIME, DUE).ca
        write_files(tmp_path, {"ca.crt": unused + (tmp_path / "ca.crt").read_bytes()})
    assert read_pair(tmp_path, HOSTS, NOW) is not None
    ensure(tmp_path, now=DUE)
    assert authorities(tmp_path)[1:] == [old_ca]
    verify_against(old_leaf, authorities(tmp_path), HOSTS[0], DUE)


@dataclass
class Keeping:
    """Keeping a certificate for ever, in virtual time, and an API server that is told its CA."""

    loop: VirtualLoop
    directory: Path
    lines: list[structlog.typing.EventDict]
    refusing: bool = False
    published: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The CA that was published, and the certificate that was there then."""

    def clock(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.loop.time())

    async def publish(self) -> None:
        if self.refusing:
            raise errors.Unavailable("API server: down")
        files = [self.directory / name for name in ("ca.crt", "tls.crt")]
        self.published.append((files[0].read_bytes(), files[1].read_bytes()))

    async def keep(self) -> None:
        await keep_certificate(self.directory, HOSTS, LIFETIME, self.clock, self.publish)

    @contextlib.contextmanager
    def kept(self) -> Iterator[asyncio.Task[None]]:
        task = self.loop.create_task(self.keep())
        yield task
        task.cancel()
        self.loop.settle()
        assert task.cancelled()

    def advance(self, **time: float) -> None:
        self.loop.advance(dt.timedelta(**time).total_seconds())

    def logged(self, message: str) -> list[structlog.typing.EventDict]:
        return [line for line in self.lines if line["event"] == message]


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Keeping]:
    with contextlib.closing(VirtualLoop()) as loop, structlog.testing.capture_logs() as lines:
        yield Keeping(loop, tmp_path / "tls", lines)


def test_a_certificate_is_kept_valid_for_ever(keeping: Keeping) -> None:
    with keeping.kept():
        for _ in range(12):
            keeping.advance(days=30)
            verify(keeping.directory, HOSTS[0], keeping.clock())
    assert len(keeping.published) == 7
    assert len(authorities(keeping.directory)) == 2


def test_the_first_pair_does_not_wait_for_the_api_server(keeping: Keeping) -> None:
    keeping.refusing = True
    with keeping.kept():
        keeping.loop.settle()
        verify(keeping.directory, HOSTS[0])
        keeping.refusing = False
        keeping.advance(minutes=1)
        assert len(keeping.published) == 1


def test_a_new_ca_is_published_before_its_pair_is_there(keeping: Keeping) -> None:
    with keeping.kept():
        keeping.advance(days=59)
        old = leaf(keeping.directory)
        keeping.advance(days=2)
        new = leaf(keeping.directory)
    ca, served = keeping.published[-1]
    assert old != new
    assert x509.load_pem_x509_certificate(served) == old
    for certificate in (old, new):
        verify_against(certificate, x509.load_pem_x509_certificates(ca), HOSTS[0], keeping.clock())


def test_the_old_pair_serves_while_the_new_ca_cannot_be_published(keeping: Keeping) -> None:
    with keeping.kept():
        keeping.advance(days=59)
        old = leaf(keeping.directory)
        keeping.refusing = True
        keeping.advance(days=10)
        assert leaf(keeping.directory) == old
        assert len(authorities(keeping.directory)) == 2
        waits = [line["retryAfterSeconds"] for line in keeping.logged("CA not published")]
        assert waits[:3] == [1, 2, 4]
        assert max(waits) == 300
        keeping.refusing = False
        keeping.advance(minutes=6)
        assert leaf(keeping.directory) != old


def test_a_pair_about_to_expire_is_replaced_although_nobody_can_be_told(keeping: Keeping) -> None:
    with keeping.kept():
        keeping.advance(days=59)
        old = leaf(keeping.directory)
        keeping.refusing = True
        keeping.advance(days=17)
        assert leaf(keeping.directory) != old
        assert old.not_valid_after_utc > keeping.clock()
    assert keeping.logged("certificate serves before its CA is published")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_directory_that_cannot_be_written_any_more_is_tried_again(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_directory: Path, _contents: object) -> None:
        raise OSError(code, "as told")

    with keeping.kept() as task:
        keeping.advance(days=59)
        old = contents(keeping.directory)
        # A full disk that root can be told of.
        with monkeypatch.context() as patch:
            patch.setattr(certificates, "write_files", refuse)
            keeping.advance(days=2)
            assert not task.done()
            assert contents(keeping.directory) == old
        failures = keeping.logged("certificate not renewed")
        assert [line["retryAfterSeconds"] for line in failures[:3]] == [1, 2, 4]
        assert "as told" in failures[0]["err"]
        keeping.advance(minutes=6)
        assert contents(keeping.directory) != old
        verify(keeping.directory, HOSTS[0], keeping.clock())


def test_nothing_is_replaced_before_everything_is_written(tmp_path: Path) -> None:
    write_files(tmp_path, {"tls.crt": b"old", "tls.key": b"old"})
    (tmp_path / "tls.key.new").mkdir()
    with pytest.raises(OSError, match=r"tls\.key\.new"):
        write_files(tmp_path, {"tls.crt": b"new", "tls.key": b"new"})
    assert (tmp_path / "tls.crt").read_bytes() == b"old"


def test_a_first_pair_that_cannot_be_written_names_the_setting(keeping: Keeping) -> None:
    keeping.directory.write_text("a file")
    with pytest.raises(errors.Rejected, match=r"tls: Not a dir.*; set CAIOS_CERTIFICATES__DIR"):
        keeping.loop.run(keeping.keep())


def test_each_new_ca_is_told_of_and_a_missing_one_is_not(keeping: Keeping) -> None:
    file, told = keeping.directory / "ca.crt", list[bytes]()
    task = keeping.loop.create_task(
        watch_ca(keeping.directory, 5, lambda: told.append(file.read_bytes()))
    )
    keeping.advance(minutes=1)
    assert told == []
    for content in (b"one", b"one", b"two"):
        write_files(keeping.directory, {"ca.crt": content})
        keeping.advance(seconds=6)
        file.unlink()
        keeping.advance(seconds=6)
    assert told == [b"one", b"two"]
    task.cancel()
    keeping.loop.settle()
    assert task.cancelled()
