"""The Markdown pages of the repository, as far as tests look at them."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meta.repository import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

_FENCED = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return a page's path from the root of the repository."""
    return str(page.relative_to(ROOT))


def text_of(name: str) -> str:
    """Return the text of a page, given by its path below `docs`."""
    return (DOCS / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def blocks(language: str, *pages: Path) -> list[Block]:
    """Return all fenced blocks in `language`, of all pages unless some are given."""
    return [
        block for page in pages or PAGES for block in _blocks(page) if block.language == language
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have on GitHub."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(page: Path) -> list[str]:
    """Return where the links of a page lead to within the repository."""
    text = _CODE.sub("", prose(page))  # a pattern in a code span may look like a link
    return [link for link in _LINK.findall(text) if not re.match(r"\w+:", link)]


def code(page: Path) -> list[str]:
    """Return the code spans of a page."""
    return _CODE.findall(prose(page))


def rows(name: str, column: str) -> list[dict[str, str]]:
    """Return the rows of the tables of a page whose first column is called `column`."""
    found: list[dict[str, str]] = []
    header: list[str] | None = None
    for line in text_of(name).splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
        if header is None:
            header = cells
        elif header[0] == column and not set(line) <= set("|-"):
            found.append(dict(zip(header, cells, strict=True)))
    return found


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCED.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], textwrap.dedent(match["text"]))
