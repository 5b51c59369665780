"""What is read from the API server's audit log."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from caios_testbed.audit import FAILED_OPEN, Use, entries, failed_open, requests_of, uses

OPERATOR = "system:serviceaccount:ops:controller"


def entry(verb: str, code: int = 200, user: str = OPERATOR, **ref: str) -> dict[str, Any]:
    return {
        "verb": verb,
        "user": {"username": user},
        "requestURI": "/api/v1/pods?limit=1",
        "objectRef": {"apiVersion": "v1", **ref},
        "responseStatus": {"code": code},
    }


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def test_requests_of_the_given_users_are_told_once_each(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    listed = entry("list", resource="pods")
    log.write_text(lines(listed, listed, entry("list", user="other", resource="nodes")))

    assert requests_of(log, {OPERATOR}) == {Use("list", "pods", code=200)}


def test_requests_of_nobody_who_is_known_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(lines(entry("list", 401, resource="pods") | {"user": {}}))

    assert requests_of(log, {OPERATOR}) == set()


def test_requests_before_the_given_moment_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    moments = {"pods": "2026-01-01T10:00:00.250000Z", "nodes": "2026-01-01T10:00:00.750000Z"}
    log.write_text(
        lines(
            *(
                entry("list", resource=r) | {"requestReceivedTimestamp": at}
                for r, at in moments.items()
            )
        )
    )

    since = dt.datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=dt.UTC)
    assert requests_of(log, {OPERATOR}, since) == {Use("list", "nodes", code=200)}


def test_webhooks_that_were_called_in_vain_are_told_with_the_moment(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    at = dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC)
    vain = {f"{FAILED_OPEN}round_0_index_1": "hook", "authorization.k8s.io/decision": "allow"}
    asked = {"requestReceivedTimestamp": "2026-01-01T10:00:00.000000Z", "annotations": vain}
    log.write_text(lines(entry("create", 201), entry("create", 201) | asked))

    assert list(failed_open(log)) == [(at, "hook")]


def test_rotated_files_are_read_first(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text(lines(entry("get", resource="c")))
    (tmp_path / "audit-2026-01-02T00-00-00.000.log").write_text(lines(entry("get", resource="b")))
    (tmp_path / "audit-2026-01-01T00-00-00.000.log").write_text(lines(entry("get", resource="a")))

    found = [item["objectRef"]["resource"] for item in entries(tmp_path / "audit.log")]
    assert found == ["a", "b", "c"]


def test_a_rotation_while_the_log_is_read_loses_nothing_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    log = tmp_path / "audit.log"
    log.write_text(lines(*(entry("get", resource=name) for name in "ab")))
    reader = entries(log)

    found = [next(reader)]
    log.rename(tmp_path / "audit-2026-01-01T00-00-00.000.log")
    log.write_text(lines(entry("get", resource="c")))
    found += reader

    assert [item["objectRef"]["resource"] for item in found] == ["a", "b", "c"]


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(lines(entry("get", resource="a")) + '{"verb": "li')

    assert len(list(entries(log))) == 1


def test_a_subresource_is_part_of_the_resource_and_its_name_is_that_of_the_path() -> None:
    made = entry(
        "create", 201, resource="serviceaccounts", subresource="token", namespace="a", name="reader"
    )

    assert uses(made) == [
        Use("create", "serviceaccounts/token", namespace="a", name="reader", code=201)
    ]


def test_the_creation_of_an_object_is_authorized_without_a_name() -> None:
    made = entry("create", 201, resource="configmaps", namespace="a", name="completed-by-the-log")

    assert uses(made) == [Use("create", "configmaps", namespace="a", code=201)]


def test_an_apply_that_makes_its_object_took_the_right_to_create_that_name() -> None:
    applied = entry("patch", 201, resource="configmaps", namespace="a", name="kept")

    assert [(use.verb, use.name) for use in uses(applied)] == [
        ("patch", "kept"),
        ("create", "kept"),
    ]


def test_a_request_that_is_about_no_resource_is_known_by_its_path() -> None:
    asked = {**entry("get"), "requestURI": "/.well-known/openid-configuration?timeout=5s"}
    del asked["objectRef"]

    assert uses(asked) == [Use("get", url="/.well-known/openid-configuration", code=200)]


def test_what_admission_forbids_was_not_refused_for_lack_of_a_right() -> None:
    decided = {
        which: entry("create", 403, resource="pods")
        | {"annotations": {"authorization.k8s.io/decision": which}}
        for which in ("allow", "forbid")
    }
    assert {which: uses(made)[0].refused for which, made in decided.items()} == {
        "allow": False,
        "forbid": True,
    }


def test_only_403_counts_as_refused() -> None:
    assert Use("get", "pods", code=403).refused
    assert not Use("get", "pods", code=404).refused
