"""The emulator's reference page names what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click import Command

from caios_testbed.coreweave.cli import serve
from caios_testbed.coreweave.control import OPERATIONS, ROUTES
from caios_testbed.coreweave.faults import BODIES, Rule
from caios_testbed.coreweave.operations import TABLE
from caios_testbed.coreweave.settings import Knobs
from caios_testbed.coreweave.testbed import PLACES

PAGE = (Path(__file__).parents[3] / "docs/reference/emulator.md").read_text()


@pytest.mark.parametrize("name", Knobs().document())
def test_every_knob_has_a_row_with_its_default(name: str) -> None:
    shown = json.dumps(Knobs().document()[name]).strip('"')
    assert re.search(rf"^\| `{name}` \| `?{shown}`? \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_named(operation: str) -> None:
    assert re.search(rf"^\|.*\b{operation}\b", PAGE, re.MULTILINE)


def test_every_emulated_route_is_named() -> None:
    not_emulated = {"saml", "settings", "bucket-info"}
    paths = {re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route.path.pattern) for route in ROUTES}
    assert [
        path
        for path in sorted(paths)
        if f"{path}`" not in PAGE and not any(word in path for word in not_emulated)
    ] == []


def test_every_option_is_named() -> None:
    assert isinstance(serve, Command)
    options = [name for parameter in serve.params for name in parameter.opts]
    assert [name for name in options if f"`{name}" not in PAGE] == []


def test_every_s3_operation_is_named() -> None:
    groups = ("Multipart", "Part", "Tagging", "Versioning", "BucketPolicy")
    names = {name for name, _ in TABLE.values()}
    assert [n for n in names if n not in PAGE and not any(g in n for g in groups)] == []


def test_every_place_and_every_field_of_a_rule_is_named() -> None:
    assert [place for _, place in PLACES if f"/testbed/{place}`" not in PAGE] == []
    assert [name for name in (*Rule().document(), *BODIES) if f"`{name}`" not in PAGE] == []
