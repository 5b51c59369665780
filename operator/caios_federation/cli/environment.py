"""What verbs take from where they run: settings from the environment, the cluster's API server."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click
from pydantic import ValidationError

from caios_federation.settings import Role, Settings, unknown_variables

if TYPE_CHECKING:  # imported when used, so that offline verbs start fast
    from caios_federation.clients.kubernetes import KubernetesClient

T = TypeVar("T")
UNREACHABLE = 3
"""Exit code: the API server cannot be reached, or refuses."""


def read_settings(role: str | None = None) -> Settings:
    """Return the settings; ends the program with exit code 2 where one is wrong."""
    try:
        settings = Settings(role=Role(role)) if role else Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "CAIOS_" + "__".join(map(str, problem["loc"])).upper()
            click.echo(f"{name.rstrip('_')}: {problem['msg']}", err=True)
        raise SystemExit(2) from None
    for name, near in sorted(unknown_variables(os.environ).items()):
        hint = f"; did you mean {near}?" if near else ""
        click.echo(f"warning: {name} is no setting{hint}", err=True)
    return settings


def with_cluster(work: Callable[["KubernetesClient"], Awaitable[T]]) -> T:
    """Return what `work` does with the cluster that the Pod or the kubeconfig says.

    Ends the program with exit code 3 and a message where the API server does not go along.
    """
    from caios_federation.clients.errors import ClientError  # noqa: PLC0415
    from caios_federation.clients.kubernetes import connect  # noqa: PLC0415

    async def connected() -> T:
        async with connect(timeout_seconds=10) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except ClientError as refusal:
        for line in (f"error: {refusal}", *getattr(refusal, "__notes__", ())):
            click.echo(line, err=True)
        raise SystemExit(UNREACHABLE) from None
