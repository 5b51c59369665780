"""Which Pods count, and as what."""

import datetime as dt
from typing import Any

import pytest

from builders import (
    FEDERATED,
    PRINCIPAL,
    URI,
    Json,
    annotated,
    bound,
    container,
    inject,
    pod,
    sources,
    words,
)
from caios_federation.core.injection import Sources
from caios_federation.core.plan import Placement
from caios_federation.core.pods import (
    Owner,
    Standing,
    count_pod,
    namespaces_left_alone,
    principal_given,
    standing_of,
)
from caios_federation.core.principal import parse_issuer

OWN_CREDENTIALS = container(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost"})


def standing(raw: Json, has_a_say: Sources = FEDERATED) -> Standing:
    return standing_of(raw, has_a_say, Placement())


def with_metadata(raw: Json, **fields: Any) -> Json:  # noqa: ANN401  # JSON
    return {**raw, "metadata": {**raw["metadata"], **fields}}


def test_a_pod_that_was_injected_is_federated() -> None:
    assert standing(inject(pod()).pod) is Standing.FEDERATED


def test_a_pod_that_was_created_past_the_webhook_missed_injection() -> None:
    assert standing(pod()) is Standing.MISSED


def test_a_pod_of_a_bound_service_account_counts_as_that_of_an_annotated_one() -> None:
    assert standing(pod(), bound()) is Standing.MISSED
    assert standing(inject(pod(), bound()).pod, bound()) is Standing.FEDERATED


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_over_does_not_count(phase: str) -> None:
    assert standing({**pod(), "status": {"phase": phase}}) is Standing.UNCONCERNED


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_a_pod_that_is_not_over_counts(phase: str) -> None:
    assert standing({**pod(), "status": {"phase": phase}}) is Standing.MISSED


def test_a_pod_on_its_way_out_does_not_count() -> None:
    going = with_metadata(pod(), deletionTimestamp="2026-11-24T12:00:00Z")
    assert standing(going) is Standing.UNCONCERNED


@pytest.mark.parametrize(
    "raw",
    [
        pod(labels=words(inject="false")),
        pod(annotations={"kubernetes.io/config.mirror": "x"}),
        pod(annotations=words(skip_containers="app")),
        pod(OWN_CREDENTIALS),
    ],
    ids=["opted out", "mirror", "no container", "own credentials"],
)
def test_a_pod_that_would_not_be_injected_does_not_count(raw: Json) -> None:
    assert standing(raw) is Standing.UNCONCERNED


def test_a_pod_counts_as_soon_as_one_of_its_containers_would_be_injected() -> None:
    assert standing(pod(OWN_CREDENTIALS, container("other"))) is Standing.MISSED


def test_a_binding_that_leaves_out_every_container_counts_no_pod() -> None:
    assert standing(pod(), bound(containers={"except": ["app"]})) is Standing.UNCONCERNED


def test_a_pod_counts_for_nobody_where_injection_is_switched_off() -> None:
    assert standing(pod(), bound(injection="Disabled")) is Standing.UNCONCERNED


def test_the_marks_of_an_injected_pod_in_a_template_do_not_make_a_pod_federated() -> None:
    copied = pod(labels=words(federated="true"), annotations=words(principal=PRINCIPAL))
    assert standing(copied) is Standing.MISSED


def test_a_pod_without_our_label_is_not_federated() -> None:
    # The vendor's webhook gives the same variables, and no label of ours.
    others = container(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": URI})
    assert standing(pod(others)) is Standing.UNCONCERNED


def test_a_pod_of_a_former_issuer_lacks_the_identity_for_its_token_means_nothing() -> None:
    old = inject(pod(), sources(account=words(inject="true"), issuer=parse_issuer("https://old")))
    assert standing(old.pod) is Standing.STALE
    kept = count_pod(old.pod, FEDERATED, Placement())
    assert kept is not None
    assert (kept.federated, kept.stale) == (False, True)


def test_a_pod_of_another_audience_is_federated_until_it_is_created_anew() -> None:
    old = inject(pod(), annotated(audience="before"))
    assert standing(old.pod, annotated(audience="after")) is Standing.FEDERATED


def test_a_namespace_that_opted_out_counts_no_pods() -> None:
    alone = namespaces_left_alone("caios-federation")
    assert principal_given(FEDERATED, {}, alone) == PRINCIPAL
    assert principal_given(FEDERATED, None, alone) == PRINCIPAL
    assert principal_given(FEDERATED, words(inject="false"), alone) is None


@pytest.mark.parametrize("namespace", ["kube-system", "kube-node-lease", "operators"])
def test_a_namespace_that_the_webhook_never_sees_counts_no_pods(namespace: str) -> None:
    there = sources(account=words(inject="true"), namespace=namespace)
    assert principal_given(there, {}, namespaces_left_alone("operators")) is None


def test_a_service_account_that_is_not_injected_counts_no_pods() -> None:
    assert principal_given(bound(injection="Disabled"), {}, frozenset()) is None


def test_what_is_kept_of_a_pod_is_what_a_restart_needs() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u-rs"}
    others = {"apiVersion": "v1", "kind": "Binding", "name": "x", "uid": "u-x"}
    raw = with_metadata(
        pod(),
        uid="u-1",
        creationTimestamp="2026-11-24T12:00:00Z",
        ownerReferences=[others, {**owner, "controller": True}],
    )
    raw["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    kept = count_pod(raw, FEDERATED, Placement())
    assert kept is not None
    assert (kept.name, kept.uid, kept.federated, kept.ready) == ("workload", "u-1", False, True)
    assert not kept.stale
    assert kept.created == dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
    assert kept.owner == Owner("apps/v1", "ReplicaSet", "rs", "u-rs")


def test_a_pod_that_does_not_count_is_not_kept() -> None:
    assert count_pod(pod(labels=words(inject="false")), FEDERATED, Placement()) is None


def test_a_pod_of_no_controller_has_no_owner() -> None:
    kept = count_pod(pod(), FEDERATED, Placement())
    assert kept is not None
    assert kept.owner is None
    assert not kept.ready
