"""The MutatingWebhookConfiguration, as it is rendered and compared."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from caios_federation.reconcile.webhook import (
    in_place_of,
    is_as_wanted,
    published_bundle,
    render_webhook_configuration,
    serving_hosts,
)
from caios_federation.settings import FailurePolicy, Settings, WebhookSettings

GOLDEN = Path(__file__).parents[2] / "golden" / "webhook"
CA = b"-----BEGIN CERTIFICATE-----\nthe CA\n-----END CERTIFICATE-----\n"
SERVICE = Settings()
URL = Settings(
    namespace="caios",
    webhook=WebhookSettings(
        url="https://10.0.0.5:9443/",
        failure_policy=FailurePolicy.FAIL,
        timeout_seconds=10,
        reinvocation_policy="Never",
    ),
)


@pytest.mark.parametrize(("name", "settings"), [("service", SERVICE), ("url", URL)])
def test_a_configuration_is_rendered_as_recorded(name: str, settings: Settings) -> None:
    rendered = yaml.safe_dump(plain(render_webhook_configuration(settings, CA)), sort_keys=False)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("GOLDEN") == "rewrite":
        file.write_text(rendered)
    assert rendered == file.read_text()


def plain(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return `value` without types of ours, which YAML does not know."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def webhook(settings: Settings) -> Any:  # noqa: ANN401  # any JSON
    first, *_ = render_webhook_configuration(settings, CA)["webhooks"]
    return first


def test_the_bundle_is_the_ca_in_base64() -> None:
    assert base64.b64decode(webhook(SERVICE)["clientConfig"]["caBundle"]) == CA


def test_a_lost_call_is_made_once_more_for_pods_that_carry_no_identity_yet() -> None:
    first, second = render_webhook_configuration(SERVICE, CA)["webhooks"]
    assert first["name"] != second["name"]
    (own,) = [each for each in second["matchConditions"] if each not in first["matchConditions"]]
    assert "caios.coreweave.com/federated" in own["expression"]
    assert second["clientConfig"] == first["clientConfig"]


def test_where_a_lost_call_refuses_the_pod_there_is_no_second_one() -> None:
    assert len(render_webhook_configuration(URL, CA)["webhooks"]) == 1


OWNER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "caios-federation-controller", "uid": "u-1", "labels": {"a": "b"}},
}


def test_a_configuration_goes_with_its_owner() -> None:
    owned = render_webhook_configuration(SERVICE, CA, OWNER)
    reference = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "name": "caios-federation-controller",
        "uid": "u-1",
    }
    assert owned["metadata"]["ownerReferences"] == [reference]
    assert not is_as_wanted(defaulted(), owned)
    stored = defaulted()
    other = {"kind": "ConfigMap", "name": "somebody-elses", "uid": "u-0"}
    stored["metadata"]["ownerReferences"] = [other, reference | {"controller": False}]
    assert is_as_wanted(stored, owned)
    stored["metadata"]["ownerReferences"] = [reference | {"uid": "the one before"}]
    assert not is_as_wanted(stored, owned)


def test_what_others_say_of_a_configuration_outlives_a_replacement() -> None:
    current, wanted = defaulted(), render_webhook_configuration(SERVICE, CA)
    replaced = in_place_of(current, wanted)
    assert replaced["webhooks"] == wanted["webhooks"]
    assert replaced["metadata"]["annotations"] == {"somebody/elses": "annotation"}
    assert replaced["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "caios-federation",
        "somebody/elses": "label",
    }


def test_what_is_published_is_what_our_webhooks_trust() -> None:
    body = defaulted()
    body["webhooks"][1]["clientConfig"]["caBundle"] = base64.b64encode(b"another").decode()
    foreign = {"name": "foreign", "clientConfig": {"caBundle": base64.b64encode(b"foreign")}}
    body["webhooks"].append(foreign)
    assert published_bundle(body) == CA + b"\nanother"


@pytest.mark.parametrize("webhooks", [None, [], [1], [{"name": "pods.caios.coreweave.com"}]])
def test_a_configuration_of_any_shape_publishes_nothing(webhooks: object) -> None:
    assert published_bundle({"webhooks": webhooks}).strip() == b""


def test_a_bundle_that_is_no_base64_publishes_nothing() -> None:
    body = defaulted()
    for entry in body["webhooks"]:
        entry["clientConfig"]["caBundle"] = "x"
    assert published_bundle(body).strip() == b""


def test_the_operators_own_namespace_is_excluded() -> None:
    by_name, _ = webhook(URL)["namespaceSelector"]["matchExpressions"]
    assert by_name["values"] == ["caios", "kube-node-lease", "kube-system"]


def test_an_operator_in_kube_system_excludes_it_once() -> None:
    settings = Settings(namespace="kube-system")
    by_name, _ = webhook(settings)["namespaceSelector"]["matchExpressions"]
    assert by_name["values"] == ["kube-node-lease", "kube-system"]


def test_the_certificate_is_for_the_names_that_the_service_is_called_by() -> None:
    assert serving_hosts(SERVICE) == [
        "caios-federation-webhook.caios-federation.svc",
        "caios-federation-webhook.caios-federation.svc.cluster.local",
    ]


def test_a_second_service_takes_the_second_call_and_is_named_by_the_certificate() -> None:
    settings = Settings(webhook=WebhookSettings(service_again_name="others"))
    webhooks = render_webhook_configuration(settings, CA)["webhooks"]
    services = [each["clientConfig"]["service"]["name"] for each in webhooks]
    assert services == ["caios-federation-webhook", "others"]
    assert serving_hosts(settings) == [
        *serving_hosts(SERVICE),
        "others.caios-federation.svc",
        "others.caios-federation.svc.cluster.local",
    ]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://10.0.0.5:9443", "10.0.0.5"),
        ("https://[::1]:9443/", "::1"),
        ("https://hooks.example.com", "hooks.example.com"),
    ],
)
def test_the_certificate_is_for_the_host_of_the_url(url: str, host: str) -> None:
    assert serving_hosts(Settings(webhook=WebhookSettings(url=url))) == [host]


def defaulted() -> Any:  # noqa: ANN401  # any JSON
    """Return the configuration as the API server gives it back, with what it adds."""
    stored = plain(render_webhook_configuration(SERVICE, CA))
    stored["metadata"] |= {"uid": "u", "generation": 3, "managedFields": []}
    stored["metadata"]["labels"]["somebody/elses"] = "label"
    stored["metadata"]["annotations"] = {"somebody/elses": "annotation"}
    stored["webhooks"][0]["defaultedByALaterVersion"] = "value"
    return stored


def test_what_the_api_server_adds_is_no_difference() -> None:
    assert is_as_wanted(defaulted(), render_webhook_configuration(SERVICE, CA))


@pytest.mark.parametrize(
    "path",
    [
        ("webhooks", 0, "timeoutSeconds"),
        ("webhooks", 0, "failurePolicy"),
        ("webhooks", 0, "rules", 0, "operations"),
        ("webhooks", 0, "clientConfig", "caBundle"),
        ("webhooks", 0, "namespaceSelector", "matchExpressions"),
        ("webhooks", 0, "matchConditions"),
        ("webhooks",),
        ("metadata", "labels", "app.kubernetes.io/managed-by"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_whatever_is_changed_or_removed_is_a_difference(path: tuple[Any, ...]) -> None:
    wanted = render_webhook_configuration(SERVICE, CA)
    for make in (lambda parent, key: parent.pop(key), spoil):
        stored = parent = defaulted()
        for step in path[:-1]:
            parent = parent[step]
        make(parent, path[-1])
        assert not is_as_wanted(stored, wanted)


def spoil(parent: Any, key: Any) -> None:  # noqa: ANN401  # any JSON
    parent[key] = [] if isinstance(parent[key], list) else "spoilt"


def test_a_webhook_that_somebody_adds_is_a_difference() -> None:
    stored = defaulted()
    stored["webhooks"].append(stored["webhooks"][0])
    assert not is_as_wanted(stored, render_webhook_configuration(SERVICE, CA))


@pytest.mark.parametrize(
    ("path", "added"),
    [
        (("namespaceSelector",), {"matchLabels": {"a": "b"}}),
        (("objectSelector",), {"matchLabels": {"a": "b"}}),
        (("rules", 0), {"more": "x"}),
        (("clientConfig",), {"url": "https://elsewhere"}),
        (("clientConfig", "service"), {"more": "x"}),
        (("matchConditions", 0), {"more": "x"}),
    ],
    ids=str,
)
def test_what_somebody_adds_to_what_decides_is_a_difference(
    path: tuple[Any, ...], added: dict[str, Any]
) -> None:
    stored = defaulted()
    parent = stored["webhooks"][0]
    for step in path:
        parent = parent[step]
    parent |= added
    assert not is_as_wanted(stored, render_webhook_configuration(SERVICE, CA))


def test_nothing_contains_nothing_of_what_is_wanted() -> None:
    assert not is_as_wanted({}, render_webhook_configuration(SERVICE, CA))
