"""Resolves the constraints files anew: pinned, hashed, and without the name of any registry.

`test.txt` holds everything (product, testbed, tests, linters) and is what `make install` uses;
the smaller sets agree with it by construction, because it constrains them.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = "pyproject.toml"
SETS = {
    "bootstrap.txt": ["constraints/bootstrap.in"],
    "test.txt": [PROJECT, "--extra=testbed", "--extra=test", "--extra=lint"],
    "run.txt": [PROJECT, "-c", "constraints/test.txt"],
    "testbed.txt": [PROJECT, "--extra=testbed", "-c", "constraints/test.txt"],
    "build.txt": ["constraints/build.in", "-c", "constraints/test.txt"],
    "awscli.txt": ["constraints/awscli.in"],
    "bench.txt": ["constraints/bench.in", "-c", "constraints/test.txt"],
}


def main() -> None:
    """Compile every set with uv, in an order in which the constraining one comes first."""
    uv = Path(sys.executable).with_name("uv")
    for name, arguments in SETS.items():
        print(f"==> constraints/{name}")
        command = [uv, "pip", "compile", *arguments, "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-emit-index-url", "--quiet", "--python-version=3.11"]
        command += [*sys.argv[1:], "-o", f"constraints/{name}"]
        subprocess.run(command, check=True, cwd=HERE.parent)


if __name__ == "__main__":
    main()
