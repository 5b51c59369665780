"""`kubectl caios principal`: the principal of a ServiceAccount, without a cluster."""

import click

from caios_federation.core.errors import ParseError
from caios_federation.core.principal import (
    Identity,
    parse_issuer,
    render_principal,
    render_principal_arn,
)


@click.command()
@click.argument("account", metavar="NAMESPACE/NAME")
@click.option("--issuer", required=True, help="The cluster's OIDC issuer URL.")
@click.option("--organization", help="Also print the ARN that bucket policies take.")
def principal(account: str, issuer: str, organization: str | None) -> None:
    """Print the principal of a ServiceAccount, as organization policies name it."""
    namespace, slash, name = account.partition("/")
    if not slash:
        raise click.UsageError(f"{account!r}: expected NAMESPACE/NAME, such as default/my-sa")
    try:
        rendered = render_principal(Identity(parse_issuer(issuer), namespace, name))
    except ParseError as error:
        raise click.UsageError(str(error)) from error
    click.echo(rendered)
    if organization:
        click.echo(render_principal_arn(organization, rendered))
