"""What Hypothesis makes up: Pods as users and other webhooks write them, and what we are told.

Names, paths and variables are drawn from short lists around our own, so that things meet often.
"""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from builders import (
    GROUP,
    ISSUER,
    MOUNT_PATH,
    URI,
    VOLUME,
    Json,
    binding,
    federation,
    sources,
    token_volume,
    words,
)
from caios_federation.api.binding import Grant, parse_binding
from caios_federation.api.federation import GrantRule, parse_federation
from caios_federation.core.injection import Sources

Draw = Callable[..., Any]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=6), json_values, max_size=4)
unknown_fields = st.dictionaries(
    st.sampled_from(["aFieldOfTomorrow", "x/y~z", "ä", "securityContext", "resources"]),
    json_values,
    max_size=2,
)

container_names = st.sampled_from(["app", "sidecar", "setup", "helper", "istio-proxy"])
volume_names = st.sampled_from([VOLUME, f"{VOLUME}-2", f"{VOLUME}-3", "data", "cache"])
variable_names = st.sampled_from(
    [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "PATH",
        "LD_LIBRARY_PATH",
    ]
)
mount_paths = st.sampled_from(
    [
        MOUNT_PATH,
        f"{MOUNT_PATH}/",
        MOUNT_PATH.lstrip("/"),
        f"{MOUNT_PATH}/aws-config",
        f"{MOUNT_PATH}/../other",
        "/var/run/secrets",
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/",
        "/data",
        "/cache",
    ]
)
audiences = st.sampled_from(["custom", ISSUER, "", " "])
expirations = st.sampled_from(["900", "3600", "1", "-5", "100000", "soon", "", "٩٠٠"])


def _mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the `usual` four times out of five: Hypothesis takes each of the five as often."""
    return st.one_of(usual, usual, usual, usual, odd)


@st.composite
def _fields(draw: Draw, known: dict[str, st.SearchStrategy[Any]]) -> Json:
    """Return some of the `known` fields, and now and then one that nobody knows."""
    drawn = {key: draw(values) for key, values in known.items() if draw(st.booleans())}
    return {**draw(_mostly(st.just({}), unknown_fields)), **drawn}


@st.composite
def variables(draw: Draw) -> Json:
    origin = draw(st.sampled_from(["value", "valueFrom", "nothing"]))
    made: Json = {"name": draw(variable_names)}
    if origin == "value":
        made["value"] = draw(st.sampled_from(["mine", "", URI]))
    elif origin == "valueFrom":
        made["valueFrom"] = {"secretKeyRef": {"name": "s", "key": "k", **draw(unknown_fields)}}
    return made


@st.composite
def mounts(draw: Draw) -> Json:
    fields = {
        "readOnly": st.booleans(),
        "subPath": st.sampled_from(["", "part"]),
        "recursiveReadOnly": st.just("Disabled"),
    }
    return {
        **draw(_fields(fields)),
        "name": draw(volume_names),
        "mountPath": draw(mount_paths),
    }


@st.composite
def volumes(draw: Draw) -> Json:
    """Return a volume: one like ours, with or without what API servers fill in, or a foreign."""
    name = draw(volume_names)
    ours = token_volume(
        name,
        audience=draw(st.sampled_from([ISSUER, "custom"])),
        seconds=draw(st.sampled_from([3600, 900])),
        config=draw(st.booleans()),
        **draw(st.sampled_from([{}, {"defaultMode": 420}])),
    )
    foreign = {"name": name, **draw(_fields({"emptyDir": st.just({}), "projected": json_values}))}
    return ours if draw(st.booleans()) else foreign


def _lists(items: st.SearchStrategy[Json], key: str, *, unique: bool) -> st.SearchStrategy[Any]:
    """Return lists, or a null: both mean that there is nothing."""
    by = (lambda item: item[key]) if unique else None
    return _mostly(st.lists(items, max_size=4, unique_by=by), st.none())


@st.composite
def containers(draw: Draw, *, unique: bool = True) -> Json:
    fields = {
        "env": _lists(variables(), "name", unique=unique),
        "volumeMounts": _lists(mounts(), "mountPath", unique=unique),
        "envFrom": st.just([{"secretRef": {"name": "aws"}}]),
        "restartPolicy": st.just("Always"),
    }
    return {"name": draw(container_names), "image": "app:1", **draw(_fields(fields))}


@st.composite
def pods(draw: Draw, *, unique: bool = True) -> Json:
    """Return a Pod as it could be created; with `unique`, of names that the API server accepts."""
    own = {"skip-containers", "token-expiration", "principal", "aws-config"}
    annotations = st.dictionaries(
        st.sampled_from([*sorted(f"{GROUP}/{word}" for word in own), "team~a/x"]),
        st.sampled_from(["app", "app, setup", "900", "soon", ""]),
        max_size=3,
    )
    labels = st.dictionaries(
        st.sampled_from([f"{GROUP}/federated", f"{GROUP}/inject", "app"]),
        st.sampled_from(["true", "a"]),
        max_size=2,
    )
    nullable = {"labels": labels, "annotations": annotations}
    metadata = draw(_fields({key: _mostly(maps, st.none()) for key, maps in nullable.items()}))
    some = st.lists(
        containers(unique=unique), min_size=1, max_size=3, unique_by=lambda item: item["name"]
    )
    spec = draw(
        _fields(
            {
                "volumes": _lists(volumes(), "name", unique=unique),
                "initContainers": _mostly(some, st.none()),
                "ephemeralContainers": st.lists(containers(), max_size=1),
                "hostNetwork": st.booleans(),
                "nodeSelector": st.just({"kubernetes.io/os": "windows"}),
            }
        )
    )
    return {
        **draw(_mostly(st.just({}), unknown_fields)),
        **({"metadata": metadata} if metadata or draw(st.booleans()) else {}),
        "spec": {**spec, "containers": draw(some)},
    }


@st.composite
def annotations_of_accounts(draw: Draw) -> dict[str, str]:
    some = {
        "inject": st.sampled_from(["true", "true", "false", "no", ""]),
        "audience": audiences,
        "token_expiration": expirations,
        "federation": st.sampled_from(["default", "other", ""]),
    }
    return words(**{word: draw(texts) for word, texts in some.items() if draw(st.booleans())})


@st.composite
def bindings(draw: Draw) -> Json:
    some = {
        "audience": audiences,
        "region": st.sampled_from(["EU-01", "US-EAST-04A"]),
        "tokenExpirationSeconds": st.sampled_from([600, 900, 86400, 1]),
        "injection": st.sampled_from(["Enabled", "Enabled", "Enabled", "Disabled"]),
        "client": st.sampled_from([{}, {"endpoint": "Public", "addressingStyle": "Path"}]),
        "containers": st.sampled_from([{"only": ["app", "setup"]}, {"except": ["sidecar"]}, {}]),
    }
    raw = binding()
    raw["spec"].update({key: draw(given) for key, given in some.items() if draw(st.booleans())})
    return raw


@st.composite
def federations(draw: Draw) -> Json:
    some = {
        "audience": audiences,
        "issuerURL": st.sampled_from(["https://other.example", "https://*"]),
        "tokenExpirationSeconds": st.sampled_from([900, 7200]),
    }
    raw = federation()
    raw["spec"].update({key: draw(given) for key, given in some.items() if draw(st.booleans())})
    return raw


@st.composite
def all_sources(draw: Draw) -> Sources:
    """Return all that has a say about a ServiceAccount, injected or not."""
    bound, federated = draw(st.none() | bindings()), draw(_mostly(federations(), st.none()))
    return sources(
        account=draw(annotations_of_accounts()),
        bound=parse_binding(bound, ours=False) if bound else None,
        federated=parse_federation(federated) if federated else None,
        issuer=draw(_mostly(st.just(ISSUER), st.none())),
    )


@st.composite
def injecting_sources(draw: Draw) -> Sources:
    """Return sources that certainly inject: a binding that is enabled, of a plain federation."""
    bound = draw(bindings())
    bound["spec"]["injection"] = "Enabled"
    return sources(bound=parse_binding(bound, ours=False))


@st.composite
def changed_by_others(draw: Draw, raw: Json) -> Json:
    """Return what a Pod is after API server and other webhooks had it."""
    after = copy.deepcopy(raw)
    spec = after["spec"]
    for volume in spec.get("volumes") or ():
        projected = volume.get("projected")
        if isinstance(projected, dict) and draw(st.booleans()):
            projected.setdefault("defaultMode", 420)
            _fill_in_field_versions(projected.get("sources"))
    for kind in ("initContainers", "containers"):
        items = spec.get(kind)
        if isinstance(items, list) and draw(st.booleans()):
            late = {**draw(containers()), "name": f"late-{kind.lower()}"}
            items.insert(draw(st.integers(0, len(items))), late)
    if draw(st.booleans()):
        spec["tolerations"] = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]
    return after


def _fill_in_field_versions(projections: object) -> None:
    for projection in projections if isinstance(projections, list) else ():
        downward = projection.get("downwardAPI") if isinstance(projection, dict) else None
        for item in (downward.get("items") or ()) if isinstance(downward, dict) else ():
            item["fieldRef"]["apiVersion"] = "v1"


_ALNUM = "abcxyz019"


@st.composite
def _dns(draw: Draw, inner: str, longest: int) -> str:
    """Return a name of Kubernetes: long ones now and then, since names are cut."""
    text: str = draw(st.text(_ALNUM + inner, min_size=1, max_size=12))
    trimmed = text.strip(inner) or "a"
    times: int = draw(st.sampled_from([1, 1, 1, longest // len(trimmed)]))
    return trimmed * times


labels_of_dns = _dns("-", 63)
account_names = _dns("-.", 253)
issuer_texts = st.builds(
    "https://{}{}".format,
    _dns("-.", 100),
    st.sampled_from(["", ":8443"]) | st.text("abAB01._~:@%+-/", max_size=12).map("/i{}i".format),
)

buckets = st.sampled_from(["*", "data", "logs", "data-*", "dat*", "logs-1", "**"])
prefixes = st.sampled_from(["a", "a/", "a/b/", "b"])
actions = st.sampled_from(
    [
        "s3:*",
        "s3:Get*",
        "s3:List*",
        "s3:*Object",
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:PutBucketPolicy",
        "s3:ListAllMyBuckets",
        "cwobject:ListBucketInfo",
        "cwobject:*",
    ]
)


@st.composite
def grants(draw: Draw) -> Grant:
    access = draw(st.sampled_from(["ReadOnly", "ReadWrite", "WriteOnly", "FullControl", "Custom"]))
    raw: Json = {
        "name": draw(st.sampled_from(["a", "b", "mint", "a-buckets", "a-objects", "a-all"])),
        "buckets": draw(st.sets(buckets, min_size=1, max_size=3)),
        "prefixes": draw(st.sets(prefixes, max_size=2)),
        "access": access,
        "listing": draw(st.sampled_from([None, "WholeBucket", "None"])),
    }
    if access == "Custom":
        raw["actions"] = draw(st.sets(actions, min_size=1, max_size=4))
    return Grant.model_validate(raw)


grant_lists = st.lists(grants(), max_size=4, unique_by=lambda grant: grant.name)

namespaces = st.sampled_from(["data", "logs", "team"])
namespace_labels = st.dictionaries(
    st.sampled_from(["team", "tier"]), st.sampled_from(["a", "b"]), max_size=2
)
_selectors = st.sampled_from(
    [
        {},
        {},
        {"matchLabels": {"team": "a"}},
        {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]},
        {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "team", "operator": "Unknown"}]},
    ]
)
_rule_buckets = st.sampled_from(
    ["*", "data", "logs", "data-*", "dat*", "*-1", "d*a", "{namespace}", "{namespace}-*"]
)


@st.composite
def grant_rules(draw: Draw) -> GrantRule:
    levels = ["ReadOnly", "ReadWrite", "WriteOnly", "FullControl"]
    raw: Json = {
        "name": draw(st.sampled_from(["own", "shared", "all"])),
        "namespaceSelector": draw(_selectors),
        "buckets": draw(st.sets(_rule_buckets, min_size=1, max_size=3)),
        "access": draw(st.sets(st.sampled_from(levels), max_size=2)),
        "actions": draw(st.sets(actions, max_size=3)),
    }
    return GrantRule.model_validate(raw)


rule_lists = st.lists(grant_rules(), max_size=4)
