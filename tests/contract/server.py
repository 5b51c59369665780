"""The API server under test, as a client sees it that applies objects."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

from contract.examples import Document

_Answer = TypeVar("_Answer")
_PATIENCE_SECONDS = 30.0
_CONTENT_TYPES = {"patch": "application/apply-patch+yaml"}
_PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "FederatedStorageBinding": (
        "/apis/caios.coreweave.com/v1alpha1/namespaces/{namespace}/federatedstoragebindings"
    ),
    "StorageFederation": "/apis/caios.coreweave.com/v1alpha1/storagefederations",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
}


class Rejected(Exception):
    """The API server refused an object; the text is its message."""


@dataclass(frozen=True, slots=True)
class Server:
    """Applies, reads and deletes objects, server-side."""

    client: DynamicClient
    kubectl_path: Path
    kubeconfig: Path
    cache: Path

    @classmethod
    def connect(cls, client: ApiClient, kubectl: Path, kubeconfig: Path, cache: Path) -> "Server":
        """Return a server whose clients keep what they cache in `cache`."""
        cache_file = str(cache / "discovery.json")
        dynamic = DynamicClient(client, cache_file)  # type: ignore[no-untyped-call]
        return cls(dynamic, kubectl, kubeconfig, cache)

    def apply(
        self,
        document: Document,
        *,
        dry_run: bool = False,
        manager: str = "contract",
        subresource: str = "",
        validation: str = "Strict",
    ) -> Document:
        """Apply `document` and return the object as it then is. Raises Rejected."""
        query = [("fieldManager", manager), ("fieldValidation", validation)]
        if dry_run:
            query.append(("dryRun", "All"))
        return self._request(
            "patch",
            _path(document, document["metadata"]["name"]) + subresource,
            query,
            # Written by YAML's own rules: the client would write JSON, whose two escapes for "🚀"
            # the server, which reads an apply as YAML, refuses.
            yaml.safe_dump(document),
        )

    def create(self, document: Document, *, validation: str = "Strict") -> Document:
        """Return what a POST of `document` would make; nothing is kept. Raises Rejected."""
        return self._request("post", _path(document), _dry_run(validation), document)

    def update(self, document: Document) -> Document:
        """Return what a PUT of `document` would make; nothing is kept. Raises Rejected."""
        path = _path(document, document["metadata"]["name"])
        current = {"resourceVersion": self.get(document)["metadata"]["resourceVersion"]}
        replacement = {**document, "metadata": {**document["metadata"], **current}}
        return self._request("put", path, _dry_run("Strict"), replacement)

    def get(self, document: Document) -> Document:
        """Return the object of the document's kind and name. Raises Rejected."""
        return self._request("get", _path(document, document["metadata"]["name"]), [])

    def delete(self, document: Document) -> None:
        """Delete the object of the document's kind and name. Raises Rejected."""
        self._request("delete", _path(document, document["metadata"]["name"]), [])

    def delete_all(self, document: Document) -> None:
        """Delete every object of the document's kind in its namespace."""
        self._request("delete", _path(document), [])

    def described_kinds(self, api: str) -> set[str]:
        """Return the kinds that the OpenAPI document of `api` describes; none where it has none."""
        try:
            document = self._request("get", f"/openapi/v3/{api}", [])
        except Rejected:
            return set()
        schemas = document["components"]["schemas"].values()
        key = "x-kubernetes-group-version-kind"
        return {each["kind"] for schema in schemas for each in schema.get(key, ())}

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints. A warning or an error fails the test."""
        done = subprocess.run(
            [
                self.kubectl_path,
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self.cache}",
                *arguments,
            ],
            capture_output=True,
            check=False,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def _request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Document | str | None = None,
    ) -> Document:
        try:
            response = self.client.request(
                method,
                path,
                body=body,
                query_params=query,
                content_type=_CONTENT_TYPES.get(method, "application/json"),
                serialize=False,
            )
        except (DynamicApiError, ApiException) as error:
            raise Rejected(_message(error.body or "")) from error
        answer: Document = json.loads(response.data)
        return answer


def wait_until(probe: Callable[[], _Answer | None], what: str) -> _Answer:
    """Return the first answer of `probe` that is not None; fail after a while."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (answer := probe()) is None:
        assert time.monotonic() < deadline, f"waited {_PATIENCE_SECONDS:.0f} s for {what}"
        time.sleep(0.05)
    return answer


def _message(body: str) -> str:
    """Return the message of a Status; a path that is not served is answered with a plain text."""
    try:
        return str(json.loads(body)["message"])
    except ValueError:
        return body


def _dry_run(validation: str) -> list[tuple[str, str]]:
    return [("dryRun", "All"), ("fieldValidation", validation)]


def _path(document: Document, name: str = "") -> str:
    namespace = document["metadata"].get("namespace", "default")
    collection = _PATHS[document["kind"]].format(namespace=namespace)
    return f"{collection}/{name}" if name else collection
