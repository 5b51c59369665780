"""Attempts to get more than the grant rules allow, judged without an API server.

The schema's own part is proved in tests/contract/test_tenancy.py on a real one. Here every attempt
is refused by the core, also those that the schema never lets through.
"""

import pytest
from pydantic import ValidationError

from caios_federation.api.binding import BindingSpec
from caios_federation.api.federation import FederationSpec
from caios_federation.core.grants import refusal
from tenancy import ATTEMPTS, NAMESPACES, RIGHTFUL, Bid, federations

FEDERATIONS = {
    federation["metadata"]["name"]: FederationSpec.model_validate(federation["spec"])
    for federation in federations()
}


def judged(bid: Bid) -> str | None:
    """Return why `bid` is refused by the core, or by its types where the schema refuses too."""
    try:
        spec = BindingSpec.model_validate(bid.spec)
    except ValidationError as error:
        assert bid.refused_by == "schema", "what the schema accepts must be understood"
        return str(error)
    labels = {"kubernetes.io/metadata.name": bid.namespace, **NAMESPACES[bid.namespace]}
    rules = FEDERATIONS[spec.federation_name].grant_rules
    return refusal(spec.grants, rules, bid.namespace, labels, spec.federation_name)


def by_why(bid: Bid) -> str:
    return bid.why


BY_RULES = [bid for bid in ATTEMPTS if bid.refused_by == "rules"]
BY_SCHEMA = [bid for bid in ATTEMPTS if bid.refused_by == "schema"]


@pytest.mark.parametrize("attempt", BY_RULES, ids=by_why)
def test_the_rules_refuse_it_for_the_reason_given(attempt: Bid) -> None:
    message = judged(attempt)
    assert message is not None
    assert message.startswith('spec.grants["data"]')
    assert attempt.said in message
    assert len(message) <= 500


@pytest.mark.parametrize("attempt", BY_SCHEMA, ids=by_why)
def test_what_the_schema_refuses_is_refused_without_it_too(attempt: Bid) -> None:
    assert judged(attempt) is not None


@pytest.mark.parametrize("bid", RIGHTFUL, ids=by_why)
def test_what_is_a_right_is_allowed(bid: Bid) -> None:
    assert judged(bid) is None


def test_there_are_attempts_enough_and_no_two_are_the_same() -> None:
    assert len(BY_RULES) >= 40
    assert len({(str(bid.spec), bid.namespace, bid.name) for bid in ATTEMPTS}) == len(ATTEMPTS)
