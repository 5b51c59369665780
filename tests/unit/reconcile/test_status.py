"""What each check finds, and the statuses that are made of it."""

import re
from dataclasses import replace
from typing import Any

import pytest

import builders
from caios_federation.api.binding import Binding, parse_binding
from caios_federation.api.conditions import ConditionType, Finding, Reason, Status
from caios_federation.core.account import relevant
from caios_federation.core.checks import ACCEPTED, judge_accepted, judge_binding
from caios_federation.core.federation_checks import judge_federation
from caios_federation.core.judgement import judge
from caios_federation.core.observed import Acted, ObservedBinding, ObservedFederation
from caios_federation.core.pods import PodSurvey
from caios_federation.core.status import binding_status, federation_status, same_status

NOW = "2026-11-24T12:00:00Z"
LONG = "x" * 253
GRANT = {"name": "data", "buckets": ["models"], "access": "ReadOnly"}


def parsed(**spec: object) -> Binding:
    return parse_binding(builders.binding("reader", "team-a", **spec), ours=False)


BINDING = parsed()
GOOD = ObservedBinding(
    binding=BINDING,
    holder=BINDING,
    annotations={},
    federation=builders.parsed_federation(),
    discovered_issuer=builders.ISSUER,
)
FEDERATION = ObservedFederation(
    federation=builders.parsed_federation(),
    discovered_issuer=builders.ISSUER,
    discovery_problem="",
    bindings_total=3,
    bindings_ready=2,
)


def of_other_spec(**spec: object) -> ObservedBinding:
    other = parsed(**spec)
    return replace(GOOD, binding=other, holder=other)


def accepted(seen: ObservedBinding) -> Finding:
    return judge_binding(seen, judge_accepted(seen), Acted())[ConditionType.ACCEPTED]


def account_found(seen: ObservedBinding) -> Finding:
    return judge_binding(seen, judge_accepted(seen), Acted())[ConditionType.SERVICE_ACCOUNT_FOUND]


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_a_good_binding_is_accepted_and_ready() -> None:
    assert conditions(binding_status(judge(GOOD), Acted(), now=NOW)) == {
        "Accepted": ("True", "Accepted"),
        "ServiceAccountFound": ("True", "Found"),
        "Ready": ("True", "Ready"),
    }


def test_a_good_binding_states_its_facts() -> None:
    status = binding_status(judge(GOOD), Acted(), now=NOW)
    assert status["observedGeneration"] == 1
    assert {
        key: status[key] for key in status if key not in {"conditions", "observedGeneration"}
    } == {
        "issuer": builders.ISSUER,
        "audience": builders.ISSUER,
        "principal": builders.PRINCIPAL,
        "principalARN": f"arn:aws:iam::cw1234:{builders.PRINCIPAL}",
        "credentialsURI": builders.URI,
    }


def test_a_binding_with_grants_states_its_policy() -> None:
    policy = binding_status(judge(of_other_spec(grants=[GRANT])), Acted(), now=NOW)["policy"]
    assert set(policy) == {"name", "digest", "document"}
    assert policy["name"].startswith("cks-")
    assert policy["digest"].startswith("sha256:")
    assert builders.PRINCIPAL in policy["document"]


UNREADABLE = of_other_spec(audience=5)
NO_FEDERATION = replace(of_other_spec(federationName="absent"), federation=None)
BOUND_TWICE = replace(
    GOOD, holder=replace(BINDING, meta=replace(BINDING.meta, uid="u", name="elder"))
)
NO_ISSUER = replace(GOOD, discovered_issuer=None)


def test_what_acting_found_is_told_behind_what_was_judged() -> None:
    synced = Finding(Status.TRUE, Reason.SYNCED, "applied")
    denied = Finding(Status.FALSE, Reason.MINT_DENIED, "no policy allows it")
    acted = Acted(policy=synced, credentials=denied, pods=PodSurvey(2, 1, ("a",)))
    told = conditions(binding_status(judge(GOOD), acted, now=NOW))
    assert list(told.items()) == [
        ("Accepted", ("True", "Accepted")),
        ("ServiceAccountFound", ("True", "Found")),
        ("PolicySynced", ("True", "Synced")),
        ("CredentialsVerified", ("False", "MintDenied")),
        ("PodsFederated", ("False", "PodsMissed")),
        ("Ready", ("False", "MintDenied")),
    ]


def test_a_managed_policy_of_no_grants_is_nothing_to_wait_for() -> None:
    managed = builders.parsed_federation(policyManagement="Managed")
    status = binding_status(judge(replace(GOOD, federation=managed)), Acted(), now=NOW)
    assert conditions(status)["Ready"] == ("True", "Ready")


def test_a_spec_that_cannot_be_read_is_told_with_its_field() -> None:
    finding = accepted(UNREADABLE)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.INVALID_SPEC)
    assert finding.message.startswith("spec.audience: ")


def test_a_federation_that_does_not_exist_is_told_with_field_value_and_next_step() -> None:
    assert accepted(NO_FEDERATION) == Finding(
        Status.FALSE,
        Reason.FEDERATION_NOT_FOUND,
        "spec.federationName: StorageFederation 'absent' does not exist; "
        "create it, or create a binding that names another; policies that it had applied are left "
        "as they are",
    )


def test_a_conflict_is_told_with_the_winner_and_next_step() -> None:
    assert accepted(BOUND_TWICE) == Finding(
        Status.FALSE,
        Reason.CONFLICT,
        "spec.serviceAccountName: ServiceAccount 'reader' is bound by the older "
        "FederatedStorageBinding 'elder'; delete one of the two",
    )


def test_an_issuer_that_is_not_known_yet_is_pending_and_says_where_to_look() -> None:
    finding = accepted(NO_ISSUER)
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.PENDING)
    assert "StorageFederation 'default'" in finding.message
    assert "IssuerDiscovered" in finding.message


def test_a_service_account_that_does_not_exist_is_told_with_field_value_and_next_step() -> None:
    assert account_found(replace(GOOD, annotations=None)) == Finding(
        Status.FALSE,
        Reason.NOT_FOUND,
        "spec.serviceAccountName: ServiceAccount 'reader' does not exist in namespace 'team-a'; "
        "create it",
    )


def test_an_opt_out_is_what_was_asked_for_and_is_told() -> None:
    seen = replace(GOOD, annotations=relevant(builders.words(inject="false")))
    finding = account_found(seen)
    assert (finding.status, finding.reason) == (Status.TRUE, Reason.FOUND)
    assert "caios.coreweave.com/inject is 'false'" in finding.message
    assert "not injected" in finding.message


def test_an_annotation_that_cannot_be_understood_is_not_ready_and_told_with_next_step() -> None:
    seen = replace(GOOD, annotations=relevant(builders.words(inject="ture")))
    assert account_found(seen) == Finding(
        Status.FALSE,
        Reason.ANNOTATION_INVALID,
        "ServiceAccount 'reader': annotation caios.coreweave.com/inject is 'ture', so its Pods "
        'are not injected; set it to "true" or "false"',
    )
    assert conditions(binding_status(judge(seen), Acted(), now=NOW))["Ready"] == (
        "False",
        "AnnotationInvalid",
    )


def test_a_federation_annotation_that_is_no_name_is_told_of_our_own_binding_alone() -> None:
    annotations = relevant(builders.words(inject="true", federation="My Fed"))
    seen = replace(GOOD, annotations=annotations)
    assert account_found(seen).reason is Reason.FOUND
    made = replace(BINDING, ours=True)
    assert account_found(replace(seen, binding=made, holder=made)) == Finding(
        Status.FALSE,
        Reason.ANNOTATION_INVALID,
        "ServiceAccount 'reader': annotation caios.coreweave.com/federation is 'My Fed', not the "
        "name of a StorageFederation, so its Pods are not injected; correct or remove it",
    )


def test_our_own_binding_is_never_said_to_have_lost_to_an_older_one() -> None:
    message = accepted(replace(BOUND_TWICE, binding=replace(BINDING, ours=True))).message
    assert "bound by a user's FederatedStorageBinding 'elder'" in message


def test_the_first_check_that_finds_something_decides() -> None:
    """Everything is wrong at once, and is put right in the order of the chain."""
    everything = replace(
        UNREADABLE, federation=None, holder=BOUND_TWICE.holder, discovered_issuer=None
    )
    greedy = parsed(grants=[GRANT])
    managed = builders.parsed_federation(policyManagement="Managed")
    readable = replace(everything, binding=greedy)
    federated = replace(readable, federation=managed)
    alone = replace(federated, holder=greedy)
    named = replace(alone, discovered_issuer=builders.ISSUER, namespace_labels={})
    reasons = [accepted(seen).reason for seen in (everything, readable, federated, alone, named)]
    assert reasons == [
        "InvalidSpec",
        "FederationNotFound",
        "Conflict",
        "Pending",
        "GrantNotAllowed",
    ]
    assert len(reasons) == len(ACCEPTED)


def test_a_binding_that_nobody_holds_is_not_in_conflict() -> None:
    assert accepted(replace(GOOD, holder=None)).reason is Reason.ACCEPTED


BAD = {
    "unreadable": UNREADABLE,
    "no federation": NO_FEDERATION,
    "bound twice": BOUND_TWICE,
    "no issuer": NO_ISSUER,
}


@pytest.mark.parametrize("kind", BAD)
def test_facts_are_stated_only_while_a_binding_is_in_force(kind: str) -> None:
    status = binding_status(judge(BAD[kind]), Acted(), now=NOW)
    assert set(status) == {"observedGeneration", "conditions"}
    assert conditions(status)["Ready"] == conditions(status)["Accepted"]


@pytest.mark.parametrize("kind", BAD)
def test_a_message_is_the_same_at_any_time_and_of_bounded_length(kind: str) -> None:
    early, late = (
        binding_status(judge(BAD[kind]), Acted(), now=now) for now in (NOW, "2027-01-01T00:00:00Z")
    )
    for before, after in zip(early["conditions"], late["conditions"], strict=True):
        assert before["message"] == after["message"]
        assert len(before["message"]) <= 1024
        assert not re.search(r"\d{4}-\d\d-\d\dT|\d{10}", before["message"])


def test_a_message_about_the_longest_names_is_complete() -> None:
    seen = replace(of_other_spec(serviceAccountName=LONG, federationName=LONG), federation=None)
    message = accepted(seen).message
    assert LONG in message
    assert len(message) <= 1024
    assert LONG in account_found(replace(seen, annotations=None)).message


def test_a_status_written_again_at_another_time_is_the_same() -> None:
    first = binding_status(judge(GOOD), Acted(), now=NOW)
    again = replace(GOOD, binding=replace(BINDING, status=first))
    assert same_status(first, binding_status(judge(again), Acted(), now="2027-01-01T00:00:00Z"))


def test_a_new_generation_is_observed() -> None:
    newer = replace(BINDING, meta=replace(BINDING.meta, generation=7))
    status = binding_status(judge(replace(GOOD, binding=newer, holder=newer)), Acted(), now=NOW)
    assert status["observedGeneration"] == 7
    assert {condition["observedGeneration"] for condition in status["conditions"]} == {7}


def issuer_discovered(**fields: Any) -> Finding:  # noqa: ANN401  # fields of ObservedFederation
    return judge_federation(replace(FEDERATION, **fields))[ConditionType.ISSUER_DISCOVERED]


def test_a_federation_states_its_issuer_and_bindings() -> None:
    status = federation_status(FEDERATION, now=NOW)
    assert status["issuer"] == builders.ISSUER
    assert status["bindings"] == {"total": 3, "ready": 2}
    assert conditions(status) == {
        "IssuerDiscovered": ("True", "Discovered"),
        "Ready": ("True", "Ready"),
    }


def test_a_stated_issuer_beats_the_discovered_one() -> None:
    stated = builders.parsed_federation(issuerURL="https://oidc.example/id/9")
    status = federation_status(replace(FEDERATION, federation=stated), now=NOW)
    assert status["issuer"] == "https://oidc.example/id/9"
    assert conditions(status)["IssuerDiscovered"] == ("True", "Configured")


def test_a_stated_issuer_that_is_not_the_clusters_is_told() -> None:
    stated = builders.parsed_federation(issuerURL="https://oidc.example/id/9")
    message = issuer_discovered(federation=stated).message
    assert f"The API server says {builders.ISSUER}" in message
    assert "remove spec.issuerURL" in message
    same = builders.parsed_federation(issuerURL=builders.ISSUER)
    assert issuer_discovered(federation=same).message == f"spec.issuerURL says {builders.ISSUER}."


def test_a_stated_issuer_that_is_none_is_told_with_its_field() -> None:
    stated = builders.parsed_federation(issuerURL="http://oidc.example")
    finding = issuer_discovered(federation=stated)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.DISCOVERY_FAILED)
    assert finding.message.startswith("spec.issuerURL: issuer 'http://oidc.example': must ")
    assert "issuer" not in federation_status(replace(FEDERATION, federation=stated), now=NOW)


def test_a_discovery_that_failed_is_told_with_what_went_wrong_and_next_step() -> None:
    finding = issuer_discovered(discovered_issuer=None, discovery_problem="API server: 403")
    assert finding == Finding(
        Status.FALSE,
        Reason.DISCOVERY_FAILED,
        "API server: 403; set spec.issuerURL to the cluster's OIDC issuer",
    )
