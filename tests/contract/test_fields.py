"""What the API server does with fields: unknown ones, absent ones, and as many as allowed."""

import pytest

from contract.examples import Document
from contract.server import Rejected, Server

LONGEST_PREFIX = 512


def test_an_unknown_field_is_refused_by_name(server: Server) -> None:
    document = binding(grant=[])
    with pytest.raises(Rejected, match=r"\.spec\.grant: field not declared in schema"):
        server.apply(document, dry_run=True)


def test_an_unknown_field_is_refused_at_any_depth(server: Server) -> None:
    document = binding(client={"endpointUrl": "https://x.example"})
    with pytest.raises(Rejected, match=r"\.spec\.client\.endpointUrl: field not declared"):
        server.apply(document, dry_run=True)


def test_a_client_that_does_not_ask_for_strictness_has_unknown_fields_pruned(
    server: Server,
) -> None:
    created = server.create(binding(audiences=["x"], client={"tls": True}), validation="Ignore")
    assert "audiences" not in created["spec"]
    assert created["spec"]["client"] == {"endpoint": "LOTA", "addressingStyle": "Virtual"}


def test_a_misspelt_field_is_refused_on_create(server: Server) -> None:
    with pytest.raises(Rejected, match=r'unknown field "spec\.audiences"'):
        server.create(binding(audiences=["x"]), validation="Strict")


def test_a_client_without_a_value_is_no_client(server: Server) -> None:
    assert "client" not in server.create(binding(client=None))["spec"]


def test_a_federation_without_endpoints_gets_all_three(server: Server) -> None:
    applied = server.apply(federation(), dry_run=True)
    assert applied["spec"]["endpoints"] == {
        "api": "https://api.coreweave.com",
        "lota": "http://cwlota.com",
        "public": "https://cwobject.com",
    }


def test_listing_has_no_default_because_it_depends_on_prefixes(server: Server) -> None:
    grant = {"name": "data", "buckets": ["datasets"], "access": "ReadOnly"}
    applied = server.apply(binding(grants=[grant]), dry_run=True)
    assert applied["spec"]["grants"] == [grant]


def test_the_longest_audience_is_accepted_and_one_more_character_is_not(server: Server) -> None:
    applied = server.apply(binding(audience="ü" * 1024), dry_run=True)
    assert applied["spec"]["audience"] == "ü" * 1024
    with pytest.raises(Rejected, match=r"spec\.audience: Too long"):
        server.apply(binding(audience="ü" * 1025), dry_run=True)


def test_the_largest_binding_stays_within_the_budget_of_the_rules(server: Server) -> None:
    grants = [
        {
            "name": f"grant-{number}",
            "buckets": [f"{bucket:02}{'b' * 61}" for bucket in range(8)],
            "prefixes": [f"{prefix:02}" + "p" * (LONGEST_PREFIX - 2) for prefix in range(2)],
            "access": "Custom",
            "actions": [f"s3:{'A' * 30}{chr(65 + action)}" for action in range(26)],
        }
        for number in range(32)
    ]
    applied = server.apply(binding(grants=grants), dry_run=True)
    assert len(applied["spec"]["grants"]) == 32


def test_one_grant_too_many_is_refused(server: Server) -> None:
    grants = [
        {"name": f"grant-{number}", "buckets": ["datasets"], "access": "ReadOnly"}
        for number in range(33)
    ]
    with pytest.raises(Rejected, match=r"spec\.grants: Too many: 33: must have at most 32 items"):
        server.apply(binding(grants=grants), dry_run=True)


def test_the_largest_federation_stays_within_the_budget_of_the_rules(server: Server) -> None:
    rules = [
        {
            "name": f"rule-{number}",
            "namespaceSelector": {
                "matchLabels": {f"example.com/{'k' * 60}{key:02}": "v" * 63 for key in range(32)},
                "matchExpressions": [
                    {"key": f"key-{key}", "operator": "In", "values": ["v" * 63] * 4}
                    for key in range(32)
                ],
            },
            "buckets": [f"{{namespace}}-{bucket:02}-{'b' * 100}" for bucket in range(64)],
            "access": ["ReadOnly"],
        }
        for number in range(64)
    ]
    applied = server.apply(federation(grantRules=rules), dry_run=True)
    assert len(applied["spec"]["grantRules"]) == 64


def test_a_mutable_field_can_be_added_changed_and_removed(server: Server) -> None:
    server.apply(binding())
    try:
        for audience in ("one", "two"):
            changed = server.apply(binding(audience=audience))
            assert changed["spec"]["audience"] == audience
        assert "audience" not in server.apply(binding())["spec"]
    finally:
        server.delete(binding())


def binding(**spec: object) -> Document:
    return {
        "apiVersion": "caios.coreweave.com/v1alpha1",
        "kind": "FederatedStorageBinding",
        "metadata": {"name": "fields", "namespace": "default"},
        "spec": {"serviceAccountName": "trainer", **spec},
    }


def federation(**spec: object) -> Document:
    return {
        "apiVersion": "caios.coreweave.com/v1alpha1",
        "kind": "StorageFederation",
        "metadata": {"name": "fields"},
        "spec": {"organizationID": "cw1234", "region": "US-CENTRAL-05A", **spec},
    }
