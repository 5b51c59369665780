"""What must stand in no file: where packages come from, and where somebody's checkout is.

The patterns are put together from parts, so that this file does not hold them itself.
"""

import re

import pytest

from meta.repository import ROOT, tracked_files

REGISTRIES = [
    ("py" + "pi", "org"),
    ("python" + "hosted", "org"),
    ("registry", "npm" + "js", "org"),
    ("proxy", "go" + "lang", "org"),
    ("sum", "go" + "lang", "org"),
    ("index", "cra" + "tes", "io"),
    ("ruby" + "gems", "org"),
]
FOLDERS = ["work", "root"]
PATTERNS = {
    **{".".join(parts): re.escape(".".join(parts)) for parts in REGISTRIES},
    **{f"/{name}/": rf"(?<![\w.}}-])/{name}/" for name in FOLDERS},
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_tracked_file_names_it(pattern: str) -> None:
    compiled = re.compile(pattern.encode())
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if compiled.search(path.read_bytes())
    ]
    assert found == []


def test_the_patterns_find_what_they_are_for() -> None:
    folder = "/" + "/".join([FOLDERS[0], "main"])
    assert [name for name, pattern in PATTERNS.items() if re.search(pattern, f"cd {folder}")] == [
        f"/{FOLDERS[0]}/"
    ]
