"""The serving certificate, replaced while serving (peers checklist 4.11)."""

import asyncio
import datetime as dt
import ssl
import warnings
from pathlib import Path

import orjson
import pytest
import structlog
from aiohttp import ClientConnectionError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from caios_federation.admission.certificate import ServingCertificate
from caios_federation.reconcile.mirror import write_files
from component.admission.serving import (
    LONG,
    Dispatch,
    Held,
    Serving,
    connection,
    pem_of,
    review,
    self_signed,
    serving,
    soon,
    trusting_anybody,
    until,
    write_pair,
)
from issuing import issue_bundle

BODY = orjson.dumps(review())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


async def until_shown(here: Serving, serial: int) -> None:
    """Wait until new connections are shown the certificate `serial`."""

    async def shown() -> bool:
        return await here.serial() == serial

    await until(shown)


async def until_logged(lines: list[structlog.typing.EventDict], message: str) -> str:
    """Wait for a line; return what it says went wrong."""

    async def logged() -> bool:
        return any(line["event"] == message for line in lines)

    await until(logged)
    return str(next(line for line in lines if line["event"] == message)["err"])


async def test_nobody_listens_before_there_is_a_certificate(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path, listening=False) as here:
            assert "FileNotFoundError" in await until_logged(lines, "certificate not loaded")
            assert not await here.is_open()
            serial = write_pair(tmp_path)
            await soon(here.server.listening.wait())
            assert await here.serial() == serial


async def test_who_trusts_the_operators_ca_trusts_its_server(tmp_path: Path) -> None:
    made = issue_bundle(["127.0.0.1"], dt.datetime.now(dt.UTC))
    write_files(tmp_path, made.files)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    async with (
        serving(tmp_path) as here,
        here.session.get(here.url("/readyz"), ssl=trusting) as answer,
    ):
        assert answer.status == 200


async def test_a_new_pair_serves_new_connections_while_old_ones_go_on(tmp_path: Path) -> None:
    old = write_pair(tmp_path)
    async with serving(tmp_path) as here, connection(here.port) as kept:
        await kept.start(BODY)
        assert await kept.answer() == 200
        new = write_pair(tmp_path)
        await until_shown(here, new)
        await kept.start(BODY)
        assert await kept.answer() == 200
        assert kept.serial == old != new


async def test_a_request_in_flight_outlives_a_rotation(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, Dispatch(held), deadline_seconds=LONG) as here:
        waiting = asyncio.create_task(here.review())
        await soon(held.asked.wait())
        await until_shown(here, write_pair(tmp_path))
        held.released.set()
        assert "patch" in (await soon(waiting))["response"]


async def test_a_pair_of_another_key_type_is_served_alone(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """A live context would keep a pair for each type of key, and show the older one."""
    write_pair(tmp_path, elliptic_key())
    async with serving(tmp_path) as here:
        await until_shown(here, write_pair(tmp_path, rsa_key))
        await until_shown(here, write_pair(tmp_path, elliptic_key()))


async def test_a_half_written_pair_keeps_the_old_one_serving(tmp_path: Path) -> None:
    old = write_pair(tmp_path)
    key = elliptic_key()
    certificate = self_signed(key)
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            (tmp_path / "tls.crt").write_bytes(pem_of(certificate))
            assert "KEY_VALUES_MISMATCH" in await until_logged(lines, "certificate not loaded")
            assert await here.serial() == old
            (tmp_path / "tls.key").write_bytes(pem_of(key))
            await until_shown(here, certificate.serial_number)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
async def test_a_missing_file_keeps_the_old_pair_serving(tmp_path: Path, name: str) -> None:
    old = write_pair(tmp_path)
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            (tmp_path / name).unlink()
            assert name in await until_logged(lines, "certificate not loaded")
            assert await here.serial() == old
            await until_shown(here, write_pair(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAA=="])
async def test_a_spoilt_file_keeps_the_old_pair_serving(tmp_path: Path, content: bytes) -> None:
    old = write_pair(tmp_path)
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            (tmp_path / "tls.crt").write_bytes(content)
            assert "SSLError" in await until_logged(lines, "certificate not loaded")
            assert await here.serial() == old


def test_an_unchanged_pair_is_not_loaded_again(tmp_path: Path) -> None:
    write_pair(tmp_path)
    certificate = ServingCertificate(tmp_path)
    assert certificate.refresh()
    loaded = certificate._current
    assert not certificate.refresh()
    assert certificate._current is loaded


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(tmp_path: Path) -> None:
    """OpenSSL would ask at the terminal, and hold up everything while nobody answers."""
    key = elliptic_key()
    (tmp_path / "tls.crt").write_bytes(pem_of(self_signed(key)))
    (tmp_path / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ssl.SSLError):
        ServingCertificate(tmp_path).refresh()


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client's context for one version of TLS, with all that old ones need."""
    context = trusting_anybody()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point here
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_tls_1_2_and_later_are_spoken(
    tmp_path: Path, version: ssl.TLSVersion, spoken: bool
) -> None:
    async with serving(tmp_path) as here:
        request = here.session.get(here.url("/readyz"), ssl=speaking(version))
        if spoken:
            async with request as answer:
                assert answer.status == 200
        else:
            with pytest.raises(ClientConnectionError):
                await request
            assert await here.ready() == 200


async def test_admissions_never_fail_while_pairs_are_replaced(tmp_path: Path) -> None:
    """Each pair is written certificate first, and seen before its key is there."""
    done = asyncio.Event()

    async def keep_asking(here: Serving) -> int:
        asked = 0
        while not done.is_set():
            async with connection(here.port) as fresh:
                await fresh.start(BODY)
                assert await fresh.answer() == 200
            asked += 1
        return asked

    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            asking = asyncio.create_task(keep_asking(here))
            for _ in range(5):
                key = elliptic_key()
                certificate = self_signed(key)
                (tmp_path / "tls.crt").write_bytes(pem_of(certificate))
                await until_logged(lines, "certificate not loaded")
                lines.clear()
                (tmp_path / "tls.key").write_bytes(pem_of(key))
                await until_shown(here, certificate.serial_number)
                assert not asking.done()
            done.set()
            assert await soon(asking) > 0
