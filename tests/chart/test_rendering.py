"""What the chart renders."""

import tomllib

import pytest
import yaml

from chart.rendering import (
    CHART,
    GOLDEN,
    KUBERNETES,
    PERMUTATIONS,
    Helm,
    check,
    named,
    of_kind,
    sets,
)
from meta.repository import ROOT

RIGHTS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
each_permutation = pytest.mark.parametrize("name", PERMUTATIONS)


@each_permutation
def test_lint_finds_nothing(helm: Helm, name: str) -> None:
    said = helm.run(
        "lint", "--strict", CHART, f"--kube-version={KUBERNETES}", "--values", PERMUTATIONS[name]
    )
    assert "[WARNING]" not in said


def test_the_default_is_as_recorded(helm: Helm) -> None:
    documents = helm.permutation("defaults")
    check(GOLDEN / "defaults.yaml", yaml.safe_dump_all(documents, sort_keys=False, width=1000))


@each_permutation
def test_rights_are_as_recorded(helm: Helm, name: str) -> None:
    rules = {
        f"{each['kind']} {each['metadata']['name']}": each["rules"]
        for each in of_kind(helm.permutation(name), "ClusterRole", "Role")
    }
    text = yaml.safe_dump(rules, sort_keys=True, width=1000, default_flow_style=None)
    check(GOLDEN / f"rbac-{name}.yaml", text)


@each_permutation
def test_selectors_never_change_because_they_cannot_be_upgraded(helm: Helm, name: str) -> None:
    selected = {
        each["metadata"]["name"]: each["spec"]["selector"]["matchLabels"]
        for each in of_kind(helm.permutation(name), "Deployment")
    }
    frozen = {
        f"caios-federation-{component}": {
            "app.kubernetes.io/name": "caios-federation",
            "app.kubernetes.io/component": component,
        }
        for component in ("webhook", "webhook-again", "controller")
    }
    assert selected == {deployment: frozen[deployment] for deployment in selected}
    assert {"caios-federation-webhook", "caios-federation-controller"} <= selected.keys()


def test_the_vendors_values_make_the_federation(helm: Helm) -> None:
    federation = named(helm.render(*sets()), "StorageFederation", "default")
    assert federation["spec"] == {"organizationID": "cw1234", "region": "US-CENTRAL-05A"}


def test_an_organization_of_digits_alone_stays_a_text(helm: Helm) -> None:
    federation = named(helm.permutation("minimal"), "StorageFederation", "default")
    assert federation["spec"]["organizationID"] == "123456"


def test_verification_is_said_where_it_has_its_right(helm: Helm) -> None:
    federation = named(
        helm.render(*sets("verification.enabled=true")), "StorageFederation", "default"
    )
    assert federation["spec"]["verification"] == "Enabled"


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ((), 35),
        (("webhook.preStopSeconds=0", "webhook.lameDuckSeconds=0", "webhook.drainSeconds=0"), 5),
        (("webhook.preStopSeconds=30",), 60),
    ],
)
def test_a_webhook_has_time_to_sleep_serve_and_drain(
    helm: Helm, values: tuple[str, ...], seconds: int
) -> None:
    webhook = named(helm.render(*sets(*values)), "Deployment", "caios-federation-webhook")
    assert webhook["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


def test_the_key_of_the_ca_is_not_mounted(helm: Helm) -> None:
    webhook = named(helm.render(*sets()), "Deployment", "caios-federation-webhook")
    (secret,) = [
        volume["secret"]
        for volume in webhook["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    ]
    assert {item["key"] for item in secret["items"]} == {"tls.crt", "tls.key", "ca.crt"}
    assert "optional" not in secret


def test_a_drain_of_one_node_never_waits_for_ever(helm: Helm) -> None:
    budgets = of_kind(helm.permutation("everything"), "PodDisruptionBudget")
    assert {each["spec"]["maxUnavailable"] for each in budgets} == {1}
    alone = of_kind(helm.permutation("defaults"), "PodDisruptionBudget")
    assert [each["metadata"]["name"] for each in alone] == [
        "caios-federation-webhook",
        "caios-federation-webhook-again",
    ]


def test_a_call_that_is_made_again_goes_to_other_pods(helm: Helm) -> None:
    documents = helm.render(*sets())
    names = {"caios-federation-webhook", "caios-federation-webhook-again"}
    selectors = [
        each["spec"]["selector"]
        for each in of_kind(documents, "Service")
        if each["metadata"]["name"] in names
    ]
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in of_kind(documents, "Deployment")
        if each["metadata"]["name"] in names
    ]
    chosen = [[selector.items() <= each.items() for each in labels] for selector in selectors]
    assert chosen == [[True, False], [False, True]]


@pytest.mark.parametrize("values", [("webhook.againReplicas=0",), ("webhook.failurePolicy=Fail",)])
def test_without_a_second_call_of_its_own_there_is_one_deployment(
    helm: Helm, values: tuple[str, ...]
) -> None:
    documents = helm.render(*sets(*values))
    assert [each["metadata"]["name"] for each in of_kind(documents, "Deployment")] == [
        "caios-federation-controller",
        "caios-federation-webhook",
    ]
    assert "SERVICE_AGAIN_NAME" not in str(documents)


def test_cert_manager_makes_the_secret_that_is_mounted_for_the_names_that_are_called(
    helm: Helm,
) -> None:
    documents = helm.permutation("certmanager")
    spec = named(documents, "Certificate", "caios-federation-webhook")["spec"]
    webhook = named(documents, "Deployment", "caios-federation-webhook")
    volumes = webhook["spec"]["template"]["spec"]["volumes"]
    assert [v["secret"]["secretName"] for v in volumes if "secret" in v] == [spec["secretName"]]
    assert spec["dnsNames"] == [
        "caios-federation-webhook.caios-federation.svc",
        "caios-federation-webhook.caios-federation.svc.cluster.local",
        "caios-federation-webhook-again.caios-federation.svc",
        "caios-federation-webhook-again.caios-federation.svc.cluster.local",
    ]
    assert spec["issuerRef"]["name"] == "caios-federation"


def test_an_issuer_that_is_there_is_used(helm: Helm) -> None:
    documents = helm.permutation("certmanager-issuer")
    assert of_kind(documents, "Issuer") == []
    spec = named(documents, "Certificate", "caios-federation-webhook")["spec"]
    assert spec["issuerRef"] == {
        "group": "cert-manager.io",
        "kind": "ClusterIssuer",
        "name": "company",
    }


def test_the_test_is_never_where_nothing_is_injected(helm: Helm) -> None:
    for release, expected in (("caios-federation", "default"), ("default", "kube-public")):
        documents = helm.render(*sets(), namespace=release)
        job = named(documents, "Job", "caios-federation-test")
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        assert arguments[arguments.index("--namespace") + 1] == expected


def test_numbers_among_settings_are_written_out(helm: Helm) -> None:
    controller = named(helm.permutation("everything"), "Deployment", "caios-federation-controller")
    env = controller["spec"]["template"]["spec"]["containers"][0]["env"]
    values = {each["name"]: each.get("value") for each in env}
    assert values["CAIOS_ADMISSION__BODY_LIMIT_BYTES"] == "33554432"
    assert len(values) == len(env)


def test_the_chart_is_of_the_version_of_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == project["version"]
