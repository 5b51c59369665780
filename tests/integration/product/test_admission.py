"""Admission through a real API server."""

import concurrent.futures
import json
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, CoreV1Api
from kubernetes.config import new_client_from_config

from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import operator_writes
from integration.product.conftest import (
    World,
    annotated,
    bound,
    federation,
    injected,
    minimal_pod,
    wait_for,
)

TRIES = 300
BATCH = 20


def test_a_pod_created_with_its_service_account_is_injected_every_time(
    world: World, namespace: str
) -> None:
    """One after the other without a pause, 300 times, four at a time, and none is missed."""
    client: ApiClient = new_client_from_config(  # type: ignore[no-untyped-call]
        config_file=str(world.plane.kubeconfig)
    )
    with client:
        core = CoreV1Api(client)

        def attempt(number: int) -> bool:
            name = f"same-{number}"
            objects: list[Any] = [
                annotated(namespace, name),
                minimal_pod(namespace, name, name=name),
            ]
            core.create_namespaced_service_account(namespace, objects[0])
            spec = core.create_namespaced_pod(namespace, objects[1]).spec
            env = spec.containers[0].env if spec else None
            return any(v.name == "AWS_CONTAINER_CREDENTIALS_FULL_URI" for v in env or ())

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = list(pool.map(attempt, range(TRIES)))
    assert results.count(True) == TRIES


def test_one_kubectl_apply_of_service_accounts_and_their_pods_injects_all(
    world: World, namespace: str
) -> None:
    names = [f"both-{number}" for number in range(BATCH)]
    pairs = [(annotated(namespace, n), minimal_pod(namespace, n, name=n)) for n in names]
    world.apply(*(body for pair in pairs for body in pair))
    assert [injected(pod) for pod in world.items("pods", namespace)] == [True] * BATCH


def test_one_kubectl_apply_of_service_accounts_bindings_and_pods_injects_all(
    world: World, namespace: str
) -> None:
    """The ServiceAccounts ask for nothing: the bindings alone opt in."""
    for number in range(BATCH):
        name = f"bound-{number}"
        plain = annotated(namespace, name, federation="default")
        world.apply(plain, bound(namespace, name, name), minimal_pod(namespace, name, name=name))
    assert [injected(pod) for pod in world.items("pods", namespace)] == [True] * BATCH


def test_kubectl_shows_warnings_for_a_bad_expiration(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    annotations = {"caios.coreweave.com/token-expiration": "5"}
    said = world.apply(minimal_pod(namespace, "reader", annotations=annotations))
    assert "Warning: annotation caios.coreweave.com/token-expiration of the Pod is 5" in said
    pod = world.get("pod", namespace, "pod")
    assert pod is not None
    token = pod["spec"]["volumes"][-1]["projected"]["sources"][0]["serviceAccountToken"]
    assert token["expirationSeconds"] == 600


@pytest.mark.parametrize("seconds", ["-1", "0", "599", "600", "86400", "86401", "99999999", "x"])
def test_the_api_server_accepts_every_expiration_that_is_injected(
    world: World, namespace: str, seconds: str
) -> None:
    world.apply(annotated(namespace, "reader", inject="true", token_expiration=seconds))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)


def test_a_pod_and_a_namespace_can_opt_out(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    label = {"caios.coreweave.com/inject": "false"}
    assert not injected(world.dry_run_pod(namespace, "reader", labels=label))
    world.kubectl.run("label", "namespace", namespace, "caios.coreweave.com/inject=false")
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=False)


def test_the_operators_own_namespace_is_left_alone(world: World) -> None:
    world.apply(annotated("caios-federation", "reader"))
    wait_for(lambda: world.condition("caios-federation", "reader", "Ready").get("reason"), "Ready")
    pod = minimal_pod("caios-federation", "reader")
    pod["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    text = world.kubectl.run(
        "create", "-f", "-", "--dry-run=server", "-o=yaml", manifest=yaml.safe_dump(pod)
    )
    assert not injected(yaml.safe_load(text))


def test_a_removed_annotation_leaves_the_next_pod_alone(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    key = "caios.coreweave.com/inject-"
    world.kubectl.run("annotate", "serviceaccount", "reader", key, f"-n={namespace}")
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=False)


def test_a_binding_without_annotation_injects_and_can_switch_off(
    world: World, namespace: str
) -> None:
    world.apply(bound(namespace, "fsb", "default", client={"endpoint": "LOTA"}))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "default")), expected=True)
    pod = world.dry_run_pod(namespace, "default")
    env = {v["name"]: v["value"] for v in pod["spec"]["containers"][0]["env"]}
    assert env["AWS_CONFIG_FILE"].endswith("/aws-config")
    assert (
        "endpoint_url = http://cwlota.com"
        in (pod["metadata"]["annotations"]["caios.coreweave.com/aws-config"])
    )
    world.apply(bound(namespace, "fsb", "default", injection="Disabled"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "default")), expected=False)


def test_a_missing_federation_is_a_warning_and_the_pod_starts(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader", inject="true", federation=f"{namespace}-later"))
    said = world.apply(minimal_pod(namespace, "reader"))
    assert f"StorageFederation '{namespace}-later' does not exist" in said
    world.apply(federation(f"{namespace}-later"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)


CONFIGURATION = ("mutatingwebhookconfigurations", "caios-federation")


def webhooks(world: World) -> Any:  # noqa: ANN401  # any JSON
    """Return what the configuration says, in the order of its names."""
    text = world.kubectl.run("get", *CONFIGURATION, "--ignore-not-found", "-o=yaml")
    found = (yaml.safe_load(text) or {}).get("webhooks", [])
    return sorted(found, key=lambda webhook: str(webhook["name"]))


@pytest.mark.parametrize(
    "edit",
    [
        {"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 29},
        {"op": "add", "path": "/webhooks/0/namespaceSelector/matchLabels", "value": {"a": "b"}},
        {"op": "add", "path": "/webhooks/0/objectSelector/matchLabels", "value": {"a": "b"}},
        {
            "op": "add",
            "path": "/webhooks/0/matchConditions/-",
            "value": {"name": "never", "expression": "false"},
        },
        {
            "op": "add",
            "path": "/webhooks/-",
            "value": {
                "name": "other.example.com",
                "clientConfig": {"url": "https://127.0.0.1:1"},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Ignore",
            },
        },
    ],
    ids=lambda edit: edit["path"].removeprefix("/webhooks/"),
)
def test_the_webhook_configuration_is_healed(world: World, edit: dict[str, Any]) -> None:
    before = webhooks(world)
    world.kubectl.run("patch", *CONFIGURATION, "--type=json", f"--patch={json.dumps([edit])}")
    wait_for(lambda: webhooks(world), before)


def test_a_deleted_webhook_configuration_is_made_again(world: World) -> None:
    before = webhooks(world)
    world.kubectl.run("delete", *CONFIGURATION)
    wait_for(lambda: webhooks(world), before)


def test_the_right_to_watch_one_configuration_is_enough(world: World) -> None:
    """As Kopf asks: a field selector with the name is what the authorizer takes for it."""
    operator = "--as=system:serviceaccount:caios-federation:caios-federation"
    selector = "--field-selector=metadata.name=caios-federation"
    assert "caios-federation" in world.kubectl.run(
        "get", CONFIGURATION[0], selector, operator, "-o=name"
    )
    assert "yes" in world.kubectl.run("auth", "can-i", "watch", "/".join(CONFIGURATION), operator)


def second_calls(world: World) -> int:
    """Return how often the API server called the second webhook."""
    wanted = "apiserver_admission_webhook_request_total{"
    lines = world.kubectl.run("get", "--raw", "/metrics").splitlines()
    counts = [line for line in lines if line.startswith(wanted) and '"again.pods.' in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


def test_a_call_that_was_lost_is_made_once_more_and_none_that_was_not(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    before = second_calls(world)
    assert injected(world.dry_run_pod(namespace, "reader"))
    assert second_calls(world) == before, "the first call had injected the Pod"
    # The same two webhooks, asked before ours; the first one's calls are lost.
    first, second = webhooks(world)[::-1]
    assert second["name"] == "again.pods.caios.coreweave.com"
    lost = {**first, "clientConfig": {"url": "https://127.0.0.1:1/mutate-pods"}}
    own = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "a-lost-call"},
        "webhooks": [{**entry, "namespaceSelector": own} for entry in (lost, second)],
    }
    world.kubectl.run("create", "-f", "-", manifest=json.dumps(body))
    try:

        def called() -> int:
            assert injected(world.dry_run_pod(namespace, "reader"))
            return second_calls(world) - before

        # The API server learns of the configuration by a watch of its own.
        wait_for(called, 1)
    finally:
        world.kubectl.run("delete", "mutatingwebhookconfigurations", "a-lost-call")


def test_labels_of_others_on_the_webhook_configuration_are_kept(world: World) -> None:
    world.kubectl.run("label", *CONFIGURATION, "example.com/team=storage")
    edit = {"op": "add", "path": "/webhooks/0/namespaceSelector/matchLabels", "value": {"a": "b"}}
    before = webhooks(world)
    world.kubectl.run("patch", *CONFIGURATION, "--type=json", f"--patch={json.dumps([edit])}")
    wait_for(lambda: webhooks(world), before)
    labels = world.kubectl.run("get", *CONFIGURATION, "-o=jsonpath={.metadata.labels}")
    assert json.loads(labels)["example.com/team"] == "storage"


def test_nothing_is_written_while_nothing_changes(world: World, namespace: str) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: world.condition(namespace, "reader", "Ready").get("reason"), "Ready")
    assert eventually(world.settled, 20)


def test_the_webhook_outlives_the_api_server_and_has_no_ghosts(
    world: World, namespace: str
) -> None:
    world.apply(annotated(namespace, "reader"))
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    world.plane.restart_apiserver()
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=True)
    assert world.product.alive
    world.kubectl.run("delete", "serviceaccount", "reader", f"-n={namespace}")
    world.kubectl.run("create", "serviceaccount", "reader", f"-n={namespace}")
    wait_for(lambda: injected(world.dry_run_pod(namespace, "reader")), expected=False)


def test_no_write_ever_goes_to_a_service_account_or_a_pod(world: World) -> None:
    """Kopf keeps no books on objects: the API server's log lists all that the operator wrote."""
    wait_for(lambda: world.condition("default", "probe", "Ready").get("status"), "True")
    writes = set(operator_writes(world.plane.audit_log))
    assert writes <= {
        ("create", "events"),
        ("create", "secrets"),  # the serving certificate's
        ("patch", "secrets"),
        ("create", "federatedstoragebindings"),
        ("delete", "federatedstoragebindings"),
        ("patch", "federatedstoragebindings/status"),
        ("patch", "storagefederations/status"),
        ("patch", "mutatingwebhookconfigurations"),
        ("create", "mutatingwebhookconfigurations"),
        ("update", "mutatingwebhookconfigurations"),
        ("patch", "deployments"),  # where a test before this one asked for a restart
    }
    assert ("patch", "federatedstoragebindings/status") in writes
