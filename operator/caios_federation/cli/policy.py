"""`kubectl caios policy render`: the policy of a binding, without a cluster."""

from typing import IO

import click

from caios_federation.api.vocabulary import BINDING_KIND
from caios_federation.cli.manifests import binding_of, only_of, read_manifests
from caios_federation.core.errors import ParseError
from caios_federation.core.naming import policy_name
from caios_federation.core.policy import compile_policy, render_document
from caios_federation.core.principal import Identity, parse_issuer, render_principal


@click.group()
def policy() -> None:
    """Work with access policies."""


@policy.command()
@click.option("-f", "--filename", required=True, type=click.File(), help="Manifest; - for stdin.")
@click.option("--issuer", required=True, help="The cluster's OIDC issuer URL.")
def render(filename: IO[str], issuer: str) -> None:
    """Print the organization policy of a FederatedStorageBinding: what the Console takes."""
    binding = binding_of(only_of(read_manifests(filename), BINDING_KIND))
    namespace = binding.meta.namespace or "default"
    try:
        parsed = parse_issuer(issuer)
        principal = render_principal(Identity(parsed, namespace, binding.spec.service_account_name))
    except ParseError as error:
        raise click.UsageError(str(error)) from error
    name = policy_name(parsed, namespace, binding.meta.name)
    click.echo(render_document(compile_policy(name, principal, binding.spec.grants)))
