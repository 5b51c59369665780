"""The words of the API live in `api/` and nowhere else in the product's source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from caios_federation.api import vocabulary
from meta.repository import PRODUCT, ROOT

EVERYDAY = {
    vocabulary.TRUE,  # of many other things, too
    vocabulary.FALSE,
    vocabulary.VERSION,
    vocabulary.DEFAULT_FEDERATION,
    vocabulary.API_TOKEN_KEY,
    vocabulary.MANAGER,  # the product's name
}
GROUP = vocabulary.GROUP


def elsewhere() -> Iterator[Path]:
    """Yield the sources of the product outside `api/`."""
    return (path for path in PRODUCT.rglob("*.py") if PRODUCT / "api" not in path.parents)


def vocabulary_words() -> set[str]:
    """Return all words but reasons: those of events and conditions may be called the same."""
    values: set[object] = set()
    for value in vars(vocabulary).values():
        if isinstance(value, frozenset):
            values |= value
        else:
            values |= {value} if isinstance(value, str) else set()
    words = {value for value in values if isinstance(value, str)}
    own = {vars(vocabulary)[name] for name in ("__name__", "__doc__", "__file__", "__cached__")}
    return words - own - EVERYDAY - {"caios_federation.api"}


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts in a source that the program uses, with their lines: no docstrings."""
    tree = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def test_the_vocabulary_is_not_empty() -> None:
    assert {"AWS_REGION", f"{GROUP}/inject", "cks-pod-identity-token"} <= vocabulary_words()


def test_the_api_group_is_spelt_in_no_other_source() -> None:
    found = [str(path.relative_to(ROOT)) for path in elsewhere() if GROUP in path.read_text()]
    assert found == []


def test_no_word_of_the_vocabulary_is_spelt_in_another_source() -> None:
    words = vocabulary_words()
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in elsewhere()
        for line, text in literals(path)
        if text in words
    ]
    assert found == []
