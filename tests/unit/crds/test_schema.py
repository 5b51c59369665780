"""What holds for every field of the CRDs, read from the files alone."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from contract.examples import CRDS, documents
from contract.schema import Field, fields, root

KINDS = {crd["spec"]["names"]["kind"]: crd for path in CRDS for crd in documents(path)}
ACRONYMS = ("API", "ARN", "ID", "URI", "URL")
CAMEL_CASE = re.compile(rf"[a-z]+([A-Z][a-z]+|{'|'.join(ACRONYMS)})*")


def each_field(having: Callable[[Field], object]) -> pytest.MarkDecorator:
    """Parametrize a test by the fields for which `having` is true."""
    return pytest.mark.parametrize(
        "field",
        [
            pytest.param(field, id=f"{kind}.{field.path}")
            for kind, crd in KINDS.items()
            for field in fields(crd)
            if field.path != "metadata" and having(field)  # the metadata are the API server's
        ],
    )


def of_type(name: str) -> Callable[[Field], bool]:
    return lambda field: field.schema["type"] == name


def with_key(name: str) -> Callable[[Field], bool]:
    return lambda field: name in field.schema


each_crd = pytest.mark.parametrize("crd", KINDS.values(), ids=KINDS)


@each_field(lambda _: True)
def test_a_field_is_described_for_people(field: Field) -> None:
    description = field.schema["description"]
    assert 12 <= len(description) <= 600
    assert description[0].isupper() or description[0] == "`"
    assert description.endswith(".")


@each_field(lambda field: field.schema.get("default", {}) != {})
def test_a_description_tells_the_default(field: Field) -> None:
    assert f"Default `{field.schema['default']}`." in field.schema["description"]


@each_field(lambda field: not field.path.endswith(("[]", "{}")))
def test_a_field_is_named_in_camel_case_with_acronyms_in_capitals(field: Field) -> None:
    assert CAMEL_CASE.fullmatch(field.name)
    assert not re.search(r"(Api|Arn|Id|Uri|Url)([A-Z]|$)", field.name)


@each_field(of_type("string"))
def test_a_string_is_bounded(field: Field) -> None:
    assert "enum" in field.schema or 0 < field.schema["maxLength"] <= 1 << 20


@each_field(with_key("pattern"))
def test_a_pattern_is_for_the_whole_value(field: Field) -> None:
    pattern = field.schema["pattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    re.compile(pattern)


@each_field(of_type("array"))
def test_a_list_is_bounded_and_says_how_it_merges(field: Field) -> None:
    assert 0 < field.schema["maxItems"] <= 64
    named = field.schema["items"]["type"] == "object"
    # A label selector is replaced as a whole, as it is everywhere in Kubernetes.
    atomic = "namespaceSelector" in field.path
    expected = "atomic" if atomic else "map" if named else "set"
    assert field.schema["x-kubernetes-list-type"] == expected


@each_field(with_key("additionalProperties"))
def test_a_map_is_bounded(field: Field) -> None:
    assert 0 < field.schema["maxProperties"] <= 32


@each_field(of_type("integer"))
def test_an_integer_is_bounded_and_has_its_unit_in_its_name(field: Field) -> None:
    assert field.schema["minimum"] < field.schema["maximum"]
    assert field.name.endswith("Seconds") or field.path.startswith("status.")


@each_field(lambda _: True)
def test_there_are_no_booleans_and_nothing_goes_unchecked(field: Field) -> None:
    assert field.schema["type"] in {"array", "integer", "object", "string"}
    assert not {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"} & {
        *field.schema
    }


@each_field(with_key("enum"))
def test_an_enumeration_is_in_camel_case(field: Field) -> None:
    for value in field.schema["enum"]:
        assert re.fullmatch(r"([A-Z][a-z]+)+|LOTA", value)


@each_field(lambda field: field.rules)
def test_a_rule_says_what_is_wrong_and_what_to_do(field: Field) -> None:
    for rule in field.rules:
        problem, colon, advice = rule["message"].partition(": ")
        assert (colon, len(rule["message"]) <= 250) == (": ", True)
        assert len(problem) >= 12
        assert len(advice) >= 12


@each_crd
def test_every_field_of_a_status_is_optional(crd: dict[str, Any]) -> None:
    for field in fields(crd, "status"):
        assert "required" not in field.schema or field.path == "status.conditions[]"


@each_crd
def test_conditions_are_those_of_kubernetes(crd: dict[str, Any]) -> None:
    conditions = root(crd)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["properties"]) == {
        "type",
        "status",
        "observedGeneration",
        "lastTransitionTime",
        "reason",
        "message",
    }


def test_both_kinds_have_the_same_conditions() -> None:
    one, two = (
        root(crd)["properties"]["status"]["properties"]["conditions"]["items"]
        for crd in KINDS.values()
    )
    assert one == two


def test_the_columns_are_those_of_the_design() -> None:
    columns = {
        kind: [
            (column["name"], column.get("priority", 0))
            for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]
        ]
        for kind, crd in KINDS.items()
    }
    assert columns == {
        "FederatedStorageBinding": [
            ("ServiceAccount", 0),
            ("Ready", 0),
            ("Reason", 0),
            ("Principal", 0),
            ("Federation", 1),
            ("Audience", 1),
            ("Pods", 1),
            ("Message", 1),
            ("Age", 0),
        ],
        "StorageFederation": [
            ("Organization", 0),
            ("Region", 0),
            ("Ready", 0),
            ("Reason", 0),
            ("Bindings", 0),
            ("Issuer", 1),
            ("Message", 1),
            ("Age", 0),
        ],
    }


def test_a_file_holds_one_definition_and_is_named_after_it() -> None:
    for path in CRDS:
        (crd,) = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        assert path.stem == crd["spec"]["names"]["plural"]
        assert crd["metadata"]["name"] == f"{path.stem}.{crd['spec']['group']}"
