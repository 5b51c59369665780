"""What all pages have in common: links lead somewhere, examples are valid, words exist."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import parse_binding
from caios_federation.api.federation import parse_federation
from meta.pages import DOCS, PAGES, Block, anchors, blocks, code, links, name_of, prose
from meta.repository import PRODUCT, ROOT, tracked_files

Json = dict[str, Any]

GENERATED = {
    script: runpy.run_path(str(DOCS / f"generate_{script}.py"))
    for script in ("settings", "cli", "policy_actions", "conditions")
}
VARIABLES: set[str] = set(GENERATED["settings"]["variables"]())
WORD = re.compile(r"(?<![\w.])caios\.coreweave\.com/([a-z0-9-]+)")
VARIABLE = re.compile(r"CAIOS_(?!TESTBED)[A-Z]+(?:_+[A-Z]+)*")
PLACE = re.compile(r"(?:operator|crds|deploy|tests|docs|constraints|core|admission)/[\w./-]+")
MENTION = re.compile(r"\bdocs/[\w/-]+\.(?:md|py)\b")
TARGET = re.compile(r"^(?:\$ )?make ([a-z-]+)$", re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def closed(schema: Json) -> Json:
    """Return `schema` without room for unknown fields, which the API server would drop."""
    copy = {key: closed(value) if key == "items" else value for key, value in schema.items()}
    if "properties" in schema:
        copy["properties"] = {name: closed(below) for name, below in schema["properties"].items()}
        copy["additionalProperties"] = False
    return copy


SCHEMAS = {
    crd["spec"]["names"]["kind"]: closed(
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    )
    for crd in (yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml")))
}


@pytest.mark.parametrize("script", GENERATED)
def test_a_generated_page_is_what_its_script_writes(script: str) -> None:
    # If this fails: .venv/bin/python docs/generate_<script>.py
    page: Path = GENERATED[script]["PAGE"]
    assert page.read_text(encoding="utf-8") == GENERATED[script]["page"]()


@each_page
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_found_from_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in DOCS.rglob("*.md") if page != index} - linked == set()


@each_page
def test_every_block_says_its_language(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^ *```(.*)$", text, flags=re.MULTILINE)
    assert all(fences[::2])
    assert not any(fences[1::2])


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_an_example_is_valid(block: Block) -> None:
    documents = list(yaml.safe_load_all(block.text))
    assert all(isinstance(document, dict) for document in documents)
    for document in documents:
        assert document["apiVersion"]
        assert document["metadata"]["name"]
        validate(document)


def validate(document: Json) -> None:
    """Check an object of our kinds, as far as that can be done without an API server."""
    if schema := SCHEMAS.get(document["kind"]):
        assert document["apiVersion"] == words.API_VERSION
        errors = [
            error.message for error in Draft202012Validator(schema).iter_errors(document["spec"])
        ]
        assert errors == []
    if document["kind"] == words.BINDING_KIND:
        assert parse_binding(document, ours=False).invalid is None
    if document["kind"] == words.FEDERATION_KIND:
        parse_federation(document)


def test_there_are_examples_of_both_kinds() -> None:
    text = "\n".join(block.text for block in blocks("yaml"))
    assert all(f"kind: {kind}\n" in text for kind in SCHEMAS)


def test_an_unknown_field_is_found() -> None:
    found = list(
        Draft202012Validator(SCHEMAS[words.BINDING_KIND]).iter_errors(
            {"serviceAccountName": "a", "grants": [{"name": "g", "bucket": ["b"]}]}
        )
    )
    assert len(found) == 3


@each_page
def test_every_word_of_our_group_is_in_the_vocabulary(page: Path) -> None:
    known = {value for value in vars(words).values() if isinstance(value, str)}
    known |= words.SERVICE_ACCOUNT_INPUTS
    found = set(WORD.findall(page.read_text(encoding="utf-8")))
    assert {f"{words.GROUP}/{word}" for word in found} - known == set()


@each_page
def test_every_variable_of_the_process_is_a_setting(page: Path) -> None:
    if page == GENERATED["settings"]["PAGE"]:
        return  # it shows misspelt ones too
    found = set(VARIABLE.findall(page.read_text(encoding="utf-8")))
    groups = {name.rpartition("__")[0] for name in VARIABLES}
    assert found - VARIABLES - groups == set()


@each_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = [text for text in code(page) if PLACE.fullmatch(text)]
    assert [
        path for path in named if not any((root / path).exists() for root in (ROOT, PRODUCT))
    ] == []


@each_page
def test_every_target_of_make_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {name for text in code(page) for name in TARGET.findall(text)}
    for language in ("sh", "console"):
        named |= {name for block in blocks(language, page) for name in TARGET.findall(block.text)}
    assert [name for name in sorted(named) if f"\n{name}:" not in makefile] == []


def test_every_page_that_a_source_names_exists() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {mention}"
        for path in tracked_files()
        if path.suffix in {".py", ".yaml", ".md", ".toml"} or path.name == "Makefile"
        for mention in MENTION.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / mention).exists()
    }
    assert missing == set()


@each_page
def test_no_page_has_more_than_one_title(page: Path) -> None:
    assert len(re.findall(r"^# .", prose(page), flags=re.MULTILINE)) == 1
