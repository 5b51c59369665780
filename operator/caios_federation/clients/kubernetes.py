"""The Kubernetes API, in the words of this project.

Requests go through the official client's connection, login and pool, but its models are left out:
bodies are plain JSON, read by orjson (a LIST of 10,000 objects costs a tenth of the models' time).
"""

import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode
from urllib.request import getproxies

import aiohttp
import orjson
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject
from pydantic import SecretStr

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json, mapping_of
from caios_federation.clients import errors, fence
from caios_federation.clients.sockets import watchful_socket
from caios_federation.clients.watches import (
    CONNECT_SECONDS,
    SILENCE_SECONDS,
    WATCH_SECONDS,
    WatchEvent,
    read_events,
)
from caios_federation.core.errors import ParseError
from caios_federation.core.principal import Issuer, parse_issuer

_APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
"""With a charset the official client sends our text as it is. Without one it would write JSON with
surrogate escapes, which the API server, reading YAML, refuses (an emoji in an audience)."""
_MERGE: Final = "application/merge-patch+json"
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON takes as they are and YAML does not (YAML 1.2.2,
section 5.1)."""
_WARNING: Final = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
_SERVICE_ACCOUNT_FILES: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SHOWN: Final = 256
"""Characters of a foreign message that are passed on."""
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAME_PARTS: Final = 2
"""Parts of a path: a resource and a name."""
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_ERRORS: Final[Mapping[int, type[errors.ClientError]]] = {
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    409: errors.WriteConflict,
    410: errors.Expired,
    429: errors.RateLimited,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and where the API serves it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, an object or a subresource."""
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [root, self.api_version]
        parts += ["namespaces", quote(namespace, safe="")] if namespace else []
        parts.append(self.plural)
        parts += [quote(name, safe="")] if name else []
        parts += [subresource] if subresource else []
        return "/".join(parts)


SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
EVENT: Final = Kind("v1", "Event", "events")
NAMESPACE: Final = Kind("v1", "Namespace", "namespaces")
SECRET: Final = Kind("v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
POD: Final = Kind("v1", "Pod", "pods")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SET: Final = Kind("apps/v1", "StatefulSet", "statefulsets")
DAEMON_SET: Final = Kind("apps/v1", "DaemonSet", "daemonsets")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
BINDING: Final = Kind(words.API_VERSION, words.BINDING_KIND, words.BINDINGS)
FEDERATION: Final = Kind(words.API_VERSION, words.FEDERATION_KIND, words.FEDERATIONS)
DEFINITION: Final = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"
)
CLUSTER_ROLE: Final = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
WEBHOOK_CONFIGURATION: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
)


@dataclass(frozen=True, slots=True)
class Login:
    """How the API server is reached, and as whom: for Kopf, which has a client of its own."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    key_path: str | None
    scheme: str | None
    token: SecretStr | None
    verify: bool


class Page(NamedTuple):
    """A part of a LIST."""

    items: Sequence[Json]
    version: str
    """Of the whole list: a watch from it on misses nothing."""


Answered = Callable[[str, str, int | None], None]
"""Told of each request: verb and resource as RBAC has them, and the status, None without one."""


class KubernetesClient:
    """One connection pool to the API server."""

    def __init__(
        self,
        api: ApiClient,
        *,
        timeout_seconds: float = 30,
        answered: Answered = lambda _verb, _resource, _status: None,
    ) -> None:
        self._api = api
        self._answered = answered
        self._timeout = timeout_seconds

    async def login(self) -> Login:
        """Load the credentials anew, for this client too: those of plug-ins expire."""
        settings = self._api.configuration
        await _load(settings)
        scheme, _, token = str(settings.api_key.get("BearerToken") or "").partition(" ")
        return Login(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            key_path=settings.key_file,
            scheme=scheme or None,
            token=SecretStr(token) if token else None,
            verify=bool(settings.verify_ssl),
        )

    async def read(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return an object as it is now. Raises NotFound."""
        return await self._request("GET", kind.path(namespace, name))

    async def list_objects(
        self, kind: Kind, *, namespace: str = "", fields: str = "", page_size: int = 500
    ) -> AsyncIterator[Json]:
        """Yield all objects of `kind`, as of one moment that is not before the call.

        `fields` is a field selector, such as `spec.serviceAccountName=trainer`.
        Without a resourceVersion, so that the answer is consistent and never from a stale cache.
        Raises Expired when a page is asked for too late: the caller starts again.
        """
        async for page in self.list_pages(
            kind, namespace=namespace, fields=fields, page_size=page_size
        ):
            for item in page.items:
                yield item

    async def list_pages(
        self, kind: Kind, *, namespace: str = "", fields: str = "", page_size: int = 500
    ) -> AsyncIterator[Page]:
        """Yield what `list_objects` does, page by page."""
        path, query = kind.path(namespace), {"limit": str(page_size)}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            page = await self._request("GET", f"{path}?{urlencode(query)}")
            if "items" not in page:
                raise errors.Unavailable(f"API server: GET {path}: the answer is no list")
            meta = page.get("metadata") or {}
            yield Page(page["items"] or (), str(meta.get("resourceVersion") or ""))
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    async def watch(self, kind: Kind, version: str) -> AsyncIterator[WatchEvent]:
        """Yield what happens to objects of `kind` after `version`, until the watch ends.

        It ends after some minutes; going on from the last version loses nothing. Raises Expired
        where `version` is too old for that: events were lost.
        """
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path = kind.path()
        what, headers = f"watch of {kind.plural}", {"Accept": "application/json"}
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            serialized = await self._api.param_serialize(
                "GET",
                f"{path}?{urlencode(query)}",
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*serialized, _request_timeout=timeout)
            self._answered("watch", kind.plural, response.status)
            async with response.response as stream:
                if response.status >= _CLIENT_ERROR:
                    answer = _object_of(await stream.read()) or {}
                    raise _error_of(response.status, answer, what)
                async for event in read_events(stream.content, what):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._answered("watch", kind.plural, None)
            raise errors.Unavailable(f"API server: {what}: {type(error).__name__}") from error

    async def discover_issuer(self) -> Issuer:
        """Return the issuer that the API server signs ServiceAccount tokens with.

        Raises Rejected when its discovery document holds no usable one.
        """
        document = await self._request("GET", "/.well-known/openid-configuration")
        try:
            return parse_issuer(str(document.get("issuer")))
        except ParseError as error:
            raise errors.Rejected(f"the API server's discovery document: {error}") from error

    async def apply(self, kind: Kind, body: Json) -> Json:
        """Apply `body` as our field manager, taking over fields that others set."""
        return await self._apply(kind, body, "")

    async def apply_status(self, kind: Kind, body: Json) -> Json:
        """Apply `body`'s status as our field manager."""
        return await self._apply(kind, body, "status")

    async def create(self, kind: Kind, body: Json) -> Json:
        """Create an object. Raises WriteConflict when the name is taken."""
        path = kind.path(body["metadata"].get("namespace", ""))
        query = urlencode({"fieldManager": words.MANAGER})
        full = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        return await self._request("POST", f"{path}?{query}", body=full)

    async def try_create(self, kind: Kind, body: Json) -> tuple[Json, tuple[str, ...]]:
        """Return what an object would be stored as, admission included, and the warnings.

        Nothing is stored (a dry run). Raises ClientError as `create` does.
        """
        path = kind.path(body["metadata"].get("namespace", ""))
        query = urlencode({"fieldManager": words.MANAGER, "dryRun": "All"})
        full = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        warnings: list[str] = []
        stored = await self._request("POST", f"{path}?{query}", body=full, warnings=warnings)
        return stored, tuple(warnings)

    async def replace(self, kind: Kind, body: Json) -> Json:
        """Put `body` in the place of the object of its version. Raises WriteConflict."""
        meta = body["metadata"]
        path = kind.path(meta.get("namespace", ""), meta["name"])
        query = urlencode({"fieldManager": words.MANAGER})
        full = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        return await self._request("PUT", f"{path}?{query}", body=full)

    async def merge(self, kind: Kind, body: Json) -> Json:
        """Merge `body` into an object that exists (RFC 7386: None removes a key).

        With a resourceVersion in its metadata: raises WriteConflict when it is another by now.
        """
        meta = body["metadata"]
        path = kind.path(meta.get("namespace", ""), meta["name"])
        query = urlencode({"fieldManager": words.MANAGER})
        return await self._request("PATCH", f"{path}?{query}", body=body, content_type=_MERGE)

    async def create_token(
        self, namespace: str, service_account: str, *, audience: str, seconds: int
    ) -> SecretStr:
        """Return a token of a ServiceAccount for `audience` (TokenRequest). Raises NotFound."""
        path = SERVICE_ACCOUNT.path(namespace, service_account, "token")
        spec = {"audiences": [audience], "expirationSeconds": seconds}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._request("POST", path, body=body)
        token = mapping_of(answer, "status").get("token")
        if not isinstance(token, str) or not token:
            raise errors.Malformed(f"API server: POST {path}: the answer holds no token")
        return SecretStr(token)

    async def evict(self, namespace: str, name: str, *, uid: str) -> None:
        """Evict a Pod, or raise RateLimited where a PodDisruptionBudget wants it to stay."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._request("POST", POD.path(namespace, name, "eviction"), body=body)
        except (errors.NotFound, errors.WriteConflict):
            return  # gone, or another Pod of that name by now

    async def served(self, kind: Kind) -> bool:
        """Tell whether the API server knows `kind`: whether its CRD is installed."""
        try:
            await self._request("GET", f"{kind.path()}?limit=1")
        except errors.NotFound:
            return False
        return True

    async def authenticated(self) -> bool:
        """Tell whether the API server takes our credentials; also while it does not answer."""
        try:
            await self.served(BINDING)
        except errors.Unauthenticated:
            return False
        except errors.ClientError:
            return True
        return True

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object `uid`; one that is gone already is fine."""
        options = {"preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", kind.path(namespace, name), body=options)
        except (errors.NotFound, errors.WriteConflict):
            return  # gone, or another object of that name by now

    async def _apply(self, kind: Kind, body: Json, subresource: str) -> Json:
        meta = body["metadata"]
        path = kind.path(meta.get("namespace", ""), meta["name"], subresource)
        query = urlencode({"fieldManager": words.MANAGER, "force": "true"})
        full = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        text = _UNPRINTABLE.sub(_escape, orjson.dumps(full).decode())
        return await self._request("PATCH", f"{path}?{query}", body=text, content_type=_APPLY)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Json | str | None = None,
        content_type: str = "application/json",
        warnings: list[str] | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            serialized = await self._api.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            with fence.sending(writes=method != "GET"):
                response = await self._api.call_api(*serialized, _request_timeout=timeout)
                content = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._answered(*_described(method, path), None)
            raise errors.Unavailable(
                f"API server: {method} {_shown(path)}: {type(error).__name__}"
            ) from error
        self._answered(*_described(method, path), response.status)
        answer = _object_of(content)
        if response.status >= _CLIENT_ERROR:
            raise _error_of(response.status, answer or {}, f"{method} {_shown(path)}")
        if answer is None:
            # Something between us and the API server. As an empty LIST it would purge the caches.
            raise errors.Unavailable(
                f"API server: {method} {_shown(path)}: {response.status} with no JSON object"
            )
        if warnings is not None:
            warnings += _warnings_of(response.headers.getall("Warning", ()))
        return answer


@asynccontextmanager
async def connect(
    *,
    timeout_seconds: float = 30,
    answered: Answered = lambda _verb, _resource, _status: None,
) -> AsyncIterator[KubernetesClient]:
    """Connect as the Pod's ServiceAccount, else as the kubeconfig says: as Kopf does too."""
    configuration = Configuration()
    configuration.client_session_kwargs = {
        "request_class": fence.FencedRequest,
        # Else each request looks for a proxy in the environment, in a thread.
        "trust_env": bool(getproxies()),
    }
    await _load(configuration)
    async with ApiClient(configuration) as api:
        api.rest_client = _Connections(configuration)
        api.user_agent = words.MANAGER
        yield KubernetesClient(api, timeout_seconds=timeout_seconds, answered=answered)


class _Connections(RESTClientObject):
    """The official client's connections, by sockets that notice when the other end is gone."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize, ssl=self.ssl_context, socket_factory=watchful_socket
        )


async def _load(configuration: Configuration) -> None:
    """Fill `configuration`. Raises Rejected when there is no usable kubeconfig."""
    try:
        if in_cluster():
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration, persist_config=False
            )
    except (config.ConfigException, OSError) as error:
        raise errors.Rejected(
            f"no usable kubeconfig: {str(error)[:_SHOWN]}; set KUBECONFIG, or run in a Pod"
        ) from error


def in_cluster() -> bool:
    """Tell whether this process runs as a Pod with a ServiceAccount's token."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT_FILES / "token").exists()


def _warnings_of(headers: Iterable[str]) -> list[str]:
    """Return the texts of `Warning` headers (RFC 7234, section 5.5)."""
    texts = [text for header in headers for text in _WARNING.findall(header)]
    return [_ESCAPED.sub(r"\1", text)[:_SHOWN] for text in texts]


def _object_of(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object that `content` is, or None where it is none."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _error_of(status: int, answer: Mapping[str, Any], what: str) -> errors.ClientError:
    """Translate a Status object. Only its message and reason are passed on."""
    message = f"API server: {what}: {status} {str(answer.get('message', ''))[:_SHOWN]}"
    refused = errors.Unavailable if status >= _SERVER_ERROR else errors.Rejected
    return _ERRORS.get(status, refused)(message)


def _escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character.group()):04x}"


def _described(method: str, path: str) -> tuple[str, str]:
    """Return verb and resource of a request as RBAC has them, without any name.

    >>> _described("GET", "/api/v1/namespaces/team-a/pods?limit=500")
    ('list', 'pods')
    >>> _described("POST", "/api/v1/namespaces/team-a/serviceaccounts/reader/token")
    ('create', 'serviceaccounts/token')
    """
    parts = _shown(path).strip("/").split("/")
    if parts[0] not in {"api", "apis"}:
        return "get", parts[-1]  # a document, such as the discovery of the issuer
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[0] == "namespaces" and len(parts) > _NAME_PARTS:
        parts = parts[_NAME_PARTS:]
    resource = "/".join([parts[0], *parts[_NAME_PARTS:]])
    if method == "GET":
        return "list" if len(parts) == 1 else "get", resource
    return _VERBS[method], resource


def _shown(path: str) -> str:
    """Return `path` without its query, whose continuation token nobody can read."""
    return path.partition("?")[0]
