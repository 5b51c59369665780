"""`caios-testbed coreweave`: the emulator as a process."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from pathlib import Path

import click

from caios_testbed.coreweave.app import Emulator, Options
from caios_testbed.coreweave.errors import ApiError
from caios_testbed.coreweave.issuers import IssuerSource
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION, DEMO_TOKEN, Knobs


@click.group()
def coreweave() -> None:
    """Play CoreWeave: its control API and AI Object Storage."""


@coreweave.command()
@click.option("--org", default=DEMO_ORGANIZATION, show_default=True, help="Organization id.")
@click.option(
    "--api-token",
    "api_tokens",
    multiple=True,
    envvar="CAIOS_TESTBED_API_TOKEN",
    help=f"API token of an administrator; repeatable.  [default: {DEMO_TOKEN}]",
)
@click.option(
    "--limited-api-token",
    "limited",
    multiple=True,
    help="API token whose rights come from organization policies alone; repeatable.",
)
@click.option(
    "--issuer",
    "issuers",
    multiple=True,
    metavar="ISSUER=BASE_URL[,CA_FILE]",
    help="Where an issuer's discovery and keys are really served; repeatable.",
)
@click.option(
    "--issuer-jwks",
    "key_files",
    multiple=True,
    metavar="ISSUER=FILE",
    help="A file with an issuer's JSON Web Key Set; repeatable.",
)
@click.option(
    "--https", default="127.0.0.1:443", show_default=True, help="HOST:PORT, or `off`; port 0: any."
)
@click.option(
    "--http", default="127.0.0.1:80", show_default=True, help="HOST:PORT, or `off`; port 0: any."
)
@click.option(
    "--proxy", default="off", show_default=True, help="HOST:PORT of an HTTPS proxy to the emulator."
)
@click.option("--san", "sans", multiple=True, help="One more name of the certificate; repeatable.")
@click.option(
    "--s3-host",
    "s3_hosts",
    multiple=True,
    help="One more host whose subdomains are buckets, e.g. s3.localhost; repeatable.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KNOB=VALUE",
    help="Set a knob, e.g. containerKeyLifetimeSeconds=3600; repeatable.",
)
@click.option(
    "--ca-directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the certificate authority is kept.  [default: in the testbed's state]",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the addresses here, as JSON, when listening.",
)
def serve(  # noqa: PLR0913, PLR0917  # one argument per option
    org: str,
    api_tokens: tuple[str, ...],
    limited: tuple[str, ...],
    issuers: tuple[str, ...],
    key_files: tuple[str, ...],
    https: str,
    http: str,
    proxy: str,
    sans: tuple[str, ...],
    s3_hosts: tuple[str, ...],
    assignments: tuple[str, ...],
    ca_directory: Path | None,
    ready_file: Path | None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Everything is kept in memory."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = Options(
        organization=org,
        api_tokens=api_tokens or (DEMO_TOKEN,),
        limited_api_tokens=limited,
        issuers=_sources(issuers, key_files),
        knobs=_knobs(assignments),
        http=_address(http),
        https=_address(https),
        proxy=_address(proxy),
        s3_hosts=s3_hosts,
        sans=sans,
        ca_directory=ca_directory,
    )
    try:
        asyncio.run(_serve(options, ready_file))
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}") from error


async def _serve(options: Options, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with Emulator(options) as emulator:
        ready = {
            "url": emulator.url,
            "httpsUrl": emulator.https_url,
            "proxyUrl": emulator.proxy_url,
            "caFile": str(emulator.ca_file) if emulator.https_url else "",
            "organization": emulator.organization,
        }
        if ready_file is not None:
            # Whole or not at all, for those who poll.
            temporary = ready_file.with_name(ready_file.name + ".new")
            await asyncio.to_thread(temporary.write_text, json.dumps(ready) + "\n")
            await asyncio.to_thread(temporary.replace, ready_file)
        print(f"listening: {json.dumps(ready)}", flush=True)
        await stop.wait()


def _sources(issuers: tuple[str, ...], key_files: tuple[str, ...]) -> dict[str, IssuerSource]:
    sources = {}
    for text in issuers:
        # From the right: an issuer may contain `=`, a base URL does not.
        issuer, equals, place = text.rpartition("=")
        base_url, _, ca_file = place.partition(",")
        if not equals or not base_url.startswith(("http://", "https://")):
            raise click.BadParameter(f"{text}: wanted ISSUER=BASE_URL[,CA_FILE]")
        sources[issuer] = IssuerSource(
            base_url=base_url, ca_file=Path(ca_file) if ca_file else None
        )
    for text in key_files:
        issuer, equals, file = text.rpartition("=")
        if not equals:
            raise click.BadParameter(f"{text}: wanted ISSUER=FILE")
        sources[issuer] = IssuerSource(file=Path(file))
    return sources


def _knobs(assignments: tuple[str, ...]) -> Knobs:
    knobs = Knobs()
    try:
        for assignment in assignments:
            knobs = knobs.assigned(assignment)
    except ApiError as error:
        raise click.BadParameter(error.message, param_hint="--set") from error
    return knobs


def _address(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise click.BadParameter(f"{text}: wanted HOST:PORT or off")
    return host.strip("[]"), int(port)
