"""The Secret with the certificate as files, for a process beside the cluster: the kubelet's part.

Only `--role all` needs it; webhook Pods mount the Secret.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from caios_federation.clients import errors
from caios_federation.clients.kubernetes import SECRET, KubernetesClient
from caios_federation.observe.logging import logger
from caios_federation.reconcile.certificates import SERVED_FILES, parse_secret
from caios_federation.settings import Settings

_POLL_SECONDS: Final = 1.0

log = logger("certificates")


async def mirror_secret(client: KubernetesClient, settings: Settings) -> None:
    """Write the Secret's files into the directory whenever they change, for ever.

    A Secret that is missing or incomplete leaves the files as they are. Raises Rejected when the
    directory cannot be written to before it ever was; later the last pair serves on.
    """
    directory = settings.certificates.directory
    written: Mapping[str, bytes] = {}
    complained = ""
    while True:
        problem = ""
        try:
            files = await _read_files(client, settings)
            if files and files != written:
                await asyncio.to_thread(write_files, directory, files)
                written = files
        except errors.ClientError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{directory}: {error.strerror}"
            if not written:
                raise errors.Rejected(
                    f"{problem}: no certificate can be kept there; set "
                    "CAIOS_CERTIFICATES__DIRECTORY to a directory that this process may write"
                ) from error
        if problem and problem != complained:
            log.warning("certificate not mirrored", err=problem)
        complained = problem
        await asyncio.sleep(_POLL_SECONDS)


async def _read_files(client: KubernetesClient, settings: Settings) -> dict[str, bytes]:
    """Return what webhook Pods mount; nothing where a part is missing. Raises ClientError."""
    try:
        body = await client.read(SECRET, settings.namespace, settings.certificates.secret_name)
    except errors.NotFound:
        return {}
    files = parse_secret(body).files
    return {name: files[name] for name in SERVED_FILES} if files.keys() >= set(SERVED_FILES) else {}


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
