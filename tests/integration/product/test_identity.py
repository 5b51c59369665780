"""Bindings and federations on a real API server: statuses, inventory, conflicts, events."""

import datetime as dt
import json
from typing import Any

from integration.product.conftest import World, annotated, bound, federation, wait_for


def principal(world: World, namespace: str, name: str) -> str:
    """Return what the tutorial has people assemble by hand."""
    return f"role/{world.plane.issuer}:system:serviceaccount:{namespace}:{name}"


def ready_reason(world: World, namespace: str, name: str) -> str | None:
    return world.condition(namespace, name, "Ready").get("reason")


def event_reasons(world: World, namespace: str) -> dict[str, str]:
    return {event["reason"]: event["message"] for event in world.items("events", namespace)}


def test_an_annotated_service_account_gets_a_binding_with_its_principal(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    binding = world.get("fsb", namespace, "reader")
    assert binding is not None
    status = binding["status"]
    assert status["principal"] == principal(world, namespace, "reader")
    assert status["principalARN"] == f"arn:aws:iam::cw1234:{status['principal']}"
    assert status["issuer"] == status["audience"] == world.plane.issuer
    assert status["credentialsURI"] == (
        "https://api.coreweave.com/v1/cwobject/temporary-credentials/oidc/cw1234"
    )
    assert "policy" not in status
    assert [c["type"] for c in status["conditions"]] == [
        "Accepted",
        "ServiceAccountFound",
        "PodsFederated",
        "Ready",
    ]


def test_kubectl_get_shows_the_principal(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    header, row = world.kubectl.run("get", "fsb", f"-n={namespace}").splitlines()
    assert header.split() == ["NAME", "SERVICEACCOUNT", "READY", "REASON", "PRINCIPAL", "AGE"]
    assert row.split()[:5] == [
        "reader",
        "reader",
        "True",
        "Ready",
        principal(world, namespace, "reader"),
    ]


def test_the_binding_goes_with_the_annotation(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    key = "caios.coreweave.com/inject-"
    world.kubectl.run("annotate", "serviceaccount", "reader", key, f"-n={namespace}")
    wait_for(lambda: world.get("fsb", namespace, "reader"), None)


def test_the_binding_goes_with_the_service_account(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    world.kubectl.run("delete", "serviceaccount", "reader", f"-n={namespace}")
    wait_for(lambda: world.get("fsb", namespace, "reader"), None)


def test_a_users_binding_takes_the_service_account_over(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    world.apply(bound(namespace, "mine", "reader"))
    wait_for(lambda: world.get("fsb", namespace, "reader"), None)
    wait_for(lambda: ready_reason(world, namespace, "mine"), "Ready")


def test_a_users_binding_of_the_same_name_is_neither_changed_nor_deleted(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    grant = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}
    world.apply(bound(namespace, "reader", "reader", grants=[grant]))
    key = "caios.coreweave.com/inject-"
    world.kubectl.run("annotate", "serviceaccount", "reader", key, f"-n={namespace}")
    # What is judged after the annotation went: the next binding's status.
    world.apply(annotated(namespace, "later"))
    wait_for(lambda: ready_reason(world, namespace, "later"), "Ready")
    binding = world.get("fsb", namespace, "reader")
    assert binding is not None
    assert binding["spec"]["grants"] == [grant]


def test_a_name_clash_with_an_unrelated_binding_is_told_and_nothing_overwritten(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "other"), bound(namespace, "reader", "other"))
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: "NameTaken" in event_reasons(world, namespace), expected=True)
    binding = world.get("fsb", namespace, "reader")
    assert binding is not None
    assert binding["spec"]["serviceAccountName"] == "other"


def test_of_two_bindings_for_one_service_account_the_loser_is_told_who_won(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "reader", inject="false"), bound(namespace, "a", "reader"))
    wait_for(lambda: ready_reason(world, namespace, "a"), "Ready")
    oldest = (world.get("fsb", namespace, "a") or {})["metadata"]["creationTimestamp"]
    # Creation times have whole seconds; within one the lower uid would win.
    wait_for(lambda: dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") > oldest, expected=True)
    world.apply(bound(namespace, "b", "reader"))
    wait_for(lambda: ready_reason(world, namespace, "b"), "Conflict")
    message = world.condition(namespace, "b", "Accepted")["message"]
    assert "spec.serviceAccountName" in message
    assert "'a'" in message
    assert "Conflict" in event_reasons(world, namespace)
    assert "principal" not in (world.get("fsb", namespace, "b") or {})["status"]
    world.kubectl.run("delete", "fsb", "a", f"-n={namespace}")
    wait_for(lambda: ready_reason(world, namespace, "b"), "Ready")


def test_a_binding_for_a_missing_service_account_says_so_and_recovers(
    world: World, namespace: str
) -> None:
    world.apply(bound(namespace, "early", "late"))
    wait_for(lambda: ready_reason(world, namespace, "early"), "NotFound")
    message = world.condition(namespace, "early", "ServiceAccountFound")["message"]
    assert "spec.serviceAccountName: ServiceAccount 'late' does not exist" in message
    assert "ServiceAccountNotFound" in event_reasons(world, namespace)
    world.apply(annotated(namespace, "late", audience="custom"))
    wait_for(lambda: ready_reason(world, namespace, "early"), "Ready")
    assert (world.get("fsb", namespace, "early") or {})["status"]["audience"] == "custom"


def test_a_missing_federation_is_named(world: World, namespace: str) -> None:
    world.apply(bound(namespace, "lost", "default", federationName="nowhere"))
    wait_for(lambda: ready_reason(world, namespace, "lost"), "FederationNotFound")
    message = world.condition(namespace, "lost", "Accepted")["message"]
    assert "spec.federationName: StorageFederation 'nowhere' does not exist" in message


def test_an_unknown_inject_value_and_bad_expirations_are_told_on_the_service_account(
    world: World, namespace: str
) -> None:
    world.apply(
        annotated(namespace, "yes", inject="yes"),
        annotated(namespace, "soon", inject="true", token_expiration="soon"),
    )

    def told() -> dict[str, str]:
        return {
            event["involvedObject"]["name"]: event["message"]
            for event in world.items("events", namespace)
            if event["reason"] == "AnnotationInvalid"
        }

    wait_for(lambda: set(told()), {"yes", "soon"})
    assert "caios.coreweave.com/inject is 'yes'" in told()["yes"]
    assert "token-expiration of the ServiceAccount is 'soon'" in told()["soon"]
    assert world.get("fsb", namespace, "yes") is None


def test_the_policy_in_the_status_is_json_for_the_console(world: World, namespace: str) -> None:
    grant = {"name": "data", "buckets": ["data"], "access": "ReadOnly"}
    audience = "🚀 ü"
    world.apply(
        annotated(namespace, "reader", inject="false"),
        bound(namespace, "reader", "reader", grants=[grant], audience=audience),
    )
    wait_for(lambda: ready_reason(world, namespace, "reader"), "Ready")
    status: dict[str, Any] = (world.get("fsb", namespace, "reader") or {})["status"]
    assert status["audience"] == audience
    document = json.loads(status["policy"]["document"])
    assert document["name"] == status["policy"]["name"]
    assert {p for s in document["statements"] for p in s["principals"]} == {status["principal"]}
    assert [s["name"] for s in document["statements"]] == ["mint", "data-buckets", "data-objects"]


def test_a_federation_tells_its_issuer_and_counts_its_bindings(
    world: World, namespace: str
) -> None:
    issuer = "https://issuer.example/id/7"
    world.apply(
        federation(namespace, issuerURL=issuer),
        bound(namespace, "a", "default", federationName=namespace),
        bound(namespace, "b", "absent", federationName=namespace),
    )

    def counted() -> object:
        return (world.get("sfed", namespace, namespace) or {}).get("status", {}).get("bindings")

    wait_for(counted, {"total": 2, "ready": 1})
    status = (world.get("sfed", namespace, namespace) or {})["status"]
    assert status["issuer"] == issuer
    assert [(c["type"], c["reason"]) for c in status["conditions"]] == [
        ("IssuerDiscovered", "Configured"),
        ("InjectionServing", "Serving"),
        ("Ready", "Ready"),
    ]
    binding = world.get("fsb", namespace, "a")
    assert binding is not None
    assert binding["status"]["principal"] == (
        f"role/{issuer}:system:serviceaccount:{namespace}:default"
    )
    world.kubectl.run("delete", "sfed", namespace)
    wait_for(lambda: ready_reason(world, namespace, "a"), "FederationNotFound")
