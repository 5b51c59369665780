"""What is published is the wheel, not the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_both_packages_whole_and_no_package_called_operator(
    tmp_path: Path,
) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={tmp_path}"]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("caios_federation_operator-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("caios_federation", "caios_testbed")
    tracked = subprocess.run(
        ["git", "ls-files", *(f"operator/{package}" for package in packages)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    definitions = {f"caios_federation/crds/{path.name}" for path in (ROOT / "crds").glob("*.yaml")}
    missing = {name.removeprefix("operator/") for name in tracked} - names
    assert len(definitions & names) == 2
    assert {name for name in names if "crds/" in name} == definitions
    assert missing == set()
    assert {name.split("/")[0] for name in names} == {
        *packages,
        "caios_federation_operator-0.1.0.dist-info",
    }
