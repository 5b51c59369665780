"""Where the repository is, and what is in it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "operator" / "caios_federation"


def tracked_files() -> Iterator[Path]:
    """Yield the files that git knows of."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listing.split("\0"):
        path = ROOT / name
        if name and path.is_file():  # what was deleted may not be committed yet
            yield path
