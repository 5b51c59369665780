"""The reference pages of the kinds are those that the CRDs give."""

import re
import runpy
from pathlib import Path

import pytest

from contract.examples import CHECKOUT

PAGES: dict[Path, str] = runpy.run_path(str(CHECKOUT / "docs/generate_reference.py"))["pages"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_what_the_generator_writes(path: Path) -> None:
    # If this fails: python docs/generate_reference.py
    assert PAGES[path] == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_to_one_heading(path: Path) -> None:
    headings = [
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PAGES[path], flags=re.MULTILINE)
    ]
    links = re.findall(r"\]\(#([^)]*)\)", PAGES[path])
    assert links
    assert [link for link in links if headings.count(link) != 1] == []
