"""The few calls to the API server that bring a cluster up, without starting kubectl for each."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.pki import Pki

TIMEOUT_SECONDS = 5
"""One call. The API server is a hop away; longer means that it does not work."""

ANONYMOUS_DISCOVERY = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "caios-testbed:public-issuer-discovery"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:service-account-issuer-discovery",
    },
    "subjects": [
        {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": "system:unauthenticated",
        }
    ],
}
"""The issuer of a hosted cluster is public: anyone may read its keys, without credentials."""


@dataclass(frozen=True, slots=True)
class Api:
    """The API server at `url`, as the cluster's administrator."""

    url: str
    pki: Pki

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of one call; raises OSError or HTTPException without answer."""
        context = ssl.create_default_context(cafile=self.pki.ca)
        context.load_cert_chain(self.pki.certificate("admin"), self.pki.key("admin"))
        address = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=TIMEOUT_SECONDS, context=context
        )
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        """Whether GET `path` is answered with 200."""
        try:
            return self.call("GET", path)[0] == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the object at `path`; None while it is not there or cannot be read."""
        try:
            status, body = self.call("GET", path)
            found: dict[str, Any] = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return found if status == HTTPStatus.OK else None

    def node_ready(self, name: str) -> bool:
        """Whether the node called `name` is ready, and nothing keeps Pods from it."""
        node = self.get(f"/api/v1/nodes/{name}")
        if node is None or node["spec"].get("taints"):
            return False
        conditions = node.get("status", {}).get("conditions", [])
        return {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in conditions}.items()

    def publish_discovery(self) -> None:
        """Let anyone read the issuer's discovery document and keys.

        Raises ClusterError when the API server refuses.
        """
        group = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        status, body = self.call("POST", group, ANONYMOUS_DISCOVERY)
        if status not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            raise ClusterError(
                "kube-apiserver: binding system:service-account-issuer-discovery to everyone "
                f"was answered {status}: {body[:256].decode(errors='replace')}"
            )
