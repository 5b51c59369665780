"""Which source wins, for each value: every pair of sources, in both orders (peers checklist 4.1).

Pod annotation > binding > ServiceAccount annotation > StorageFederation > built-in.
"""

from itertools import combinations
from typing import Any

import pytest

from builders import (
    ISSUER,
    REGION,
    URI,
    annotated,
    bound,
    parsed_binding,
    parsed_federation,
    resolved,
    sources,
    words,
)
from caios_federation.core.injection import Values, federation_name
from caios_federation.core.principal import parse_issuer

AUDIENCES = ("binding", "account", "federation")
EXPIRATIONS = ("pod", "binding", "account", "federation")
Says = dict[str, Any]


def with_audiences(says: Says) -> str:
    account = words(inject="true", **({"audience": says["account"]} if "account" in says else {}))
    return resolved(
        sources(
            account=account,
            bound=parsed_binding(audience=says.get("binding")),
            federated=parsed_federation(audience=says.get("federation")),
        )
    ).audience


def with_expirations(says: Says) -> Values:
    account = words(inject="true")
    pod_annotations = {}
    if "account" in says:
        account |= words(token_expiration=str(says["account"]))
    if "pod" in says:
        pod_annotations = words(token_expiration=str(says["pod"]))
    federal = {"tokenExpirationSeconds": says["federation"]} if "federation" in says else {}
    has_a_say = sources(
        account=account,
        bound=parsed_binding(tokenExpirationSeconds=says.get("binding")),
        federated=parsed_federation(**federal),
    )
    return resolved(has_a_say, pod_annotations)


@pytest.mark.parametrize(("higher", "lower"), list(combinations(AUDIENCES, 2)))
@pytest.mark.parametrize(("first", "second"), [("x", "y"), ("y", "x")])
def test_the_higher_of_two_audiences_wins(higher: str, lower: str, first: str, second: str) -> None:
    assert with_audiences({higher: first, lower: second}) == first
    assert with_audiences({lower: second, higher: first}) == first


@pytest.mark.parametrize("source", AUDIENCES)
def test_a_single_audience_wins_over_the_issuer(source: str) -> None:
    assert with_audiences({source: "custom"}) == "custom"


def test_the_audience_is_the_issuer_where_nobody_says_one() -> None:
    assert with_audiences({}) == ISSUER


@pytest.mark.parametrize("source", AUDIENCES)
@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_an_audience_of_blanks_is_passed_over(source: str, blank: str) -> None:
    assert with_audiences({source: blank}) == ISSUER


@pytest.mark.parametrize(("higher", "lower"), list(combinations(EXPIRATIONS, 2)))
@pytest.mark.parametrize(("first", "second"), [(900, 7200), (7200, 900)])
def test_the_higher_of_two_expirations_wins(
    higher: str, lower: str, first: int, second: int
) -> None:
    assert with_expirations({higher: first, lower: second}).token_expiration_seconds == first
    assert with_expirations({lower: second, higher: first}).token_expiration_seconds == first


@pytest.mark.parametrize("source", EXPIRATIONS)
def test_a_single_expiration_wins_over_the_default(source: str) -> None:
    assert with_expirations({source: 900}).token_expiration_seconds == 900


def test_the_expiration_is_an_hour_where_nobody_says_one() -> None:
    assert with_expirations({}).token_expiration_seconds == 3600


def test_a_source_that_goes_falls_back_to_the_next() -> None:
    says: Says = dict(zip(EXPIRATIONS, (700, 800, 900, 1000), strict=True))
    won = []
    for source in EXPIRATIONS:
        won.append(with_expirations(says).token_expiration_seconds)
        del says[source]
    assert won == [700, 800, 900, 1000]


def test_a_source_that_returns_brings_its_own_value_and_no_old_one() -> None:
    before = with_expirations({"account": 900})
    assert with_expirations({}).token_expiration_seconds == 3600
    assert with_expirations({"account": 1200}).token_expiration_seconds == 1200
    assert before.token_expiration_seconds == 900


@pytest.mark.parametrize(("first", "second"), [("US-EAST-04A", "EU-01"), ("EU-01", "US-EAST-04A")])
def test_the_region_of_the_binding_beats_that_of_the_federation(first: str, second: str) -> None:
    has_a_say = sources(
        bound=parsed_binding(region=first), federated=parsed_federation(region=second)
    )
    assert resolved(has_a_say).region == first


def test_the_region_is_that_of_the_federation_where_the_binding_says_none() -> None:
    assert resolved(bound()).region == REGION


@pytest.mark.parametrize(("first", "second"), [("x", "y"), ("y", "x")])
def test_the_federation_of_the_binding_beats_that_of_the_service_account(
    first: str, second: str
) -> None:
    annotations = words(federation=second)
    assert federation_name(annotations, parsed_binding(federationName=first)) == first


def test_the_federation_of_the_service_account_beats_the_default_one() -> None:
    assert federation_name(words(federation="other"), None) == "other"


def test_a_binding_that_names_no_federation_means_the_default_one() -> None:
    assert federation_name(words(federation="other"), parsed_binding()) == "default"


def test_an_empty_federation_annotation_counts_as_absent() -> None:
    assert federation_name(words(federation=""), None) == "default"


def test_the_stated_issuer_beats_the_discovered_one() -> None:
    federated = parsed_federation(issuerURL="https://stated.example")
    values = resolved(sources(account=words(inject="true"), federated=federated))
    assert values.issuer == "https://stated.example"
    assert values.principal == "role/https://stated.example:system:serviceaccount:team-a:reader"


def test_the_discovered_issuer_is_used_where_none_is_stated() -> None:
    issuer = parse_issuer("https://discovered.example")
    assert resolved(sources(account=words(inject="true"), issuer=issuer)).issuer == issuer


def test_a_stated_issuer_needs_no_discovered_one() -> None:
    federated = parsed_federation(issuerURL="https://stated.example")
    has_a_say = sources(account=words(inject="true"), federated=federated, issuer=None)
    assert resolved(has_a_say).issuer == "https://stated.example"


def test_values_resolve_independently_of_one_another() -> None:
    """The binding answers for one value, the ServiceAccount for another, and so on."""
    has_a_say = sources(
        account=words(audience="account", token_expiration="900"),
        bound=parsed_binding(region="US-EAST-04A"),
        federated=parsed_federation(audience="federation", tokenExpirationSeconds=7200),
    )
    values = resolved(has_a_say)
    assert values.audience == "account"
    assert values.token_expiration_seconds == 900
    assert values.region == "US-EAST-04A"


def test_the_credentials_uri_is_made_of_endpoint_and_organization() -> None:
    assert resolved(annotated(inject="true")).credentials_uri == URI


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_the_credentials_uri_has_no_double_slash(slashes: str) -> None:
    federated = parsed_federation(endpoints={"api": f"https://api.example{slashes}"})
    values = resolved(sources(account=words(inject="true"), federated=federated))
    assert values.credentials_uri == (
        "https://api.example/v1/cwobject/temporary-credentials/oidc/cw1234"
    )


def test_client_configuration_comes_from_a_binding_alone() -> None:
    assert resolved(annotated(inject="true")).aws_config is None
    assert resolved(bound()).aws_config is None
    assert resolved(bound(client={})).aws_config is not None
