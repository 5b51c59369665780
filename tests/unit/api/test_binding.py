"""Reading a FederatedStorageBinding."""

import pytest

from builders import binding
from caios_federation.api.binding import (
    Access,
    BindingSpec,
    Containers,
    DeletionPolicy,
    Endpoint,
    Grant,
    Injection,
    Listing,
    parse_binding,
)

GRANT = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}


def test_what_is_left_out_has_its_default() -> None:
    spec = parse_binding(binding(), ours=False).spec
    assert spec.service_account_name == "reader"
    assert spec.federation_name == "default"
    assert spec.injection is Injection.ENABLED
    assert spec.deletion_policy is DeletionPolicy.DELETE
    assert spec.containers == Containers()
    assert (spec.audience, spec.region, spec.token_expiration_seconds) == (None, None, None)
    assert (spec.client, spec.grants) == (None, ())


def test_an_empty_client_section_asks_for_the_usual_endpoint() -> None:
    client = parse_binding(binding(client={}), ours=False).spec.client
    assert client is not None
    assert client.endpoint is Endpoint.LOTA


def test_words_that_python_reserves_or_capitalises_are_read() -> None:
    raw = binding(
        containers={"except": ["a"]}, client={"endpoint": "Custom", "endpointURL": "https://x"}
    )
    spec = parse_binding(raw, ours=False).spec
    assert spec.containers.except_ == {"a"}
    assert spec.client is not None
    assert spec.client.endpoint_url == "https://x"


def test_a_grant_is_read() -> None:
    raw = {"name": "a", "buckets": ["b"], "access": "ReadOnly", "listing": "None"}
    assert parse_binding(binding(grants=[raw]), ours=False).spec.grants == (
        Grant(name="a", buckets=frozenset({"b"}), access=Access.READ_ONLY, listing=Listing.NONE),
    )


def test_fields_of_a_later_version_are_passed_over() -> None:
    parsed = parse_binding(binding(aFieldOfTomorrow={"a": 1}), ours=False)
    assert parsed.invalid is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"injection": "Maybe"}, "spec.injection: "),
        ({"grants": [{"name": "a", "access": "ReadOnly"}]}, "spec.grants.0.buckets: "),
        ({"tokenExpirationSeconds": "soon"}, "spec.tokenExpirationSeconds: "),
        ({"serviceAccountName": 5}, "spec.serviceAccountName: "),
    ],
)
def test_a_spec_that_cannot_be_read_is_marked_and_says_why(
    spec: dict[str, object], expected: str
) -> None:
    raw = binding()
    raw["spec"].update(spec)
    parsed = parse_binding(raw, ours=False)
    assert (parsed.invalid or "").startswith(expected)
    assert not parsed.usable


def unreadable(**spec: object) -> BindingSpec:
    raw = binding(audience=5, grants=[GRANT])
    raw["spec"].update(spec)
    parsed = parse_binding(raw, ours=False)
    assert parsed.invalid is not None
    return parsed.spec


def test_of_a_spec_that_cannot_be_read_what_its_deletion_takes_is_read() -> None:
    spec = unreadable(federationName="other", deletionPolicy="Retain")
    assert spec.service_account_name == "reader"
    assert spec.federation_name == "other"
    assert spec.deletion_policy is DeletionPolicy.RETAIN
    assert (spec.grants, spec.audience) == ((), None)


def test_of_a_spec_that_cannot_be_read_the_defaults_are_as_usual() -> None:
    spec = unreadable()
    assert spec.federation_name == "default"
    assert spec.deletion_policy is DeletionPolicy.DELETE


@pytest.mark.parametrize("said", ["Orphan", "delete", None, 5, ["Delete"], {}])
def test_a_deletion_policy_that_cannot_be_read_asks_for_no_removal(said: object) -> None:
    assert unreadable(deletionPolicy=said).deletion_policy is DeletionPolicy.RETAIN


@pytest.mark.parametrize("spec", [None, [], ["a"], "text", 5, True])
def test_a_spec_that_is_no_object_is_marked(spec: object) -> None:
    parsed = parse_binding(binding() | {"spec": spec}, ours=False)
    assert parsed.invalid is not None


def test_a_deleted_binding_has_no_service_account_any_more() -> None:
    raw = binding()
    raw["metadata"]["deletionTimestamp"] = "2026-11-24T11:00:00Z"
    assert not parse_binding(raw, ours=False).usable


def test_the_oldest_binding_comes_first_then_the_lower_uid() -> None:
    old, young, tie = binding("a"), binding("b"), binding("c")
    old["metadata"] |= {"creationTimestamp": "2026-11-24T09:59:59Z", "uid": "z"}
    young["metadata"]["uid"] = "b"
    tie["metadata"]["uid"] = "a"
    parsed = [parse_binding(raw, ours=False) for raw in (young, tie, old)]
    ordered = sorted(parsed, key=lambda one: one.rank)
    assert [one.meta.name for one in ordered] == ["a", "c", "b"]
