"""Attempts to get more than the grant rules allow, as far as the schema refuses them."""

import pytest

from contract.server import Rejected, Server
from tenancy import ATTEMPTS, RIGHTFUL, Bid, Json, federations


def manifest(bid: Bid) -> Json:
    """Return the binding, in a namespace that every API server has."""
    built = bid.manifest
    return {**built, "metadata": {**built["metadata"], "namespace": "default"}}


def by_why(bid: Bid) -> str:
    return bid.why


def those(*refused_by: str) -> list[Bid]:
    return [bid for bid in (*ATTEMPTS, *RIGHTFUL) if bid.refused_by in refused_by]


@pytest.mark.parametrize("attempt", those("schema"), ids=by_why)
def test_the_schema_refuses_it_for_the_reason_given(server: Server, attempt: Bid) -> None:
    with pytest.raises(Rejected) as caught:
        server.create(manifest(attempt))
    assert attempt.said in str(caught.value)


@pytest.mark.parametrize("bid", those("rules", "nobody"), ids=by_why)
def test_the_schema_leaves_it_to_the_rules(server: Server, bid: Bid) -> None:
    assert server.create(manifest(bid))["spec"]["grants"] == bid.spec["grants"]


@pytest.mark.parametrize("federation", federations(), ids=lambda made: made["metadata"]["name"])
def test_the_rules_are_accepted(server: Server, federation: Json) -> None:
    assert server.create(federation)["spec"]["grantRules"] == federation["spec"]["grantRules"]
