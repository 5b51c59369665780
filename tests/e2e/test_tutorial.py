"""The tutorial on a real node, and what a node alone can show."""

import base64
import json
import re
from collections import Counter
from typing import Any

import pytest

from caios_testbed.audit import entries, resource_of
from caios_testbed.cluster.components import WRITES
from caios_testbed.cluster.waiting import eventually
from caios_testbed.coreweave.settings import DEMO_TOKEN
from caios_testbed.demo.walk import BUCKETS
from caios_testbed.release import CONTROLLER, NAME, WEBHOOK, WEBHOOK_AGAIN
from e2e.conftest import DEADLINE_SECONDS, Walked

MOUNT = "/var/run/secrets/cks.coreweave.com/serviceaccount"
BUSYBOX = "docker.io/caios-testbed/busybox:1"
ANNOTATED = {"caios.coreweave.com/inject": "true"}

# For the walk itself, with a build of the image, on a busy machine. A minute is enough for most.
pytestmark = pytest.mark.timeout(900)


def account(namespace: str, name: str, **annotations: str) -> dict[str, Any]:
    """Return a ServiceAccount that opts in."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {**ANNOTATED, **annotations},
        },
    }


def pod(namespace: str, name: str, image: str, script: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a Pod that runs a shell script once."""
    container = {"name": "app", "image": image, "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": "reader",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def policy(walked: Walked, namespace: str, binding: str) -> None:
    """Enter the policy that a binding's status shows, as a person would in the Console."""
    document = walked.wait_ready(namespace, binding)["status"]["policy"]["document"]
    walked.walk.coreweave("POST", "/v1/cwobject/access-policy", {"policy": json.loads(document)})


def bound(namespace: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a binding that lets the ServiceAccount `reader` list the organization's buckets."""
    actions = {"name": "all", "buckets": ["*"], "access": "Custom"}
    return {
        "apiVersion": "caios.coreweave.com/v1alpha1",
        "kind": "FederatedStorageBinding",
        "metadata": {"name": "reader", "namespace": namespace},
        "spec": {
            "serviceAccountName": "reader",
            "grants": [{**actions, "actions": ["s3:ListAllMyBuckets"]}],
            **spec,
        },
    }


def buckets(log: str) -> list[str]:
    """Return the names in a bucket list that the AWS CLI printed."""
    return sorted(bucket["Name"] for bucket in json.loads(log)["Buckets"])


def test_the_tutorial_ends_with_a_bucket_list_and_a_denial(walked: Walked) -> None:
    shown = "\n".join(walked.lines)
    assert all(f'"Name": "{bucket}"' in shown for bucket in BUCKETS)
    assert "Received non 200 response 403 from container metadata" in shown


def test_the_short_way_reads_one_bucket_and_ends_with_its_binding(walked: Walked) -> None:
    shown = "\n".join(walked.lines[walked.lines.index("\n=== One binding: read one bucket") :])
    assert re.search(r"^reader +reader +True +Ready ", shown, re.MULTILINE)
    assert "aws s3 cp s3://training-data/set.txt -\na data set" in shown
    for refused in ("PutObject", "DeleteObject", "ListObjectsV2"):
        assert f"(AccessDenied) when calling the {refused} operation" in shown
    of_another = shown.partition("aws s3 cp s3://checkpoints/model.txt -\n")[2]
    assert "(403) when calling the HeadObject operation: Forbidden" in of_another.splitlines()[0]
    assert "a model" not in shown
    assert "Received non 200 response 403 from container metadata" in shown
    assert '{"policies": []}' in shown


def test_pods_that_missed_injection_are_restarted_once(walked: Walked, namespace: str) -> None:
    """The Deployment is there before its ServiceAccount says anything."""
    spec = pod(namespace, "x", BUSYBOX, "sleep 3600 & wait", restartPolicy="Always")["spec"]
    labels = {"app": "late"}
    walked.stage.kubectl.run("create", "serviceaccount", "late", f"-n={namespace}")
    walked.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "late", "namespace": namespace},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {**spec, "serviceAccountName": "late"},
                },
            },
        }
    )
    kubectl, where = walked.stage.kubectl, f"-n={namespace}"
    kubectl.run("rollout", "status", "deployment/late", where, "--timeout=60s")
    healed = bound(namespace, serviceAccountName="late", remediation="Restart")
    healed["metadata"]["name"] = "late"
    walked.apply(healed)
    status = walked.wait_ready(namespace, "late")["status"]
    assert status["pods"] == {"total": 2, "federated": 2}
    history = kubectl.run("get", "replicasets", where, "-l=app=late", "-o=name").split()
    assert len(history) == 2
    events = kubectl.run("get", "events", where, "--field-selector=reason=PodsRestarted", "-o=name")
    assert len(events.split()) == 1


def writes_of(walked: Walked) -> dict[str, Counter[tuple[str, str]]]:
    """Return what each ServiceAccount of the operator's namespace wrote, as the API server saw it.

    But those of the Lease, which is renewed all the time.
    """
    ours = f"system:serviceaccount:{walked.stage.release.namespace}:"
    writes: dict[str, Counter[tuple[str, str]]] = {}
    for entry in entries(walked.stage.cluster.audit_log):
        user, what = entry["user"].get("username", ""), resource_of(entry)
        if user.startswith(ours) and entry["verb"] in WRITES and what != "leases":
            counted = writes.setdefault(user.removeprefix(ours), Counter())
            counted[entry["verb"], what] += 1
    return writes


def test_the_operator_wrote_nothing_but_its_own_objects(walked: Walked) -> None:
    """Every write of the demo's flow, as the API server's log has it, and by whom."""
    writes = writes_of(walked)
    print(
        "\n".join(
            f"{user}: {count:4} {verb} {what}"
            for user, counted in writes.items()
            for (verb, what), count in counted.items()
        )
    )
    assert writes.keys() == {f"{NAME}-{CONTROLLER}", f"{NAME}-crds"}
    assert writes[f"{NAME}-crds"].keys() == {("patch", "customresourcedefinitions")}
    done = writes[f"{NAME}-{CONTROLLER}"]
    assert done.keys() <= {
        ("create", "events"),
        ("create", "federatedstoragebindings"),
        ("delete", "federatedstoragebindings"),
        ("patch", "federatedstoragebindings"),
        ("patch", "federatedstoragebindings/status"),
        ("create", "serviceaccounts/token"),
        ("patch", "deployments"),
        ("create", "secrets"),
        ("patch", "secrets"),
        ("patch", "storagefederations/status"),
        ("patch", "mutatingwebhookconfigurations"),
        ("create", "mutatingwebhookconfigurations"),
    }
    assert done["create", "federatedstoragebindings"] >= 1
    assert done["delete", "federatedstoragebindings"] >= 1
    assert done["patch", "federatedstoragebindings/status"] >= 2
    assert done["patch", "storagefederations/status"] >= 1


@pytest.mark.parametrize("fs_group", [None, 2000], ids=["without-fsgroup", "with-fsgroup"])
def test_a_non_root_user_reads_the_token(
    walked: Walked, namespace: str, fs_group: int | None
) -> None:
    context = {"runAsUser": 1234, **({"fsGroup": fs_group} if fs_group else {})}
    script = f"id -u; cat {MOUNT}/cks-pod-identity-token"
    log = walked.run(pod(namespace, "token", BUSYBOX, script, securityContext=context))
    assert log.split()[0] == "1234"
    assert log.split()[1].count(".") == 2


@pytest.fixture(autouse=True)
def _reader(request: pytest.FixtureRequest) -> None:
    """Give the test's namespace the ServiceAccount `reader`, if it has one."""
    if "namespace" in request.fixturenames:
        walked: Walked = request.getfixturevalue("walked")
        namespace: str = request.getfixturevalue("namespace")
        walked.apply(account(namespace, "reader"))


def test_the_token_has_the_claims_that_the_principal_is_made_of(
    walked: Walked, namespace: str
) -> None:
    script = f"cat {MOUNT}/cks-pod-identity-token"
    token = walked.run(pod(namespace, "token", BUSYBOX, script))
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    status = walked.wait_ready(namespace, "reader")["status"]
    assert status["principal"] == f"role/{claims['iss']}:{claims['sub']}"
    assert claims["aud"] == [status["audience"]]
    assert claims["exp"] - claims["iat"] == 3600
    assert not token.endswith("\n")


def test_a_binding_with_client_configuration_needs_nothing_in_the_pod(
    walked: Walked, namespace: str
) -> None:
    walked.apply(bound(namespace, client={"endpoint": "LOTA"}))
    policy(walked, namespace, "reader")
    log = walked.run(pod(namespace, "list", walked.walk.images.cli, "aws s3api list-buckets"))
    assert buckets(log) == BUCKETS


def test_init_containers_and_native_sidecars_get_credentials_too(
    walked: Walked, namespace: str
) -> None:
    walked.apply(bound(namespace, client={"endpoint": "LOTA"}))
    policy(walked, namespace, "reader")
    aws = {"image": walked.walk.images.cli, "command": ["aws", "s3api", "list-buckets"]}
    idle = {"image": BUSYBOX, "command": ["sh", "-c", "sleep 3600 & wait"]}
    init = [
        {"name": "sidecar", "restartPolicy": "Always", **idle},
        {"name": "init", **aws},
    ]
    body = pod(namespace, "init", BUSYBOX, "true", initContainers=init)
    log = walked.run(body)
    assert buckets(log) == BUCKETS
    text = walked.stage.kubectl.run("get", "pod", "init", f"-n={namespace}", "-o=json")
    sidecar = json.loads(text)["spec"]["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always"
    assert {m["mountPath"] for m in sidecar["volumeMounts"]} >= {MOUNT}


def test_an_audience_that_is_not_registered_is_refused_by_the_exchange(
    walked: Walked, namespace: str
) -> None:
    walked.apply(bound(namespace, client={"endpoint": "LOTA"}, audience="not-registered"))
    policy(walked, namespace, "reader")
    script = "aws s3api list-buckets || true"
    log = walked.run(pod(namespace, "list", walked.walk.images.cli, script))
    assert "Received non 200 response 400" in log
    assert "Invalid token" in log


def test_pods_of_a_deployment_are_injected(walked: Walked, namespace: str) -> None:
    template = pod(namespace, "x", BUSYBOX, "sleep 3600 & wait", restartPolicy="Always")
    labels = {"app": "idle"}
    walked.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "idle", "namespace": namespace},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
    )
    path = "-o=jsonpath={range .items[*]}{.metadata.labels.caios\\.coreweave\\.com/federated} {end}"

    def federated() -> bool:
        where = (f"-n={namespace}", "-l=app=idle")
        return walked.stage.kubectl.run("get", "pods", *where, path).split() == ["true"] * 2

    assert eventually(federated, DEADLINE_SECONDS)


def test_no_log_holds_a_token_or_a_secret(walked: Walked, namespace: str) -> None:
    """A Pod prints what it was given; what it prints must stand in no log of ours."""
    walked.apply(bound(namespace))
    policy(walked, namespace, "reader")
    # Version 1 of the AWS CLI has no export-credentials; its own botocore tells the key.
    session = "from awscli.botocore.session import Session"
    keys = f"{session}; print(Session().get_credentials().secret_key)"
    script = (
        f"cat {MOUNT}/cks-pod-identity-token; echo; PYTHONPATH=/opt/aws-cli python3 -c '{keys}'"
    )
    token, secret = walked.run(pod(namespace, "keys", walked.walk.images.cli, script)).split()
    assert token.startswith("eyJ")
    assert secret.startswith("cwo")
    release = walked.stage.release
    logs = {
        replica.name: "\n".join(release.logs(replica))
        for role in (WEBHOOK, WEBHOOK_AGAIN, CONTROLLER)
        for replica in release.replicas(role)
    }
    assert len(logs) >= 4
    assert any("pod admitted" in text for name, text in logs.items() if WEBHOOK in name)
    logs |= {log.name: log.read_text() for log in walked.stage.emulator.logs}
    assert "coreweave.log" in logs
    for name, text in logs.items():
        assert [mark for mark in ("eyJ", secret, DEMO_TOKEN) if mark in text] == [], name
