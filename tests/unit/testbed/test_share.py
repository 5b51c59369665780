"""Pods get more of a busy machine than a single process does."""

from pathlib import Path

import pytest

from caios_testbed.cluster.share import GROUP, weigh_pods


@pytest.mark.parametrize(("name", "before"), [("cpu.shares", 1024), ("cpu.weight", 100)])
def test_all_pods_together_weigh_as_much_as_sixteen_processes(
    tmp_path: Path, name: str, before: int
) -> None:
    group = tmp_path / GROUP
    group.mkdir()
    (group / name).write_text(str(before))
    weigh_pods([tmp_path])
    assert int((group / name).read_text()) == 16 * before


def test_a_hierarchy_without_weights_is_left_alone(tmp_path: Path) -> None:
    weigh_pods([tmp_path / "gone", tmp_path])
    assert list((tmp_path / GROUP).iterdir()) == []
