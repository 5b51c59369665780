"""The parts of a Pod load that need no API server."""

import datetime as dt
import io
import json
import math
from collections import Counter

import pytest
from rich.console import Console

import builders
from builders import Json
from caios_testbed.podload import pods
from caios_testbed.podload.pods import Answer
from caios_testbed.podload.tally import KEPT, Phase, Record, Result, percentile, table

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "message": message}).encode()


def record(result: Result, *, attempts: int = 1, seconds: float = 0.01) -> Record:
    expected = result in {Result.INJECTED, Result.MISSED}
    return Record("phase", "pod", "account", expected, result, seconds, attempts, NOW)


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (201, "", Answer.CREATED),
        (200, "", Answer.CREATED),
        (0, "Connection reset by peer", Answer.AGAIN),
        (409, 'pods "load-1" already exists', Answer.EXISTS),
        (409, "Operation cannot be fulfilled on resourcequotas", Answer.AGAIN),
        (429, "too many requests", Answer.AGAIN),
        (500, "etcdserver: request timed out", Answer.AGAIN),
        (503, "apiserver not ready", Answer.AGAIN),
        (403, 'pods "p" is forbidden: not yet ready to handle request', Answer.AGAIN),
        (403, 'pods "p" is forbidden: violates PodSecurity', Answer.REFUSED),
        (400, 'admission webhook "x" denied the request: no', Answer.REFUSED),
        (500, 'Internal error occurred: failed calling webhook "x": refused', Answer.REFUSED),
        (422, "invalid", Answer.REFUSED),
    ],
)
def test_an_answer_to_a_creation_means(code: int, message: str, expected: Answer) -> None:
    assert pods.judge(code, status(message)) is expected


def test_an_answer_that_is_no_status_is_shown_by_its_beginning() -> None:
    assert pods.message(b"<html>" + b"x" * 1000) == "<html>" + "x" * 250


def load_pod() -> Json:
    return pods.pod("load-1", pods.ANNOTATED, {pods.RUN: "r"})


def test_a_pod_of_the_load_is_not_injected_until_somebody_does() -> None:
    pod = load_pod()

    assert not pods.injected(pod)
    assert pods.injected(builders.inject(pod).pod)


def test_a_pod_that_is_injected_by_half_is_an_error_that_says_what_is_missing() -> None:
    pod = builders.inject(load_pod()).pod
    del pod["spec"]["containers"][0]["env"]

    with pytest.raises(ValueError, match="load-1 is injected but for: environment"):
        pods.injected(pod)


def test_a_pod_of_the_load_is_never_started() -> None:
    assert load_pod()["spec"]["schedulingGates"]


def test_every_kind_of_account_is_declared_in_the_manifests() -> None:
    found = [m["metadata"]["name"] for m in pods.manifests("load") if m["kind"] == "ServiceAccount"]

    assert found == [account.name for account in pods.ACCOUNTS]


def test_a_phase_counts_what_became_of_its_pods() -> None:
    phase = Phase("phase")
    for result in Result:
        phase.add(record(result, attempts=2))

    assert (phase.created, phase.expected, phase.retried) == (4, 2, 6)
    assert [each.result for each in phase.wrong] == [
        Result.MISSED,
        Result.UNEXPECTED,
        Result.REFUSED,
        Result.UNANSWERED,
    ]


def test_a_phase_remembers_only_the_first_pods_that_went_wrong() -> None:
    phase = Phase("phase")
    for _ in range(2 * KEPT):
        phase.add(record(Result.MISSED))

    assert len(phase.wrong) == KEPT
    assert phase.results[Result.MISSED] == 2 * KEPT


def test_latency_is_that_of_pods_that_were_stored() -> None:
    phase = Phase("phase")
    for milliseconds in range(1, 101):
        phase.add(record(Result.PLAIN, seconds=milliseconds / 1000))
    phase.add(record(Result.UNANSWERED, seconds=30))

    assert (phase.percentile(0.5), phase.percentile(0.99)) == (0.05, 0.099)
    assert math.isnan(percentile([], 0.5))


def test_the_table_has_a_row_for_each_phase_and_their_sum() -> None:
    phases = [Phase("steady"), Phase("replica killed")]
    phases[0].add(record(Result.INJECTED))
    phases[1].add(record(Result.MISSED))
    out = io.StringIO()

    Console(file=out, width=160).print(table(phases))

    rows = [line.split() for line in out.getvalue().replace("│", " ").splitlines()]
    assert ["steady", "1", "1", "1", "0", "0", "0", "0", "0", "10.0", "10.0"] in rows
    assert ["all", "2", "2", "1", "1", "0", "0", "0", "0"] in rows


def test_what_else_was_counted_stands_beside_it() -> None:
    phases = [Phase("steady"), Phase("killed")]
    out = io.StringIO()

    Console(file=out, width=160).print(table(phases, {"lost": Counter(killed=3)}))

    rows = [line.split() for line in out.getvalue().replace("│", " ").splitlines()]
    assert ["steady", *["0"] * 8, "0", "nan", "nan"] in rows
    assert ["killed", *["0"] * 8, "3", "nan", "nan"] in rows
    assert ["all", *["0"] * 8, "3"] in rows
