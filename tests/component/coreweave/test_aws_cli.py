"""The AWS CLI, started as a workload would start it: nothing but environment and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from component.coreweave.world import MINT, ZONE, World


def test_the_tutorials_check(world: World, tmp_path: Path) -> None:
    world.grant("s3:*", MINT)
    done = world.aws(tmp_path, "s3api", "list-buckets")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["Buckets"] == []
    # Once or more: a key of 15 minutes is inside botocore's advisory refresh window from birth.
    assert world.requests(operation="CreateAccessKeyFromContainerCreds", status="200") != []


def test_without_the_right_to_list_the_answer_says_what_is_missing(
    world: World, tmp_path: Path
) -> None:
    world.grant(MINT)
    done = world.aws(tmp_path, "s3api", "list-buckets")
    assert done.returncode != 0
    assert "AccessDenied" in done.stderr
    assert "s3:ListAllMyBuckets" in done.stderr


def test_without_the_right_to_mint_the_provider_says_so(world: World, tmp_path: Path) -> None:
    done = world.aws(tmp_path, "s3api", "list-buckets")
    assert done.returncode != 0
    assert "permission denied" in done.stderr


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_files_go_up_and_come_back(world: World, tmp_path: Path, tls: bool) -> None:
    world.grant("s3:*", MINT)
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 2**15 * 2)
    steps = (
        ("s3", "mb", "s3://data", "--region", ZONE),
        ("s3", "cp", str(large), "s3://data/up/large", "--no-progress"),
        ("s3", "cp", "s3://data/up/large", "s3://data/copy", "--no-progress"),
        ("s3", "cp", "s3://data/copy", str(tmp_path / "back"), "--no-progress"),
        ("s3", "ls", "s3://data/up/"),
    )
    for step in steps:
        done = world.aws(tmp_path, *step, tls=tls)
        assert (step, done.returncode, done.stderr) == (step, 0, "")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
