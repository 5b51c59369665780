"""The examples cover the CRDs: no field and no rule without a file that breaks it."""

import re
from pathlib import Path

import pytest

from contract.examples import CRDS, GOLDEN, Invalid, documents, invalid, stem, valid
from contract.schema import fields

KINDS = {crd["spec"]["names"]["kind"]: crd for path in CRDS for crd in documents(path)}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_every_field_of_a_spec_has_an_example_that_is_refused(kind: str) -> None:
    broken = {path for example in of(kind) for path in paths(example)}
    # A list of objects, or an object in it, is broken by what is in it.
    expected = {
        field.path
        for field in fields(KINDS[kind], "spec")
        if not field.path.endswith("[]") or field.schema["type"] != "object"
    }
    assert expected - broken == set()


@each_kind
def test_every_rule_has_an_example_that_breaks_it(kind: str) -> None:
    said = [example.parts[-1] for example in of(kind)]
    silent = [
        f"{field.path}: {rule['message']}"
        for field in fields(KINDS[kind])
        for rule in field.rules
        if not any(breaks(part, rule["message"]) for part in said)
    ]
    assert silent == []


@each_kind
def test_every_field_of_a_spec_has_an_example_that_is_accepted(kind: str) -> None:
    used = {
        path
        for example in valid()
        for document in documents(example)
        if document["kind"] == kind
        for path in walk("spec", document["spec"])
    }
    assert {field.path for field in fields(KINDS[kind], "spec")} - used == set()


@each_kind
def test_every_value_of_an_enumeration_has_an_example_that_is_accepted(kind: str) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in valid())
    for field in fields(KINDS[kind], "spec"):
        default = field.schema.get("default")
        for value in field.schema.get("enum", []):
            assert value == default or re.search(rf"\b{value}\b", text), (field.path, value)


@pytest.mark.parametrize("example", invalid(), ids=lambda example: example.path.stem)
def test_an_invalid_example_is_of_the_kind_that_its_name_says(example: Invalid) -> None:
    *before, refused = example.documents
    assert len(before) <= 1
    assert refused["kind"] == kind_of(example)
    assert all(document["metadata"] == refused["metadata"] for document in before)


@pytest.mark.parametrize("path", valid(), ids=stem)
def test_a_valid_example_says_what_it_is_for(path: Path) -> None:
    assert re.match(r"# [A-Z`].+\.\n", path.read_text(encoding="utf-8"))


def test_every_valid_example_has_its_golden_file_and_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.glob("*.yaml")} == {path.name for path in valid()}


def of(kind: str) -> list[Invalid]:
    return [example for example in invalid() if kind_of(example) == kind]


def kind_of(example: Invalid) -> str:
    short = example.path.stem.partition("-")[0]
    kinds = {crd["spec"]["names"]["shortNames"][0]: kind for kind, crd in KINDS.items()}
    return str(kinds[short])


def paths(example: Invalid) -> set[str]:
    """Return the field that the example breaks, and as what is an item of its list."""
    first = re.sub(r"\[\d+\]", "[]", example.parts[0].partition(": ")[0])
    return {first, re.sub(r"\.matchLabels\.\w+$", ".matchLabels{}", first)}


def breaks(part: str, message: str) -> bool:
    """Whether the message, or its beginning, stands at the end of what is expected."""
    return any(part.endswith(message[:end]) for end in range(12, len(message) + 1))


def walk(path: str, value: object) -> set[str]:
    found = {path}
    if isinstance(value, dict):
        for name, child in value.items():
            below = f"{path}{{}}" if path.endswith("matchLabels") else f"{path}.{name}"
            found |= walk(below, child)
    elif isinstance(value, list):
        for child in value:
            found |= walk(f"{path}[]", child)
    return found
