"""What every rendered permutation keeps to."""

import subprocess

import pytest
import yaml

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.progress import Progress
from chart.rendering import KUBERNETES, PERMUTATIONS, Document, Helm, of_kind, pod_templates

each_permutation = pytest.mark.parametrize("name", PERMUTATIONS)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
VOLUMES = {"secret", "configMap", "emptyDir"}
UNFIT = (
    # A limit throttles, and each Pod of the cluster waits for the webhook.
    "--ignore-container-cpu-limit",
    # Tags are not reused; whoever reuses them sets image.pullPolicy.
    "--ignore-test=container-image-pull-policy",
)
"""Options of kube-score for what is decided otherwise here."""


@each_permutation
def test_every_container_is_restricted(helm: Helm, name: str) -> None:
    for where, template in pod_templates(helm.permutation(name)):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec), where
        for container in spec["containers"]:
            assert container["securityContext"] == RESTRICTED, where
            assert all("hostPort" not in port for port in container.get("ports", [])), where
        for volume in spec["volumes"]:
            assert len(VOLUMES & set(volume)) == 1, where


@each_permutation
def test_who_gets_a_token_is_said_in_so_many_words(helm: Helm, name: str) -> None:
    documents = helm.permutation(name)
    accounts = of_kind(documents, "ServiceAccount")
    assert {each["automountServiceAccountToken"] for each in accounts} == {False}
    for where, template in pod_templates(documents):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is True, where
        assert spec["serviceAccountName"] != "default", where
        assert spec["enableServiceLinks"] is False, where


@each_permutation
def test_every_container_asks_for_memory_and_has_a_limit(helm: Helm, name: str) -> None:
    if name == "minimal":
        return  # it shows that they can be left out
    for where, template in pod_templates(helm.permutation(name)):
        for container in template["spec"]["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where


@each_permutation
def test_no_right_is_a_wildcard_and_none_makes_others(helm: Helm, name: str) -> None:
    rules = [
        rule
        for role in of_kind(helm.permutation(name), "ClusterRole", "Role")
        for rule in role["rules"]
    ]
    for rule in rules:
        for entries in rule.values():
            assert "*" not in entries, rule
        assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"]), rule


@each_permutation
def test_no_secret_is_read_beyond_the_operators_namespace(helm: Helm, name: str) -> None:
    documents = helm.permutation(name)
    cluster = [rule for role in of_kind(documents, "ClusterRole") for rule in role["rules"]]
    assert not any("secrets" in rule.get("resources", ()) for rule in cluster)
    for role in of_kind(documents, "Role"):
        for rule in role["rules"]:
            if "secrets" in rule["resources"]:
                assert role["metadata"]["namespace"] == "caios-federation"
                assert not {"list", "watch"} & set(rule["verbs"])


@each_permutation
@pytest.mark.parametrize(
    ("resource", "feature"),
    [("serviceaccounts/token", "verification"), ("deployments", "remediation")],
)
def test_a_feature_that_is_off_has_no_rights(
    helm: Helm, name: str, resource: str, feature: str
) -> None:
    roles = of_kind(helm.permutation(name), "ClusterRole", "Role")
    holders = {
        role["metadata"]["name"]
        for role in roles
        if any(resource in rule.get("resources", ()) for rule in role["rules"])
    }
    own = f"caios-federation-{feature}"
    on = {
        "verification": {"everything", "external"},
        "remediation": set(PERMUTATIONS) - {"minimal", "external"},
    }[feature]
    assert holders == ({own} if name in on else set())


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Tell whether a labelSelector, of the two forms that the chart uses, selects `labels`."""
    expressions = selector.get("matchExpressions", [])
    assert {each["operator"] for each in expressions} <= {"In"}
    return selector["matchLabels"].items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


@each_permutation
def test_every_pod_is_limited_to_the_connections_it_needs(helm: Helm, name: str) -> None:
    if name == "minimal":
        return  # it shows that policies can be left out
    documents = helm.permutation(name)
    selectors = [each["spec"]["podSelector"] for each in of_kind(documents, "NetworkPolicy")]
    for where, template in pod_templates(documents):
        labels = template["metadata"]["labels"]
        assert sum(selects(selector, labels) for selector in selectors) == 1, where
    for policy in of_kind(documents, "NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@each_permutation
def test_rights_of_hooks_are_there_for_the_hook_alone(helm: Helm, name: str) -> None:
    for each in of_kind(helm.permutation(name), "Job", "ServiceAccount", "ClusterRole", "Role"):
        metadata = each["metadata"]
        if metadata["labels"].get("app.kubernetes.io/component") != "hook":
            continue
        policy = metadata["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded", metadata["name"]
        weight = int(metadata["annotations"]["helm.sh/hook-weight"])
        assert (weight == 0) == (each["kind"] == "Job")


@each_permutation
def test_kube_score_finds_nothing_critical(helm: Helm, name: str) -> None:
    if name == "minimal":
        return  # it leaves out what kube-score asks for
    program = ensure_binaries(["kube-score"], Progress.quiet())["kube-score"]
    version = f"--kubernetes-version=v{KUBERNETES.rpartition('.')[0]}"
    done = subprocess.run(
        [program, "score", version, "--output-format=ci", *UNFIT, "-"],
        input=yaml.safe_dump_all(helm.permutation(name)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("[CRITICAL]")] == []
    assert done.returncode == 0, done.stderr
