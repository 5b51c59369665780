"""Objects as the API server sends them, small unless a test asks for more, and our answer to them.

A builder returns raw JSON that is its caller's to change. Words of the API are spelt out here on
purpose: they are a promise to users, so a test must notice when one changes.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jsonpatch

from caios_federation.api.binding import Binding, parse_binding
from caios_federation.api.federation import Federation, parse_federation
from caios_federation.api.vocabulary import SkipReason
from caios_federation.core.account import relevant
from caios_federation.core.injection import Skip, Sources, Values, opted_out, resolve
from caios_federation.core.patch import render_patch
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import read_pod
from caios_federation.core.principal import Issuer, parse_issuer
from caios_federation.core.warning import PodWarning

Json = dict[str, Any]
Kind = TypeVar("Kind")

GROUP = "caios.coreweave.com"
ISSUER = parse_issuer("https://oidc.cks.coreweave.com/id/4f6e1a2b")
ORGANIZATION = "cw1234"
REGION = "US-CENTRAL-05A"
URI = "https://api.coreweave.com/v1/cwobject/temporary-credentials/oidc/cw1234"
PRINCIPAL = f"role/{ISSUER}:system:serviceaccount:team-a:reader"
VOLUME = "cks-pod-identity-token"
MOUNT_PATH = "/var/run/secrets/cks.coreweave.com/serviceaccount"
TOKEN_FILE = f"{MOUNT_PATH}/cks-pod-identity-token"
CONFIG_FILE = f"{MOUNT_PATH}/aws-config"
MOUNT: Json = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
CREDENTIALS = [
    {"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": URI},
    {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": TOKEN_FILE},
]
REGIONS = [
    {"name": "AWS_REGION", "value": REGION},
    {"name": "AWS_DEFAULT_REGION", "value": REGION},
]
CONFIG = [{"name": "AWS_CONFIG_FILE", "value": CONFIG_FILE}]
AWS_CONFIG = (
    "[default]\ns3 =\n    addressing_style = virtual\nendpoint_url = http://cwlota.com\n"  # LOTA's
)


def kinds_of(base: type[Kind]) -> list[type[Kind]]:
    """Return a class and all that are derived of it, such as all errors of a client."""
    return [base, *(below for kind in base.__subclasses__() for below in kinds_of(kind))]


def words(**texts: str) -> dict[str, str]:
    """Return annotations or labels of our group: `token_expiration="900"` and the like."""
    return {f"{GROUP}/{word.replace('_', '-')}": text for word, text in texts.items()}


def container(
    name: str = "app",
    *,
    env: Mapping[str, str] | None = None,
    mounts: Mapping[str, str] | None = None,
    **fields: object,
) -> Json:
    """Return a container; `mounts` are paths by volume. Other `fields` go in as they are."""
    built: Json = {"name": name, "image": "example.com/app:1"}
    if env is not None:
        built["env"] = [{"name": key, "value": text} for key, text in env.items()]
    if mounts is not None:
        built["volumeMounts"] = [{"name": key, "mountPath": path} for key, path in mounts.items()]
    return {**built, **fields}


def pod(
    *containers: Json,
    init: Sequence[Json] = (),
    annotations: Mapping[str, object] | None = None,
    labels: Mapping[str, object] | None = None,
    **spec: object,
) -> Json:
    """Return a Pod of the ServiceAccount team-a/reader, with one container unless told others."""
    built: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "workload", "namespace": "team-a"},
        "spec": {"serviceAccountName": "reader", "containers": list(containers) or [container()]},
    }
    if annotations is not None:
        built["metadata"]["annotations"] = dict(annotations)
    if labels is not None:
        built["metadata"]["labels"] = dict(labels)
    if init:
        built["spec"]["initContainers"] = list(init)
    built["spec"].update(spec)
    return built


def service_account(name: str = "reader", namespace: str = "team-a", **inputs: str) -> Json:
    """Return a ServiceAccount with our annotations, such as `inject="true"`."""
    metadata: Json = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    if inputs:
        metadata["annotations"] = words(**inputs)
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def binding(name: str = "reader", namespace: str = "team-a", **spec: object) -> Json:
    """Return a FederatedStorageBinding of the ServiceAccount of its name."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "FederatedStorageBinding",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "generation": 1,
            "creationTimestamp": "2026-11-24T10:00:00Z",
        },
        "spec": {"serviceAccountName": name, **spec},
    }


def federation(name: str = "default", **spec: object) -> Json:
    """Return a StorageFederation."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "StorageFederation",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": {"organizationID": ORGANIZATION, "region": REGION, **spec},
    }


def token_volume(
    name: str = VOLUME,
    *,
    audience: str = ISSUER,
    seconds: int = 3600,
    config: bool = False,
    **fields: object,
) -> Json:
    """Return the volume that injection adds; `fields` are further ones of its projection."""
    token = {"audience": audience, "expirationSeconds": seconds, "path": "cks-pod-identity-token"}
    sources: list[Json] = [{"serviceAccountToken": token}]
    if config:
        field = {"fieldPath": f"metadata.annotations['{GROUP}/aws-config']"}
        sources.append({"downwardAPI": {"items": [{"path": "aws-config", "fieldRef": field}]}})
    return {"name": name, "projected": {"sources": sources, **fields}}


def parsed_binding(**spec: object) -> Binding:
    raw = binding()
    raw["spec"].update(spec)
    return parse_binding(raw, ours=False)


def parsed_federation(**spec: object) -> Federation:
    raw = federation()
    raw["spec"].update(spec)
    return parse_federation(raw)


_FEDERATION = parsed_federation()


def sources(
    *,
    bound: Binding | None = None,
    federated: Federation | None = _FEDERATION,
    issuer: Issuer | None = ISSUER,
    account: Mapping[str, str] | None = None,
    namespace: str = "team-a",
) -> Sources:
    """Return all that has a say; `account` are the annotations of the ServiceAccount."""
    return Sources(namespace, "reader", relevant(account), bound, federated, issuer)


def annotated(**inputs: str) -> Sources:
    """Return what there is to say about a ServiceAccount with these annotations alone."""
    return sources(account=words(**inputs))


FEDERATED = annotated(inject="true")
"""The usual case: an annotated ServiceAccount, and defaults for all else."""


def bound(**spec: object) -> Sources:
    """Return what there is to say about a ServiceAccount that only a binding names."""
    return sources(bound=parsed_binding(**spec))


def resolved(has_a_say: Sources, annotations: Mapping[str, Any] | None = None) -> Values:
    """Return the values that won, where the Pod is certainly injected."""
    values = resolve(has_a_say, annotations or {})
    assert isinstance(values, Values)
    return values


@dataclass(frozen=True, slots=True)
class Injected:
    """What became of a Pod."""

    pod: Json
    operations: list[Json]
    warnings: tuple[PodWarning, ...] = ()
    skipped: SkipReason | None = None

    @property
    def spec(self) -> Json:
        spec: Json = self.pod["spec"]
        return spec

    def container(self, name: str = "app") -> Json:
        """Return the container or init container of that name."""
        everything: list[Json] = [*self.spec.get("initContainers", ()), *self.spec["containers"]]
        return next(item for item in everything if item["name"] == name)


def inject(raw: Json, has_a_say: Sources = FEDERATED, place: Placement | None = None) -> Injected:
    """Decide about `raw` as the admission does, and apply the patch with a library not ours."""
    before = copy.deepcopy(raw)
    seen = read_pod(raw)
    if reason := opted_out(seen):
        return Injected(before, [], skipped=reason)
    values = resolve(has_a_say, seen.annotations)
    if isinstance(values, Skip):
        return Injected(before, [], values.warnings, values.reason)
    planned = plan(seen, values, place or Placement())
    operations: list[Json] = [dict(operation) for operation in render_patch(planned, seen)]
    assert raw == before, "deciding about a Pod must not change it"
    after = jsonpatch.apply_patch(before, copy.deepcopy(operations))
    return Injected(after, operations, planned.warnings)
