"""A team with two federated identities, and what becomes of their Pods."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from caios_federation.api import vocabulary as words
from caios_testbed.cluster.waiting import eventually
from caios_testbed.podload import pods
from caios_testbed.podload.pods import Account
from caios_testbed.release import NAME, WEBHOOK, WEBHOOK_AGAIN, Release
from e2e.production.faults import DEADLINE_SECONDS
from e2e.production.site import Json, Site

ANNOTATED, BOUND = "annotated", "bound"
"""ServiceAccounts that are federated by an annotation and by a binding of that name."""


@dataclass(frozen=True, slots=True)
class Team:
    """A namespace of a site."""

    site: Site
    namespace: str

    def manifests(self) -> list[Json]:
        """Return the namespace and both identities; the bound one has its Pods restarted."""
        annotated, bound = self.plain_accounts()
        annotated["metadata"]["annotations"] = {words.INJECT: words.TRUE}
        binding = {
            "apiVersion": words.API_VERSION,
            "kind": words.BINDING_KIND,
            "metadata": {"name": BOUND, "namespace": self.namespace},
            "spec": {"serviceAccountName": BOUND, "remediation": "Restart"},
        }
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        return [namespace, annotated, bound, binding]

    def plain_accounts(self) -> list[Json]:
        """Return both ServiceAccounts as anybody else's."""
        return [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": self.namespace},
            }
            for name in (ANNOTATED, BOUND)
        ]

    def deployment(self, replicas: int) -> Json:
        """Return a Deployment of the bound identity that idles."""
        container = {
            "name": "main",
            "image": self.site.workload,
            "command": ["sh", "-c", "exec sleep 100000"],
        }
        labels = {"app": "worker"}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "worker", "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "serviceAccountName": BOUND,
                        "terminationGracePeriodSeconds": 0,
                        "containers": [container],
                    },
                },
            },
        }

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints of something in the namespace."""
        return self.site.kubectl.run(f"--namespace={self.namespace}", *arguments)

    def pods(self) -> list[Json]:
        """Return the Pods that run and are to stay."""
        found: list[Json] = self.site.get("pods", f"--namespace={self.namespace}")["items"]
        return [
            pod
            for pod in found
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def status(self, binding: str) -> dict[str, Any]:
        """Return the status of a binding."""
        where = f"--namespace={self.namespace}"
        found: dict[str, Any] = self.site.get("fsb", binding, where).get("status", {})
        return found

    def condition(self, binding: str, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition of a binding, empty where it has none."""
        for condition in self.status(binding).get("conditions", ()):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    def injected(self, account: str) -> bool:
        """Tell whether a Pod of a ServiceAccount would be injected, by a dry run."""
        manifest = json.dumps(pods.pod("asked", Account(account, expected=False), {}))
        arguments = ("create", "--dry-run=server", "--filename=-", "--output=json")
        where = f"--namespace={self.namespace}"
        return pods.injected(
            json.loads(self.site.kubectl.run(*arguments, where, manifest=manifest))
        )

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds."""
        told = f"not within the deadline: {what}"
        assert eventually(condition, DEADLINE_SECONDS), f"{told}; {self.status(BOUND)}"

    def wait_ready(self) -> None:
        """Return when the binding is Ready."""
        self.wait(lambda: self.condition(BOUND, "Ready")[0] == "True", "a binding that is Ready")


def review(namespace: str, account: str) -> Json:
    """Return what the API server would send of a Pod of a ServiceAccount."""
    pod = pods.pod("asked", Account(account, expected=False), {})
    pod["metadata"]["namespace"] = namespace
    request = {
        "uid": "asked",
        "operation": "CREATE",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "object": pod,
    }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request,
    }


def ask(site: Site, release: Release, reviews: Sequence[Json]) -> list[Json]:
    """Return the answer of each replica of the webhook to each review."""
    selector = f"app.kubernetes.io/component in ({WEBHOOK},{WEBHOOK_AGAIN})"
    where = (f"--namespace={release.namespace}", f"--selector={selector}")
    addresses = [pod["status"]["podIP"] for pod in site.get("pods", *where)["items"]]
    assert len(addresses) > 1, f"replicas of {NAME}: {addresses}"
    return [_ask(site, address, each) for address in addresses for each in reviews]


def _ask(site: Site, address: str, review: Json) -> Json:
    """Send a review to a replica as the API server does, but for whom it trusts."""
    url = f"https://{address}:9443{words.MUTATE_PATH}"
    options = ("--silent", "--show-error", "--fail", "--insecure", "--max-time", "10")
    body = ("--header", "Content-Type: application/json", "--data-binary", "@-")
    done = subprocess.run(
        site.cluster.command_inside("curl", *options, *body, url),
        input=json.dumps(review),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    answer: Json = json.loads(done.stdout)
    return answer
