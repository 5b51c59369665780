"""`caios-federation crds`: the CRDs of this release, for clusters where Helm does not upgrade them.

Helm installs what is in a chart's `crds/` and never touches it again; a hook Job of the chart runs
`crds apply` before an upgrade.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

import caios_federation
from caios_federation.cli.environment import with_cluster

if TYPE_CHECKING:
    from caios_federation.clients.kubernetes import KubernetesClient


@click.group()
def crds() -> None:
    """Work with the CRDs of this release."""


@crds.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=30,
    show_default=True,
    help="Seconds until each must be served.",
)
def apply(timeout: float) -> None:
    """Apply the CRDs and wait until they are served.

    A CRD whose versions this release does not know is left as it is, and no other is applied
    either: a newer release was installed.
    """

    async def work(client: "KubernetesClient") -> None:
        from caios_federation.reconcile.definitions import ensure_definitions  # noqa: PLC0415

        definitions: list[dict[str, Any]] = [yaml.safe_load(text) for text in read_crds()]
        await ensure_definitions(client, definitions, click.echo, deadline_seconds=timeout)

    with_cluster(work)


@crds.command(name="print")
def print_() -> None:
    """Print the CRDs as YAML, such as for `kubectl apply --server-side -f -`."""
    click.echo("---\n".join(read_crds()), nl=False)


def read_crds() -> list[str]:
    """Return the CRDs as YAML: those in the package, else those of the checkout it runs from."""
    package = Path(caios_federation.__file__).parent
    for directory in (package / "crds", package.parents[1] / "crds"):
        if files := sorted(directory.glob("*.yaml")):
            return [file.read_text(encoding="utf-8") for file in files]
    raise click.ClickException(f"{package / 'crds'}: no CRDs; this installation is incomplete")
