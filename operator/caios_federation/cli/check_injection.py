"""`caios-federation check-injection`: whether Pods are injected, for `helm test` and by hand."""

from typing import TYPE_CHECKING

import click

from caios_federation.api import vocabulary as words
from caios_federation.cli.environment import read_settings, with_cluster
from caios_federation.core.pods import namespaces_left_alone

if TYPE_CHECKING:
    from caios_federation.clients.kubernetes import KubernetesClient
    from caios_federation.reconcile.trial import Trial


@click.command()
@click.option("-n", "--namespace", required=True, help="Where the Pod is tried.")
@click.option(
    "--service-account",
    help="A ServiceAccount of that namespace, annotated or bound. One is made for the check, and "
    "deleted again, when not given.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=20,
    show_default=True,
    help="Seconds until a Pod must be injected.",
)
def check_injection(namespace: str, service_account: str | None, timeout: float) -> None:
    """Try a Pod through the API server, without storing it, and see whether it is injected.

    Exit code 1 says that it is not, what is missing, and where to look.
    """
    own = read_settings().namespace
    if namespace in namespaces_left_alone(own):
        which = "the operator's own namespace" if namespace == own else f"namespace {namespace}"
        raise click.UsageError(
            f"--namespace {namespace}: Pods of {which} are never injected; name another one"
        )

    async def work(client: "KubernetesClient") -> "Trial | None":
        from caios_federation.reconcile.trial import is_switched_off, try_injection  # noqa: PLC0415

        if await is_switched_off(client, namespace):
            return None
        return await try_injection(client, namespace, service_account, deadline_seconds=timeout)

    trial = with_cluster(work)
    if trial is None:
        click.echo(
            f"Pods in namespace {namespace} are not injected: its label {words.INJECT} is "
            f'"{words.FALSE}". To remove it: kubectl label namespace {namespace} {words.INJECT}-',
            err=True,
        )
        raise SystemExit(1)
    for warning in trial.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if not trial.missing:
        click.echo(f"injection works: a Pod in namespace {namespace} would get its identity")
        return
    click.echo(f"a Pod in namespace {namespace} is not injected; it lacks:", err=True)
    for part in trial.missing:
        click.echo(f"  {part}", err=True)
    for line in _where_to_look(namespace, service_account):
        click.echo(line, err=True)
    raise SystemExit(1)


def _where_to_look(namespace: str, service_account: str | None) -> list[str]:
    lines = [
        "Where to look:",
        "  kubectl get sfed  # a StorageFederation, its condition InjectionServing",
        f"  kubectl get mutatingwebhookconfiguration {words.WEBHOOK_CONFIGURATION} -o yaml",
        f"  kubectl get namespace {namespace} --show-labels  # not {words.INJECT}={words.FALSE}",
    ]
    if service_account:
        lines.append(f"  kubectl get fsb -n {namespace}  # of ServiceAccount {service_account}")
    return lines
