"""`operator` is also a module of the standard library: it must never be shadowed."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from meta.repository import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_test_folder_is_called_operator() -> None:
    assert [path for path in (ROOT / "tests").rglob("operator*") if "cache" not in path.name] == []


@pytest.mark.parametrize("flags", [["-c"], ["-P", "-c"]], ids=["from-here", "safe-path"])
def test_the_standard_librarys_operator_is_found_from_the_root(flags: list[str]) -> None:
    paths: list[str] = PYPROJECT["tool"]["pytest"]["ini_options"]["pythonpath"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in paths)}
    code = "import operator; print(operator.itemgetter(1)([2, 3]), operator.__file__)"
    printed = subprocess.run(
        [sys.executable, *flags, code],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    value, origin = printed.split()
    assert value == "3"
    assert ROOT / "operator" not in Path(origin).parents


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_console_script_resolves(name: str) -> None:
    assert callable(EntryPoint(name, SCRIPTS[name], "console_scripts").load())


def test_the_directions_of_imports_hold() -> None:
    program = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
