"""The example files of the CRDs: which there are, and what each expects.

A file in `crds/examples/invalid` starts with a line

    # rejected: <part> ... <part> -- <why, for people>

whose parts occur in the API server's message, in this order. Where such a file has two documents,
the first is created and the second, an update of it, must be rejected.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

Document = dict[str, Any]

CHECKOUT: Final = Path(__file__).parents[2]
CRDS: Final = tuple(sorted((CHECKOUT / "crds").glob("*.yaml")))
SAMPLES: Final = tuple(sorted((CHECKOUT / "deploy/samples").glob("*.yaml")))
TUTORIAL: Final = CHECKOUT / "deploy/samples/tutorial"
GOLDEN: Final = Path(__file__).parent / "golden"

_REJECTED: Final = re.compile(r"# rejected: (?P<parts>.+?) -- (?P<why>.+)")


@dataclass(frozen=True, slots=True)
class Invalid:
    """A file that the API server must refuse."""

    path: Path
    parts: tuple[str, ...]
    why: str

    @property
    def documents(self) -> list[Document]:
        """The document that is refused, preceded by what has to exist."""
        return documents(self.path)


def documents(path: Path) -> list[Document]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def crd(kind: str) -> Document:
    """Return the CustomResourceDefinition of `kind`."""
    for path in CRDS:
        (document,) = documents(path)
        if document["spec"]["names"]["kind"] == kind:
            return document
    raise KeyError(kind)


def valid() -> list[Path]:
    """Return the files that the API server must accept."""
    return sorted((CHECKOUT / "crds/examples/valid").glob("*.yaml"))


def invalid() -> list[Invalid]:
    """Return the files that the API server must refuse, with what it must say."""
    return list(_invalid())


def _invalid() -> Iterator[Invalid]:
    for path in sorted((CHECKOUT / "crds/examples/invalid").glob("*.yaml")):
        first, _, _ = path.read_text(encoding="utf-8").partition("\n")
        found = _REJECTED.fullmatch(first)
        if not found:
            raise ValueError(f"{path}: the first line must be `# rejected: <message> -- <why>`")
        yield Invalid(path, tuple(found["parts"].split(" ... ")), found["why"])


def stem(path: Path) -> str:
    """Return the file's name without ending, to name a test case."""
    return path.stem
