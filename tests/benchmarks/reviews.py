"""AdmissionReviews as API servers send them: of a usual Pod (6.8 KB), of a large one (60 KB)."""

import orjson

import builders
from builders import Json

NAMESPACE = "team-a"
PLAIN, FEDERATED = "plain", "reader"
"""ServiceAccounts: one that needs nothing, one that is annotated."""
_USUAL_BYTES, _LARGE_BYTES = 6_800, 60_000
_LARGE_CONTAINERS = 20


def usual(account: str) -> bytes:
    """Return the review of a Pod of two containers."""
    return _padded(account, containers=2, size=_USUAL_BYTES)


def large(account: str) -> bytes:
    """Return the review of a Pod of twenty containers."""
    return _padded(account, containers=_LARGE_CONTAINERS, size=_LARGE_BYTES)


def _padded(account: str, *, containers: int, size: int) -> bytes:
    """Return a review of about `size` bytes: variables of its containers make up for the rest."""
    variables = 0
    while len(body := orjson.dumps(_review(account, containers, variables))) < size:
        variables += 1
    return body


def _review(account: str, containers: int, variables: int) -> Json:
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "b7b3a5c3-2f3a-4f0f-9d6c-0e9a4a6b8a11",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": _pod(account, containers, variables),
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }


def _pod(account: str, containers: int, variables: int) -> Json:
    pod = builders.pod(
        *(_container(f"worker-{number}", variables) for number in range(containers)),
        labels={"app": "worker", "pod-template-hash": "7c6d9f8b5d"},
        serviceAccountName=account,
        volumes=[_token_volume()],
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        tolerations=[
            {
                "key": f"node.kubernetes.io/{trouble}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for trouble in ("not-ready", "unreachable")
        ],
        enableServiceLinks=True,
        preemptionPolicy="PreemptLowerPriority",
    )
    pod["metadata"] |= {
        "generateName": "worker-7c6d9f8b5d-",
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "worker-7c6d9f8b5d",
                "uid": "3a1a9c1e-1b7e-4b1c-8a3e-9a5c7c1f2d3e",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return pod


def _container(name: str, variables: int) -> Json:
    return builders.container(
        name,
        env={f"SETTING_{at:03}": f"value-of-setting-{at:03}" for at in range(variables)},
        command=["python", "-m", "worker", f"--name={name}", "--verbose"],
        resources={"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "1"}},
        volumeMounts=[
            {
                "name": "kube-api-access-x7k2p",
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            }
        ],
        readinessProbe={
            "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        imagePullPolicy="IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )


def _token_volume() -> Json:
    return {
        "name": "kube-api-access-x7k2p",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
            ],
        },
    }
