"""`kubectl caios inject`: what injection does to a Pod, decided offline by the same core."""

from typing import IO

import click
import jsonpatch
import yaml

from caios_federation.api import vocabulary as words
from caios_federation.cli.manifests import (
    Manifest,
    binding_of,
    federation_of,
    namespace_of,
    of_kind,
    only_of,
    read_manifests,
)
from caios_federation.core.account import relevant
from caios_federation.core.errors import ParseError
from caios_federation.core.injection import Skip, Sources, federation_name, opted_out, resolve
from caios_federation.core.patch import render_patch
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import read_pod, service_account_of
from caios_federation.core.principal import parse_issuer


@click.command()
@click.option("-f", "--filename", required=True, type=click.File(), help="Manifests; - for stdin.")
@click.option("--issuer", required=True, help="The cluster's OIDC issuer URL.")
@click.option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    help="Namespace of what states none.",
)
def inject(filename: IO[str], issuer: str, namespace: str) -> None:
    """Print a Pod as it would be admitted.

    The file holds the Pod with its ServiceAccount, its StorageFederation and, where there is one,
    its FederatedStorageBinding. Warnings go to standard error; exit code 1 says that the Pod is
    not injected, and why.
    """
    objects = read_manifests(filename)
    raw = only_of(objects, "Pod")
    pod = read_pod(raw)
    sources = _sources(objects, namespace, raw, issuer)
    reason = opted_out(pod)
    values = Skip(reason) if reason else resolve(sources, pod.annotations)
    if isinstance(values, Skip):
        for warning in values.warnings:
            click.echo(f"Warning: {warning}", err=True)
        click.echo(f"not injected: {values.reason}", err=True)
        raise SystemExit(1)
    planned = plan(pod, values, Placement())
    for warning in planned.warnings:
        click.echo(f"Warning: {warning}", err=True)
    injected = jsonpatch.apply_patch(raw, render_patch(planned, pod))
    click.echo(yaml.safe_dump(injected, sort_keys=False, allow_unicode=True), nl=False)


def _sources(objects: list[Manifest], default: str, raw: Manifest, issuer: str) -> Sources:
    """Return what the file says about the Pod `raw`; namesakes elsewhere have no say."""
    namespace, account = namespace_of(raw, default), service_account_of(raw)
    near = [body for body in objects if namespace_of(body, default) == namespace]
    bindings = [binding_of(body) for body in of_kind(near, words.BINDING_KIND)]
    binding = next((b for b in bindings if b.spec.service_account_name == account), None)
    accounts = {body["metadata"]["name"]: body for body in of_kind(near, "ServiceAccount")}
    annotations = relevant(accounts.get(account, {}).get("metadata", {}).get("annotations"))
    federations = [federation_of(body) for body in of_kind(objects, words.FEDERATION_KIND)]
    name = federation_name(annotations, binding)
    try:
        parsed = parse_issuer(issuer)
    except ParseError as error:
        raise click.UsageError(str(error)) from error
    return Sources(
        namespace=namespace,
        service_account=account,
        annotations=annotations,
        binding=binding,
        federation=next((f for f in federations if f.meta.name == name), None),
        discovered_issuer=parsed,
    )
