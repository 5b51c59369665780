"""Law 14 of the house style: whatever comes in, nothing but our own errors comes out."""

import contextlib

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import strategies
from builders import Json, bound, resolved
from caios_federation.api.binding import parse_binding
from caios_federation.api.federation import parse_federation
from caios_federation.api.objects import parse_meta, version_of
from caios_federation.core.account import audience_of, relevant, wish_of
from caios_federation.core.errors import ParseError
from caios_federation.core.injection import Sources, opted_out, resolve
from caios_federation.core.patch import render_patch
from caios_federation.core.plan import Placement, plan
from caios_federation.core.pod import normalise, read_pod, service_account_of
from caios_federation.core.principal import parse_issuer, parse_principal

VALUES = resolved(bound(client={}))
anything = strategies.json_values
keys = st.sampled_from(
    [
        "metadata",
        "labels",
        "annotations",
        "spec",
        "containers",
        "initContainers",
        "name",
        "env",
        "value",
        "volumeMounts",
        "mountPath",
        "subPath",
        "volumes",
        "projected",
        "sources",
        "serviceAccountToken",
        "downwardAPI",
        "items",
        "fieldRef",
    ]
)
nearly_pods = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "app", "/", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@st.composite
def broken_pods(draw: strategies.Draw) -> Json:
    """Return a Pod of which one value, anywhere, is something else."""
    raw: Json = draw(strategies.pods())
    holder: Json | list[object] = raw
    for _ in range(draw(st.integers(0, 5))):
        nested = _nested(holder)
        if not nested:
            break
        holder = draw(st.sampled_from(nested))
    places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if places:
        holder[draw(st.sampled_from(places))] = draw(anything)
    return raw


def _nested(holder: Json | list[object]) -> list[Json | list[object]]:
    items = holder.values() if isinstance(holder, dict) else holder
    return [item for item in items if isinstance(item, dict | list) and item]


@given(st.one_of(anything, nearly_pods, broken_pods()))
def test_any_json_as_pod_is_answered_with_a_patch_that_applies(raw: object) -> None:
    seen = read_pod(raw)
    service_account_of(raw)
    opted_out(seen)
    planned = plan(seen, VALUES, Placement())
    operations = [dict(operation) for operation in render_patch(planned, seen)]
    after = jsonpatch.apply_patch(raw, operations) if operations else raw
    again = read_pod(after)
    assert render_patch(plan(again, VALUES, Placement()), again) == []


@given(strategies.all_sources(), st.one_of(st.just({}), strategies.json_objects), anything)
def test_any_json_as_pod_annotation_is_resolved(
    has_a_say: Sources, annotations: Json, value: object
) -> None:
    resolve(has_a_say, {**annotations, "caios.coreweave.com/token-expiration": value})


@given(strategies.json_objects, anything, anything)
def test_any_json_as_annotation_of_a_service_account_is_read(
    annotations: Json, inject: object, audience: object
) -> None:
    ours = {"caios.coreweave.com/inject": inject, "caios.coreweave.com/audience": audience}
    read = relevant({**annotations, **ours})
    wish_of(read)
    audience_of(read)


@given(anything, anything, anything)
def test_any_json_as_binding_is_read_and_marked(
    metadata: object, spec: object, status: object
) -> None:
    raw = {"metadata": metadata, "spec": spec, "status": status}
    parsed = parse_binding(raw, ours=False)
    assert parsed.meta == parse_meta(raw)
    assert parsed.meta.version == version_of(raw)


@given(anything, anything, anything)
def test_any_json_as_federation_is_read_or_refused(
    metadata: object, spec: object, status: object
) -> None:
    with contextlib.suppress(ValidationError):  # as it promises
        parse_federation({"metadata": metadata, "spec": spec, "status": status})


@given(st.text() | strategies.issuer_texts.map("role/{}:system:serviceaccount:a".format))
def test_any_text_as_issuer_or_principal_is_read_or_refused(text: str) -> None:
    for parse in (parse_issuer, parse_principal):
        with contextlib.suppress(ParseError):
            parse(text)


@given(st.text())
def test_any_text_as_path_is_normalised_once(path: str) -> None:
    assert normalise(normalise(path)) == normalise(path)
    assert normalise(path).startswith("/")
