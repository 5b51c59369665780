"""`caios-federation run`: the operator's process."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Final, cast

import click
import uvloop

from caios_federation.cli.environment import read_settings
from caios_federation.settings import Role

_NOT_NEEDED: Final = (
    "pykube",  # Kopf, with all of requests: we log it in ourselves
    "rich",  # structlog, for tracebacks in colour
)


@click.command()
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="What this process does; CAIOS_ROLE when not given.",
)
def run(role: str | None) -> None:
    """Run the operator until SIGTERM.

    Settings come from CAIOS_* variables: docs/reference/settings.md lists them.
    """
    settings = read_settings(role)
    with _importing():
        # Kopf and the Kubernetes client are imported here alone: the other verbs start fast.
        from caios_federation.clients.errors import ClientError  # noqa: PLC0415
        from caios_federation.handlers import registry_for  # noqa: PLC0415
        from caios_federation.observe.logging import configure  # noqa: PLC0415
        from caios_federation.runtime import operate  # noqa: PLC0415

    configure(settings.log)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(operate(settings, registry_for(settings.role)))
    except* asyncio.CancelledError:
        raise SystemExit(143) from None  # SIGTERM before there was anything to end in order
    except* ClientError as group:
        for refusal in _leaves(group):
            click.echo(f"error: {refusal}", err=True)
        raise SystemExit(3) from None


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Import fast: almost all of the time from start to ready goes into imports.

    Without garbage collection, which visits again and again what stays for good, and without what
    libraries import wherever they find it.
    """
    absent = cast("ModuleType", None)  # how Python notes a module that is not to be found
    for name in _NOT_NEEDED:
        sys.modules.setdefault(name, absent)
    gc.disable()
    try:
        yield
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)  # most of what a request makes is gone before it is due
    finally:
        gc.enable()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what went wrong, from groups within groups: one for each level of tasks."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
