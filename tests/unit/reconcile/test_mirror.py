"""Files are replaced all together or not at all."""

import stat
from pathlib import Path

import pytest

from caios_federation.reconcile.mirror import write_files


def test_nothing_is_replaced_before_everything_is_written(tmp_path: Path) -> None:
    write_files(tmp_path, {"tls.crt": b"old", "tls.key": b"old"})
    (tmp_path / "tls.key.new").mkdir()
    with pytest.raises(OSError, match=r"tls\.key\.new"):
        write_files(tmp_path, {"tls.crt": b"new", "tls.key": b"new"})
    assert (tmp_path / "tls.crt").read_bytes() == b"old"


def test_files_and_a_directory_that_is_made_are_their_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "tls"
    write_files(directory, {"tls.key": b"key"})
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "tls.key").stat().st_mode) == 0o600
