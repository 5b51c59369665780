"""The CRDs and the code say the same words and bounds."""

from typing import Any

from caios_federation.api import vocabulary
from contract.examples import crd
from contract.schema import fields

BINDING = crd(vocabulary.BINDING_KIND)
FEDERATION = crd(vocabulary.FEDERATION_KIND)


def test_kinds_and_group_are_those_of_the_vocabulary() -> None:
    for definition, plural in (
        (BINDING, vocabulary.BINDINGS),
        (FEDERATION, vocabulary.FEDERATIONS),
    ):
        (version,) = definition["spec"]["versions"]
        assert definition["spec"]["group"] == vocabulary.GROUP
        assert definition["spec"]["names"]["plural"] == plural
        assert version["name"] == vocabulary.VERSION


def test_token_lifetimes_are_bounded_alike() -> None:
    for definition in (BINDING, FEDERATION):
        field = schema(definition, "spec.tokenExpirationSeconds")
        assert field["minimum"] == vocabulary.MIN_TOKEN_EXPIRATION
        assert field["maximum"] == vocabulary.MAX_TOKEN_EXPIRATION


def test_defaults_are_those_of_the_vocabulary() -> None:
    defaults = {
        path: schema(FEDERATION, path)["default"]
        for path in (
            "spec.tokenExpirationSeconds",
            "spec.endpoints.api",
            "spec.endpoints.lota",
            "spec.endpoints.public",
        )
    }
    assert defaults == {
        "spec.tokenExpirationSeconds": vocabulary.DEFAULT_TOKEN_EXPIRATION,
        "spec.endpoints.api": vocabulary.DEFAULT_API_ENDPOINT,
        "spec.endpoints.lota": vocabulary.DEFAULT_LOTA_ENDPOINT,
        "spec.endpoints.public": vocabulary.DEFAULT_PUBLIC_ENDPOINT,
    }
    assert schema(BINDING, "spec.federationName")["default"] == vocabulary.DEFAULT_FEDERATION


def schema(definition: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = (field.schema for field in fields(definition) if field.path == path)
    return found
