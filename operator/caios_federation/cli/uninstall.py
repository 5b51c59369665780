"""`caios-federation uninstall`: take away what would be left behind, and say what stays."""

from typing import TYPE_CHECKING

import click

from caios_federation.cli.environment import read_settings, with_cluster
from caios_federation.core.uninstall import Report, render_report

if TYPE_CHECKING:
    from caios_federation.clients.kubernetes import KubernetesClient


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=180,
    show_default=True,
    help="Seconds for the removal, once no controller acts.",
)
@click.option(
    "--api-token-secret",
    "token_secrets",
    multiple=True,
    help="Secret with CoreWeave's API token, to be named among what is left; repeatable. Those of "
    "StorageFederations that are still there are known.",
)
def uninstall(timeout: float, token_secrets: tuple[str, ...]) -> None:
    """Remove what the operator keeps in a cluster, and say what is left on purpose.

    Removed are the webhook configuration, the finalizer of every FederatedStorageBinding, the
    certificate that the operator made, and its Lease. CRDs, bindings, StorageFederations, policies
    at CoreWeave and the Secret of the API token stay. Delete the operator's Deployments first:
    while a controller acts, nothing is removed. Where it is installed and what its Secret and its
    Lease are called is told by CAIOS_NAMESPACE, CAIOS_CERTIFICATES__SECRET_NAME and
    CAIOS_LEASE__NAME.

    Exit code 1 says that something could not be removed, and how to do it by hand.
    """
    settings = read_settings()

    async def work(client: "KubernetesClient") -> Report:
        from caios_federation.reconcile.uninstall import uninstall as remove  # noqa: PLC0415

        return await remove(client, settings, deadline_seconds=timeout, token_secrets=token_secrets)

    report = with_cluster(work)
    for line in render_report(report):
        click.echo(line)
    if report.failures:
        raise SystemExit(1)
