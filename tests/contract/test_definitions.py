"""The CustomResourceDefinitions themselves, as a real API server takes them."""

from pathlib import Path

import pytest

from contract.examples import CRDS, documents, stem
from contract.schema import root
from contract.server import Server


@pytest.mark.parametrize("path", CRDS, ids=stem)
def test_a_definition_is_established_and_nothing_is_held_against_it(
    server: Server, path: Path
) -> None:
    (crd,) = documents(path)
    conditions = {c["type"]: c["status"] for c in server.get(crd)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("path", CRDS, ids=stem)
def test_the_server_keeps_a_schema_as_it_is_written(server: Server, path: Path) -> None:
    (crd,) = documents(path)
    assert root(server.get(crd)) == root(crd)
