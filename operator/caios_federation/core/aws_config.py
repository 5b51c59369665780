"""The AWS config file that Pods are given when their binding asks for client configuration.

A file, because no environment variable sets the addressing style (CoreWeave docs: SDK facts).
"""

from caios_federation.api.binding import AddressingStyle, Client, Endpoint
from caios_federation.api.federation import Endpoints


def render_aws_config(client: Client, endpoints: Endpoints) -> str:
    """Return the file's content, the same as the vendor's tutorial shows."""
    style = "path" if client.addressing_style is AddressingStyle.PATH else "virtual"
    url = endpoint_url(client, endpoints)
    return f"[default]\ns3 =\n    addressing_style = {style}\nendpoint_url = {url}\n"


def endpoint_url(client: Client, endpoints: Endpoints) -> str:
    """Return the S3 endpoint that `client` chose."""
    match client.endpoint:
        case Endpoint.LOTA:
            return endpoints.lota
        case Endpoint.PUBLIC:
            return endpoints.public
        case Endpoint.CUSTOM:
            return client.endpoint_url or endpoints.lota
