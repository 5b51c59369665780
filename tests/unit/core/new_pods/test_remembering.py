"""What new Pods are given, and since when."""

import datetime as dt
from dataclasses import replace

import pytest

import builders
from builders import ISSUER, PRINCIPAL, Json, words
from caios_federation.api.binding import Injection, parse_binding
from caios_federation.core.judgement import judge, judge_new_pods
from caios_federation.core.new_pods import NewPods, read_new_pods, render_new_pods
from caios_federation.core.observed import ObservedBinding
from caios_federation.core.principal import Principal, parse_issuer

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
MADE = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)  # by the builder
EARLIER = NOW - dt.timedelta(minutes=30)
SPREADING = dt.timedelta(minutes=6)
OTHER = Principal("role/https://old:system:serviceaccount:team-a:reader")

GIVEN = NewPods(Injection.ENABLED, Principal(PRINCIPAL), EARLIER)
NOTHING = NewPods(Injection.DISABLED, Principal(PRINCIPAL), EARLIER)
NOTHING_YET = NewPods(Injection.DISABLED, None, EARLIER)


def observed(before: NewPods | None = None, **spec: object) -> ObservedBinding:
    raw = builders.binding("reader", "team-a", **spec)
    if before is not None:
        raw["status"] = {"newPods": render_new_pods(before)}
    binding = parse_binding(raw, ours=False)
    return ObservedBinding(
        binding=binding,
        holder=binding,
        annotations={},
        federation=builders.parsed_federation(),
        discovered_issuer=ISSUER,
    )


def remembered(seen: ObservedBinding) -> NewPods | None:
    return judge_new_pods(judge(seen), frozenset({"alone"}), NOW, SPREADING)


def test_of_a_new_binding_it_is_known_since_when() -> None:
    assert remembered(observed()) == replace(GIVEN, since=MADE)
    assert remembered(observed(injection="Disabled")) == replace(NOTHING_YET, since=MADE)


def test_nothing_changes_while_new_pods_are_given_the_same() -> None:
    assert remembered(observed(GIVEN)) == GIVEN
    assert remembered(observed(NOTHING, injection="Disabled")) == NOTHING


SWITCHED_OFF = [
    observed(GIVEN, injection="Disabled"),
    replace(observed(GIVEN), annotations=words(inject="false")),
    replace(observed(GIVEN), annotations=words(inject="perhaps")),
    replace(observed(GIVEN), namespace_labels=words(inject="false")),
    replace(observed(GIVEN), federation=None),
]


@pytest.mark.parametrize(
    "seen", SWITCHED_OFF, ids=["binding", "account", "nonsense", "namespace", "no federation"]
)
def test_new_pods_are_given_nothing_where_that_is_said(seen: ObservedBinding) -> None:
    assert remembered(seen) == replace(NOTHING, since=NOW)


def test_new_pods_are_given_nothing_by_a_binding_that_has_not_the_service_account() -> None:
    other = observed().binding
    holder = replace(other, meta=replace(other.meta, uid="another"))
    assert remembered(replace(observed(GIVEN), holder=holder)) == replace(NOTHING, since=NOW)


@pytest.mark.parametrize("before", [NOTHING, NOTHING_YET])
def test_new_pods_that_are_given_the_identity_again_are_so_from_now_on(before: NewPods) -> None:
    assert remembered(observed(before)) == replace(GIVEN, since=NOW)


@pytest.mark.parametrize("injection", Injection)
def test_another_principal_is_given_once_every_replica_knows_of_it(injection: Injection) -> None:
    before = NewPods(injection, OTHER, EARLIER)
    assert remembered(observed(before)) == replace(GIVEN, since=NOW + SPREADING)


def test_a_refused_grant_does_not_make_a_difference() -> None:
    grant = {"name": "data", "buckets": ["models"], "access": "ReadOnly"}
    managed = builders.parsed_federation(policyManagement="Managed", apiTokenSecretName="t")
    refused = replace(observed(GIVEN, grants=[grant]), federation=managed, namespace_labels={})
    assert judge(refused).values is None
    assert remembered(refused) == GIVEN


@pytest.mark.parametrize("before", [GIVEN, NOTHING, NOTHING_YET, None])
def test_an_issuer_that_is_not_known_for_a_while_makes_no_difference(
    before: NewPods | None,
) -> None:
    """Where nothing was remembered, replicas of the webhook may have injected all the while."""
    assert remembered(replace(observed(before), discovered_issuer=None)) == before


@pytest.mark.parametrize("before", [GIVEN, None])
def test_a_spec_that_cannot_be_read_for_a_while_makes_no_difference(before: NewPods | None) -> None:
    assert remembered(observed(before, audience=5)) == before


def test_an_issuer_that_changed_while_none_was_known_is_a_change() -> None:
    seen = replace(observed(GIVEN), discovered_issuer=parse_issuer("https://old"))
    assert remembered(seen) == NewPods(Injection.ENABLED, OTHER, NOW + SPREADING)


@pytest.mark.parametrize("what", [GIVEN, NOTHING, NOTHING_YET])
def test_what_is_remembered_is_read_as_it_was_written(what: NewPods) -> None:
    assert read_new_pods({"newPods": render_new_pods(what)}) == what


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"newPods": None},
        {"newPods": {"injection": "Enabled", "principal": PRINCIPAL}},
        {"newPods": {"injection": "Enabled", "principal": PRINCIPAL, "since": "yesterday"}},
        {"newPods": {"injection": "Perhaps", "since": "2026-11-24T12:00:00Z"}},
        {"newPods": {"injection": ["Enabled"], "since": "2026-11-24T12:00:00Z"}},
        {"newPods": {"since": "2026-11-24T12:00:00Z"}},
        {"newPods": [1]},
    ],
)
def test_a_status_that_remembers_nothing_makes_no_cause_up(status: Json) -> None:
    assert read_new_pods(status) is None
