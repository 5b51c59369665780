"""Make root file systems of Debian's packages, one of them with the AWS CLI from Python wheels.

Where packages come from is the host's own configuration of apt, pip and uv; nothing is named here.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from caios_testbed.cluster.failure import ClusterError

AWS_CLI = "opt/aws-cli"
AWS_ENTRY = "/usr/local/bin/aws"
ENTRY = f"""\
#!/bin/sh
PYTHONPATH=/{AWS_CLI} exec /usr/bin/python3 -m awscli "$@"
"""

SOURCES = Path("/etc/apt")
BUILD_SECONDS = 900

UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/i18n",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt",
    "var/log",
    "usr/lib/*/gconv",
    # Only Debian's own scripts for configuring packages need these.
    "usr/lib/*/perl",
    "usr/lib/*/perl-base",
    "usr/share/perl",
    "usr/bin/perl*",
    f"{AWS_CLI}/awscli/examples",
    f"{AWS_CLI}/bin",
)
"""What no container reads. The examples, for `aws help`, are 10,000 files."""


def bootstrap(root: Path, *packages: str) -> str:
    """Fill the new directory `root` with Debian, Python among it; return Python's version.

    Raises ClusterError when that fails; the message has the end of its output.
    """
    name = codename()
    sources = [str(path) for path in apt_sources(SOURCES, name)]
    # `essential` has no apt, which nobody uses here.
    included = ",".join(("python3", *packages))
    options = ("--mode=root", "--variant=essential", f"--include={included}", "--quiet")
    run("mmdebstrap", *options, name, str(root), *sources)
    return (root / "usr/bin/python3").readlink().name.removeprefix("python")


def build_aws_cli(root: Path, constraints: Path) -> None:
    """Fill the new directory `root`; wheels are those that `constraints` pins, with hashes.

    Raises ClusterError when a step fails; the message has the end of its output.
    """
    version = bootstrap(root)
    _install(root / AWS_CLI, version, constraints)
    for unwanted in (path for pattern in UNWANTED for path in root.glob(pattern)):
        if unwanted.is_dir():
            shutil.rmtree(unwanted)
        else:
            unwanted.unlink()
    entry = root / AWS_ENTRY.removeprefix("/")
    entry.write_text(ENTRY)
    entry.chmod(0o755)
    (root / "aws").mkdir()
    # Compiled ahead, and trusted without a look at the sources: half of the CLI's start otherwise.
    compiled = ("-m", "compileall", "-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash")
    libraries = (f"/{AWS_CLI}", f"/usr/lib/python{version}")
    run("chroot", str(root), "/usr/bin/python3", *compiled, *libraries)


def codename() -> str:
    """Return the release of Debian (or of a derivative) that this machine runs."""
    release = platform.freedesktop_os_release()
    name = release.get("VERSION_CODENAME")
    if not name:
        raise ClusterError("/etc/os-release names no VERSION_CODENAME; the image needs Debian's")
    return name


def apt_sources(directory: Path, name: str) -> list[Path]:
    """Return apt's source files below `directory` that offer the release called `name` itself.

    Others, of vendors, may need keys or hosts that an image build has not.
    """
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    return [
        file
        for file in files
        if file.suffix in {".list", ".sources"} and file.is_file() and _offers(file, name)
    ]


def _offers(file: Path, name: str) -> bool:
    lines = (line.split("#")[0].split() for line in file.read_text().splitlines())
    return any(name in words and words[0] in {"deb", "Suites:"} for words in lines if words)


def _install(target: Path, version: str, constraints: Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    installer = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    chosen = ("--target", str(target), "--python-version", version, "--only-binary", ":all:")
    run(*installer, "--quiet", *chosen, "--require-hashes", "-r", str(constraints))


def run(*argv: str) -> None:
    """Run a step of a build; raises ClusterError with the end of what it printed."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        last = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-15:])
        raise ClusterError(f"making an image: {argv[0]} failed\n{last}")
