"""The Secret as files, for a process beside the cluster."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import structlog

from caios_federation.clients import errors
from caios_federation.reconcile import mirror
from caios_federation.reconcile.mirror import mirror_secret
from caios_federation.settings import CertificateSettings, Settings
from component.clients.api_server import ScriptedApi, scripted
from component.reconcile.objects import SECRET, Objects
from issuing import secret

FILES = {"ca.crt": b"ca", "tls.crt": b"certificate", "tls.key": b"key"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_POLL_SECONDS", 0.01)  # a constant of seconds


@contextlib.asynccontextmanager
async def mirroring(directory: Path, objects: Objects) -> AsyncIterator[ScriptedApi]:
    """Mirror into `directory` until the test ends; what it raises fails the test."""
    async with scripted(objects) as api:
        settings = Settings(certificates=CertificateSettings(directory=directory))
        task = asyncio.create_task(mirror_secret(api.client, settings))
        try:
            yield api
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # files give no event
            await asyncio.sleep(0.005)


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.suffix != ".new"}


async def test_the_secrets_files_are_written_without_the_key_of_the_ca(tmp_path: Path) -> None:
    objects = Objects()
    async with mirroring(tmp_path / "tls", objects) as api:
        await until(lambda: len(api.seen) > 2)
        assert not (tmp_path / "tls").exists()
        objects.put(SECRET, secret({**FILES, "ca.key": b"secret"}))
        await until((tmp_path / "tls" / "tls.key").exists)
        assert contents(tmp_path / "tls") == FILES
        objects.put(SECRET, secret({**FILES, "tls.key": b"new"}))
        await until(lambda: (tmp_path / "tls" / "tls.key").read_bytes() == b"new")


@pytest.mark.parametrize("gone", [None, {"tls.crt": b"", "tls.key": b""}], ids=str)
async def test_a_secret_that_is_gone_or_incomplete_leaves_the_files(
    tmp_path: Path, gone: dict[str, bytes] | None
) -> None:
    objects = Objects()
    objects.put(SECRET, secret(FILES))
    async with mirroring(tmp_path, objects) as api:
        await until((tmp_path / "tls.key").exists)
        del objects.stored[SECRET]
        if gone:
            objects.put(SECRET, secret(gone))
        asked = len(api.seen)
        await until(lambda: len(api.seen) > asked + 2)
        assert contents(tmp_path) == FILES


async def test_a_secret_that_cannot_be_read_is_told_once_and_tried_again(tmp_path: Path) -> None:
    objects = Objects(refusals={f"GET {SECRET}": 403})
    objects.put(SECRET, secret(FILES))
    with structlog.testing.capture_logs() as lines:
        async with mirroring(tmp_path, objects) as api:
            await until(lambda: len(api.seen) > 3)
            objects.refusals = {}
            await until((tmp_path / "tls.key").exists)
    assert [line["event"] for line in lines] == ["certificate not mirrored"]


async def test_a_directory_that_can_never_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")
    objects = Objects()
    objects.put(SECRET, secret(FILES))
    async with scripted(objects) as api:
        settings = Settings(certificates=CertificateSettings(directory=tmp_path / "tls"))
        with pytest.raises(errors.Rejected, match=r"tls: .*; set CAIOS_CERTIFICATES__DIRECTORY"):
            await mirror_secret(api.client, settings)


async def test_a_directory_that_cannot_be_written_any_more_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, new = Objects(), {**FILES, "tls.key": b"new"}

    def refuse(_directory: Path, _contents: Mapping[str, bytes]) -> None:
        raise OSError(errno.ENOSPC, "as told")

    objects.put(SECRET, secret(FILES))
    with structlog.testing.capture_logs() as lines:
        async with mirroring(tmp_path, objects):
            await until((tmp_path / "tls.key").exists)
            # A full disk that root can be told of.
            with monkeypatch.context() as patch:
                patch.setattr(mirror, "write_files", refuse)
                objects.put(SECRET, secret(new))
                await until(lambda: bool(lines))
                assert contents(tmp_path) == FILES
            await until(lambda: contents(tmp_path) == new)
    assert [line["event"] for line in lines] == ["certificate not mirrored"]
    assert "as told" in lines[0]["err"]
