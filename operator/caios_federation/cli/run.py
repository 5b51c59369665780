"""`caios-federation run`: the operator's process."""

import asyncio
import os
from collections.abc import Iterator

import click
import uvloop
from pydantic import ValidationError

from caios_federation.settings import Role, Settings, unknown_variables


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
    # Kopf and the Kubernetes client are imported here alone, so that the other verbs start fast.
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


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield what went wrong, from groups within groups: one for each level of tasks."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
