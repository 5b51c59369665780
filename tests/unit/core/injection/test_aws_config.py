"""The AWS config file of the client configuration."""

import configparser

import pytest

from builders import AWS_CONFIG, bound, parsed_federation, resolved
from caios_federation.api.binding import Client
from caios_federation.core.aws_config import render_aws_config


def rendered(**client: str) -> str:
    return render_aws_config(Client.model_validate(client), parsed_federation().spec.endpoints)


def test_the_usual_file_is_the_tutorials() -> None:
    assert rendered() == AWS_CONFIG


@pytest.mark.parametrize(
    ("client", "url"),
    [
        ({"endpoint": "LOTA"}, "http://cwlota.com"),
        ({"endpoint": "Public"}, "https://cwobject.com"),
        (
            {"endpoint": "Custom", "endpointURL": "https://s3.example:8443"},
            "https://s3.example:8443",
        ),
    ],
)
def test_the_endpoint_is_the_one_that_the_binding_chose(client: dict[str, str], url: str) -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(rendered(**client))
    assert parsed["default"]["endpoint_url"] == url


@pytest.mark.parametrize(("style", "expected"), [("Virtual", "virtual"), ("Path", "path")])
def test_the_addressing_style_is_nested_below_s3(style: str, expected: str) -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(rendered(addressingStyle=style))
    assert parsed["default"]["s3"] == f"\naddressing_style = {expected}"


def test_the_federation_may_state_other_endpoints() -> None:
    endpoints = parsed_federation(endpoints={"lota": "http://lota.example"}).spec.endpoints
    assert "endpoint_url = http://lota.example\n" in render_aws_config(Client(), endpoints)


def test_the_file_of_a_binding_is_made_of_its_client_section() -> None:
    assert resolved(bound(client={})).aws_config == AWS_CONFIG
