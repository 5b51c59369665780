"""The examples in docstrings of the pure core are true."""

import doctest
import importlib
import pkgutil

import pytest

import caios_federation.api
import caios_federation.core

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (caios_federation.api, caios_federation.core)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    attempted = sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert attempted > 0
