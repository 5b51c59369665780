"""Admission, as it is counted."""

from pathlib import Path

import orjson
import pytest
import structlog

import builders
from caios_federation.admission.decide import Decision
from caios_federation.admission.review import Request
from caios_federation.api.vocabulary import SkipReason, WarningReason
from caios_federation.clients import errors
from caios_federation.core.warning import PodWarning
from caios_federation.observe.metrics import Metrics
from component.admission.serving import INJECTED, Decide, Dispatch, review, serving
from component.observability.scraping import Scrape, scrape

PLAIN = builders.service_account("reader")


async def answered(
    directory: Path, decide: Decide, *known: builders.Json, **request: object
) -> Scrape:
    """Return what was counted of one review."""
    metrics = Metrics()
    with structlog.testing.capture_logs():
        async with serving(directory, Dispatch(decide), *known, counts=metrics.admission) as here:
            await here.send(orjson.dumps(review(**request)))
    return scrape(metrics.registry)


async def injected(_request: Request) -> Decision:
    return INJECTED


async def nothing_to_add(_request: Request) -> Decision:
    return Decision()


async def skipped(_request: Request) -> Decision:
    warning = PodWarning(WarningReason.ISSUER_UNKNOWN, "not yet")
    return Decision(warnings=(warning, warning), skipped=SkipReason.ISSUER_UNKNOWN)


async def failing(_request: Request) -> Decision:
    raise errors.Unavailable("no answer")


@pytest.mark.parametrize(
    ("decide", "outcome"),
    [
        (injected, "injected"),
        (nothing_to_add, "unchanged"),
        (skipped, "skipped"),
        (failing, "failed"),
    ],
)
async def test_a_request_is_counted_by_what_became_of_the_pod(
    tmp_path: Path, decide: Decide, outcome: str
) -> None:
    seen = await answered(tmp_path, decide)
    assert seen.counted("admission_requests_total") == {outcome: 1}
    assert seen.counted("admission_duration_seconds_count") == {outcome: 1}


async def test_a_pod_that_never_reaches_kopf_is_a_skip(tmp_path: Path) -> None:
    seen = await answered(tmp_path, injected, PLAIN)
    assert seen.counted("admission_requests_total") == {"skipped": 1}
    assert seen.counted("admission_skips_total") == {"NotFederated": 1}


async def test_what_is_no_creation_of_a_pod_is_left_unchanged_for_no_reason(
    tmp_path: Path,
) -> None:
    seen = await answered(tmp_path, injected, operation="UPDATE")
    assert seen.counted("admission_requests_total") == {"unchanged": 1}
    assert seen.counted("admission_skips_total") == {}


async def test_skips_and_warnings_are_counted_by_reason(tmp_path: Path) -> None:
    seen = await answered(tmp_path, skipped)
    assert seen.counted("admission_skips_total") == {"IssuerUnknown": 1}
    assert seen.counted("admission_warnings_total") == {"IssuerUnknown": 2}


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"{", "application/json"), (b"{}", "text/plain")]
)
async def test_what_cannot_be_read_is_refused_and_no_failure(
    tmp_path: Path, body: bytes, content_type: str
) -> None:
    metrics = Metrics()
    with structlog.testing.capture_logs():
        async with serving(tmp_path, counts=metrics.admission) as here:
            await here.send(body, content_type=content_type)
    seen = scrape(metrics.registry)
    assert seen.counted("admission_requests_total") == {"refused": 1}


async def test_a_duration_is_in_every_bucket_from_its_own_on(tmp_path: Path) -> None:
    metrics = Metrics()
    async with serving(tmp_path, counts=metrics.admission) as here:
        for _ in range(3):
            await here.review()
    seen = scrape(metrics.registry)
    bounds = ["0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1"]
    bounds += ["0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"]
    name = "admission_duration_seconds_bucket"
    counts = [seen(name, outcome="injected", le=bound) or 0.0 for bound in bounds]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    total = seen("admission_duration_seconds_sum", outcome="injected")
    assert total is not None
    assert 0 < total < 60


def test_a_duration_on_a_bound_belongs_to_it() -> None:
    metrics = Metrics()
    metrics.admission.answered(INJECTED.outcome, 0.001)
    seen = scrape(metrics.registry)
    assert seen("admission_duration_seconds_bucket", outcome="injected", le="0.001") == 1
    assert seen("admission_duration_seconds_bucket", outcome="injected", le="0.0005") == 0
