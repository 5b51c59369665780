"""All that the operator ever does to a cluster, one after the other, each until it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from caios_testbed.cluster.waiting import eventually
from caios_testbed.coreweave.settings import DEMO_TOKEN
from caios_testbed.product import CRDS
from caios_testbed.release import CONTROLLER, NAME, WEBHOOK, Release, Values, deployment
from e2e.production.identities import ask, review
from e2e.production.recording import Recording
from e2e.production.site import Json, Site, merged

DEADLINE_SECONDS = 120.0
"""Of each step. The longest, that of the restarts, takes half a minute on an idle machine."""
TOKEN_SECRET = "coreweave-api-token"  # a name
TLS_SECRET = f"{NAME}-webhook-tls"
LEASE = f"{NAME}-controller"
RETAINED = f"{NAME}-retained-policies"
API = "caios.coreweave.com/v1alpha1"
INJECT = "caios.coreweave.com/inject"
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")

MANAGED: Values = {
    "federation": {
        "apiTokenSecretName": TOKEN_SECRET,
        "policyManagement": "Managed",
        "trustManagement": "Managed",
        "grantRules": [
            {
                "name": "all",
                "namespaceSelector": {},
                "buckets": ["*"],
                "access": ["ReadOnly", "ReadWrite"],
            }
        ],
    },
    # Who terminates is waited for by nobody here.
    "webhook": {"preStopSeconds": 1, "lameDuckSeconds": 1},
    "settings": {
        "CAIOS_CERTIFICATES__CHECK_SECONDS": 2,
        "CAIOS_RECONCILE__MISSED_SECONDS": 2,
        "CAIOS_RECONCILE__PROBE_SECONDS": 3,
        "CAIOS_REMEDIATION__RESTARTS_PER_MINUTE": 600,
    },
}
"""Everything that a StorageFederation can switch on, and no waiting."""
FULL: Values = merged(MANAGED, {"verification": {"enabled": True}, "controller": {"replicas": 2}})


def wait_for(probe: Callable[[], object], expected: object) -> None:
    """Return as soon as `probe` answers `expected`; fail with its last answer after a while."""
    last: list[object] = []

    def holds() -> bool:
        last[:] = [probe()]
        return last[0] == expected

    assert eventually(holds, DEADLINE_SECONDS), f"still {last[0]!r}, not {expected!r}"


def binding(namespace: str, name: str, **spec: Any) -> Json:  # noqa: ANN401  # JSON
    """Return a binding of the ServiceAccount `name`, with a grant."""
    grant = {"name": "data", "buckets": [f"{name}-data"], "access": "ReadOnly"}
    return {
        "apiVersion": API,
        "kind": "FederatedStorageBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serviceAccountName": name, "grants": [grant], **spec},
    }


def account(namespace: str, name: str, **annotations: str) -> Json:
    """Return a ServiceAccount."""
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def pod(namespace: str, name: str, service_account: str, image: str) -> Json:
    """Return a Pod that idles."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": service_account,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "app", "image": image}],
        },
    }


def put_token(site: Site) -> None:
    """Put CoreWeave's API token into the operator's namespace, as the federation names it."""
    namespace = site.release.namespace
    if not site.get("namespace", namespace):
        site.kubectl.run("create", "namespace", namespace)
    metadata = {"name": TOKEN_SECRET, "namespace": namespace}
    content = {"stringData": {"token": DEMO_TOKEN}}
    site.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **content})


@dataclass(frozen=True, slots=True)
class Run:
    """The operator at work for the namespace `namespace`."""

    site: Site
    release: Release
    recording: Recording
    namespace: str

    def read_an_account_live(self) -> None:
        """Ask about a Pod whose ServiceAccount no cache has, since there is none.

        The API server refuses such a Pod by itself, and the watch of ServiceAccounts is faster than
        a Pod that follows its own.
        """
        ask(self.site, self.release, [review(self.namespace, "nobody")])
        assert eventually(self._read_an_account, DEADLINE_SECONDS)

    def _read_an_account(self) -> bool:
        return self.recording.has_used(WEBHOOK, "get", "serviceaccounts")

    def restart_what_missed(self) -> None:
        """Have one workload of each kind miss injection, and wait until all are right again."""
        self.site.apply(account(self.namespace, "late"), *map(self._workload, KINDS))
        for kind in ("deployment", "statefulset", "daemonset"):
            self._run("rollout", "status", f"{kind}/trainer", f"--timeout={DEADLINE_SECONDS:.0f}s")
        wait_for(lambda: self._get("replicaset", "trainer")["status"].get("readyReplicas"), 1)
        self.site.apply(binding(self.namespace, "late", remediation="Restart"))
        wait_for(self._federated, (len(KINDS), len(KINDS)))
        wait_for(lambda: self.reason("late"), "Ready")

    def retain_policies(self) -> None:
        """Delete two bindings whose policies stay, and one whose policy goes."""
        retained = {"kept": "Retain", "kept-too": "Retain", "gone": "Delete"}
        for name, policy in retained.items():
            self.site.apply(account(self.namespace, name))
            self.site.apply(binding(self.namespace, name, deletionPolicy=policy))
        for name in retained:
            wait_for(partial(self.reason, name), "Ready")
            self._run("delete", "fsb", name)
        where = f"--namespace={self.release.namespace}"
        kept = self.site.get("configmap", RETAINED, where)["data"].values()
        assert set(kept) == {f"{self.namespace}/{name}" for name in ("kept", "kept-too")}

    def follow_an_annotation(self) -> None:
        """Annotate a ServiceAccount, and take the annotation away."""
        self.site.apply(account(self.namespace, "annotated", **{INJECT: "true"}))
        wait_for(lambda: self.reason("annotated") != "", expected=True)
        self._run("annotate", "serviceaccount", "annotated", f"{INJECT}-")
        wait_for(lambda: self._get("fsb", "annotated"), {})

    def heal_the_webhook(self) -> None:
        """Delete the webhook configuration, and add to the one that comes."""
        kind, kubectl = "mutatingwebhookconfiguration", self.site.kubectl
        before = self.site.get(kind, NAME)
        kubectl.run("delete", kind, NAME)
        wait_for(lambda: bool(self.site.get(kind, NAME)), expected=True)
        extra = {**before["webhooks"][0], "name": "extra.example.com"}
        patch = json.dumps([{"op": "add", "path": "/webhooks/-", "value": extra}])
        kubectl.run("patch", kind, NAME, "--type=json", f"--patch={patch}")
        names = [each["name"] for each in before["webhooks"]]
        wait_for(lambda: [each["name"] for each in self.site.get(kind, NAME)["webhooks"]], names)

    def renew_the_certificate(self) -> None:
        """Delete the certificate's Secret, and spoil the one that comes."""
        kubectl, where = self.site.kubectl, f"--namespace={self.release.namespace}"

        def files() -> set[str]:
            data = self.site.get("secret", TLS_SECRET, where).get("data", {})
            return {name for name, text in data.items() if text}

        whole = files()
        kubectl.run("delete", "secret", TLS_SECRET, where)
        wait_for(files, whole)
        patch = json.dumps({"data": {"tls.crt": ""}})
        kubectl.run("patch", "secret", TLS_SECRET, where, "--type=merge", f"--patch={patch}")
        wait_for(files, whole)

    def hand_the_lease_over(self) -> None:
        """Delete the controller that leads, and wait until another one does."""
        leader = self._leader()
        (replica,) = [each for each in self.release.replicas(CONTROLLER) if each.name == leader]
        self.release.delete(replica)
        wait_for(lambda: self._leader() not in {"", leader}, expected=True)
        self.release.wait_ready()

    def bring_a_crd_back(self, values: Values) -> None:
        """Delete the CRD of bindings, as by mistake, and upgrade."""
        self.site.kubectl.run("delete", "crd", CRDS[0])
        labels = {"commonLabels": {"upgraded": "true"}}
        self.release.upgrade(merged(values, labels), self.site.operator)
        wait_for(lambda: bool(self.site.get("crd", CRDS[0])), expected=True)

    def leave_something_behind(self) -> None:
        """Have a finalizer, and a webhook configuration that nothing would collect.

        As one that was restored from a backup.
        """
        self.site.apply(account(self.namespace, "left"), binding(self.namespace, "left"))
        wait_for(lambda: self.reason("left"), "Ready")
        self.stop_the_controller()
        patch = json.dumps({"metadata": {"ownerReferences": None}})
        kind = "mutatingwebhookconfiguration"
        self.site.kubectl.run("patch", kind, NAME, "--type=merge", f"--patch={patch}")

    def lose_the_lease(self) -> None:
        """Delete the Lease while nobody holds it."""
        self.stop_the_controller()
        self.site.kubectl.run("delete", "lease", LEASE, f"--namespace={self.release.namespace}")

    def stop_the_controller(self) -> None:
        """Have no controller, and wait until the last one has given the Lease back."""
        where = f"--namespace={self.release.namespace}"
        self.site.kubectl.run("scale", deployment(CONTROLLER), "--replicas=0", where)
        wait_for(lambda: self.release.replicas(CONTROLLER), [])

    def reason(self, name: str) -> str:
        """Return the reason of a binding's Ready."""
        conditions = self._get("fsb", name).get("status", {}).get("conditions", ())
        return next((each["reason"] for each in conditions if each["type"] == "Ready"), "")

    def _federated(self) -> tuple[int, int]:
        pods = self._get("fsb", "late").get("status", {}).get("pods", {})
        return pods.get("federated", 0), pods.get("total", 0)

    def _leader(self) -> str:
        lease = self.site.get("lease", LEASE, f"--namespace={self.release.namespace}")
        holder: str = lease["spec"].get("holderIdentity") or ""
        return holder.rpartition("_")[0]

    def _workload(self, kind: str) -> Json:
        labels = {"app": f"trainer-{kind.lower()}"}
        template = pod(self.namespace, "trainer", "late", self.site.workload)["spec"]
        spec: Json = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        }
        if kind == "StatefulSet":
            spec["serviceName"] = "trainer"
        metadata = {"name": "trainer", "namespace": self.namespace}
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}

    def _get(self, kind: str, name: str) -> Json:
        return self.site.get(kind, name, f"--namespace={self.namespace}")

    def _run(self, *arguments: str) -> str:
        return self.site.kubectl.run(*arguments, f"--namespace={self.namespace}")
