"""An API server that keeps objects, with versions and conflicts, and can be told to refuse."""

import copy
from dataclasses import dataclass, field

from aiohttp import web

import builders
from component.clients.api_server import Seen, failure, reply

CONFIGURATION = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/caios-federation"
)
SECRETS = "/api/v1/namespaces/caios-federation/secrets"
SECRET = f"{SECRETS}/caios-federation-webhook-tls"


@dataclass(slots=True)
class Objects:
    """Objects by their path. Applying sets what is said, as the real one does for one manager."""

    stored: dict[str, builders.Json] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    """The status that requests `METHOD path` get instead."""
    version: int = 100

    async def __call__(self, request: Seen) -> web.StreamResponse:
        if status := self.refusals.get(f"{request.method} {request.path}"):
            return failure(status, "refused")
        if request.method == "GET":
            found = self.stored.get(request.path)
            return reply(**found) if found else failure(404)
        if request.method == "POST":
            path = f"{request.path}/{request.json['metadata']['name']}"
            return failure(409, "exists") if path in self.stored else self.put(path, request.json)
        return self._written(request)

    def _written(self, request: Seen) -> web.StreamResponse:
        """Apply, merge or replace."""
        body, found = request.json, self.stored.get(request.path)
        if found is None:
            applies = "apply" in request.headers["Content-Type"]
            return self.put(request.path, body) if applies else failure(404)
        if body["metadata"].get("resourceVersion") not in {
            None,
            found["metadata"]["resourceVersion"],
        }:
            return failure(409, "the object has been modified")
        return self.put(request.path, merged(found, body) if request.method == "PATCH" else body)

    def put(self, path: str, body: builders.Json) -> web.StreamResponse:
        """Keep `body`."""
        self.version += 1
        kept = copy.deepcopy(body)
        kept["metadata"]["resourceVersion"] = str(self.version)
        self.stored[path] = kept
        return reply(**kept)


def merged(before: builders.Json, patch: builders.Json) -> builders.Json:
    """Merge objects; whatever else is replaced."""
    both = {**before, **patch}
    for key in before.keys() & patch.keys():
        if isinstance(before[key], dict) and isinstance(patch[key], dict):
            both[key] = merged(before[key], patch[key])
    return both
