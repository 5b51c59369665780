"""Folders of cases: what goes in, and what came out when a person last looked at it.

`make golden` writes what comes out now; the difference is then reviewed like code.
"""

import os
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
REWRITE = os.environ.get("GOLDEN") == "rewrite"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and the same object twice rather than a reference."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def cases(subject: str) -> list[str]:
    """Return the names of the cases of a subject."""
    return sorted(path.name for path in (HERE / subject).iterdir() if path.is_dir())


def read(path: Path) -> Any:  # noqa: ANN401  # YAML holds anything
    """Return the object in a file, or None where the case has none of the kind."""
    return yaml.safe_load(path.read_text()) if path.exists() else None


def dump(answer: object) -> str:
    """Return an answer as it stands in `expected.yaml`."""
    return yaml.dump(answer, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def check(path: Path, text: str) -> None:
    """Compare `text` with the file, or put it there when golden files are being rewritten."""
    if REWRITE:
        path.write_text(text)
    assert path.read_text() == text
