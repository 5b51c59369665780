"""What is asked of the server, and how it answers (peers checklist 4.7)."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from aiohttp import ClientConnectionError

import builders
from caios_federation.admission.decide import Decision
from caios_federation.admission.review import Request
from caios_federation.api.vocabulary import SkipReason, WarningReason
from caios_federation.clients import errors
from caios_federation.core.warning import PodWarning
from component.admission.serving import (
    ADDITION,
    LONG,
    Decide,
    Dispatch,
    Held,
    connection,
    review,
    serving,
    soon,
)

FEDERATED = builders.service_account(inject="true")
PLAIN = builders.service_account()


async def test_nobody_listens_before_the_caches_are_synced(tmp_path: Path) -> None:
    async with serving(tmp_path, synced=False) as here:
        assert not await here.is_open()
        here.synced.set()
        await soon(here.server.listening.wait())
        assert await here.is_open()
        assert await here.ready() == 200


async def test_the_client_configuration_is_told_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as here:
        assert here.configs == [{"url": f"https://127.0.0.1:{here.port}/mutate-pods"}]


@pytest.mark.parametrize("path", ["/", "/mutate", "/mutate-pods/x", "/healthz", "/metrics"])
async def test_an_unknown_path_is_404(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as here:
        status, _ = await here.send(orjson.dumps(review()), path=path)
    assert status == 404


async def test_the_mutate_path_takes_posts_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as here:
        for method in ("GET", "PUT", "DELETE"):
            status, _ = await here.send(b"{}", method=method)
            assert status == 405


BAD = {
    b"": "body: not JSON",
    b"{": "body: not JSON",
    b"\xff": "body: not JSON",
    b"[" * 100_000: "body: not JSON",
    b"[]": "body: must be an AdmissionReview object",
    b"null": "body: must be an AdmissionReview object",
    b'"text"': "body: must be an AdmissionReview object",
    b"{}": "request: must be an object",
    b'{"request": null}': "request: must be an object",
    b'{"request": []}': "request: must be an object",
    b'{"request": {}}': "request.uid: must be a string",
    b'{"request": {"uid": ""}}': "request.uid: must be a string",
    b'{"request": {"uid": 5}}': "request.uid: must be a string",
}


@pytest.mark.parametrize("body", BAD, ids=lambda body: body[:30].decode(errors="replace"))
async def test_what_is_no_review_is_400_and_the_field_is_named(tmp_path: Path, body: bytes) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch) as here:
        status, text = await here.send(body)
        assert await here.ready() == 200
    assert status == 400
    assert text.startswith(BAD[body])
    assert "allowed" not in text
    assert dispatch.reviews == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/yaml", ""])
async def test_another_content_type_is_415(tmp_path: Path, content_type: str) -> None:
    async with serving(tmp_path) as here:
        status, text = await here.send(orjson.dumps(review()), content_type=content_type)
    assert (status, text) == (415, "Content-Type: must be application/json\n")


async def test_a_charset_of_the_content_type_does_no_harm(tmp_path: Path) -> None:
    async with serving(tmp_path) as here:
        status, _ = await here.send(
            orjson.dumps(review()), content_type="application/json; charset=utf-8"
        )
    assert status == 200


async def test_a_body_over_the_limit_is_413(tmp_path: Path) -> None:
    async with serving(tmp_path, body_limit_bytes=10_000) as here:
        status, text = await here.send(orjson.dumps(review(padding="x" * 10_000)))
        assert (status, text) == (413, "body: longer than 10000 bytes\n")
        assert (await here.review(padding="x" * 1000))["response"]["allowed"] is True


async def test_a_huge_pod_within_the_limit_is_injected(tmp_path: Path) -> None:
    containers = [builders.container(f"c{number}", args=["x" * 1000]) for number in range(5000)]
    async with serving(tmp_path) as here:
        answer = await here.review(object=builders.pod(*containers))
    assert "patch" in answer["response"]


async def lost(_request: Request) -> Decision:
    raise LookupError("the handler is out of its depth")


async def broken(_request: Request) -> Decision:
    raise RuntimeError("Kopf itself fell over")


async def unavailable(_request: Request) -> Decision:
    raise errors.Unavailable("API server: ServiceAccount team-a/reader: no answer in 1 s")


async def unwritable(_request: Request) -> Decision:
    return Decision(operations=({"op": "add", "path": "/x", "value": object()},))


async def undecided(_request: Request) -> None:
    return None


@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (lost, "RuntimeError: the handler is out of its depth"),
        (broken, "RuntimeError: Kopf itself fell over"),
        (unavailable, "Unavailable: API server: ServiceAccount team-a/reader: no answer in 1 s"),
        (unwritable, "TypeError: Type is not JSON serializable: object"),
        (undecided, "RuntimeError: the handler left no decision"),
    ],
)
async def test_what_goes_wrong_on_our_side_is_500_and_never_a_denial(
    tmp_path: Path, decide: Decide, why: str
) -> None:
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path, Dispatch(decide)) as here:
            status, text = await here.send(orjson.dumps(review()))
    assert status == 500
    assert text == "the admission server failed; its log has the reason\n"
    (line,) = [line for line in lines if line["event"] == "pod admission failed"]
    assert (line["log_level"], line["err"]) == ("error", why)


async def test_what_goes_wrong_without_the_handler_is_500_too(tmp_path: Path) -> None:
    def lost(_namespace: str, _raw: object) -> None:
        raise RecursionError("the Pod is deeper than we are")

    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path) as here:
            here.decider.decide_as_before = lost  # type: ignore[method-assign, assignment]
            status, _ = await here.send(orjson.dumps(review()))
            del here.decider.decide_as_before
            assert (await here.review())["response"]["allowed"] is True
    assert status == 500
    (line,) = [line for line in lines if line["event"] == "pod admission failed"]
    assert line["err"] == "RecursionError: the Pod is deeper than we are"


async def test_the_handler_is_not_asked_about_what_it_has_resolved(tmp_path: Path) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch, FEDERATED) as here:
        here.caches.federations.observe(None, builders.federation())
        here.caches.issuer = builders.ISSUER
        await here.decider.decide("team-a", builders.pod())
        with structlog.testing.capture_logs() as lines:
            answer = await here.review()
    assert answer["response"]["patchType"] == "JSONPatch"
    assert dispatch.reviews == []
    (line,) = [line for line in lines if line["event"] == "pod admitted"]
    assert (line["outcome"], line["principal"]) == ("injected", builders.PRINCIPAL)


async def test_a_decision_past_the_deadline_is_500(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, Dispatch(held), deadline_seconds=0.05) as here:
        status, text = await here.send(orjson.dumps(review()))
        assert status == 500
        assert "allowed" not in text
        held.released.set()
        assert (await here.review())["response"]["allowed"] is True


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_uid_and_version_of_the_request_are_echoed(tmp_path: Path, version: str) -> None:
    body = review(uid="the-uid") | {"apiVersion": f"admission.k8s.io/{version}"}
    async with serving(tmp_path) as here:
        status, text = await here.send(orjson.dumps(body))
    assert status == 200
    patch = base64.b64encode(orjson.dumps([ADDITION])).decode()
    assert orjson.loads(text) == {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "response": {
            "uid": "the-uid",
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": patch,
        },
    }


async def test_warnings_are_passed_on_without_a_patch(tmp_path: Path) -> None:
    async def warn(_request: Request) -> Decision:
        warning = PodWarning(WarningReason.FEDERATION_NOT_FOUND, "look here")
        return Decision(warnings=(warning,), skipped=SkipReason.FEDERATION_NOT_FOUND)

    async with serving(tmp_path, Dispatch(warn)) as here:
        response = (await here.review(uid="u"))["response"]
    assert response == {"uid": "u", "allowed": True, "warnings": ["look here"]}


@pytest.mark.parametrize(
    "request_fields",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"operation": "CONNECT"},
        {"operation": None},
        {"kind": {"group": "", "version": "v1", "kind": "ConfigMap"}},
        {"kind": {"group": "example.com", "version": "v1", "kind": "Pod"}},
        {"kind": None},
        {"object": None},
        {"object": []},
        {"object": "text"},
    ],
    ids=repr,
)
async def test_what_is_no_creation_of_a_pod_is_allowed_unseen(
    tmp_path: Path, request_fields: dict[str, Any]
) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch) as here:
        answer = await here.review(uid="u", **request_fields)
    assert answer["response"] == {"uid": "u", "allowed": True}
    assert dispatch.reviews == []


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": [], "spec": []},
        {"metadata": {"name": 5}, "spec": {"containers": None, "serviceAccountName": ["x"]}},
        {"metadata": {"generateName": "x-"}, "spec": {"containers": [None, 1, "x", {}]}},
    ],
    ids=repr,
)
async def test_a_malformed_pod_is_dispatched_like_any_other(
    tmp_path: Path, pod: dict[str, Any]
) -> None:
    async with serving(tmp_path) as here:
        assert (await here.review(object=pod))["response"]["allowed"] is True


async def test_a_pod_whose_service_account_is_not_federated_never_reaches_kopf(
    tmp_path: Path,
) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch, PLAIN) as here:
        answer = await here.review(uid="u")
    assert answer["response"] == {"uid": "u", "allowed": True}
    assert dispatch.reviews == []


async def test_a_pod_whose_service_account_is_federated_or_unknown_reaches_kopf(
    tmp_path: Path,
) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch, FEDERATED) as here:
        await here.review()
        await here.review(object=builders.pod(serviceAccountName="unknown"))
    assert dispatch.webhooks == ["mutate-pods", "mutate-pods"]


async def test_kopf_gets_nothing_of_the_pod_but_names(tmp_path: Path) -> None:
    marker = "s3cr3t-marker"
    pod = builders.pod(
        builders.container(env={"KEY": marker}),
        annotations={"note": marker},
        labels={"team": marker},
        nodeName=marker,
    )
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch) as here:
        await here.review(object=pod, dryRun=True, options={"note": marker}, userInfo={"x": marker})
    (slim,) = dispatch.reviews
    assert marker not in str(slim)
    assert slim["request"]["object"] == {"metadata": {"namespace": "team-a", "name": "workload"}}
    assert slim["request"]["dryRun"] is True


async def test_no_log_line_has_anything_of_a_pod_but_names(tmp_path: Path) -> None:
    marker = "s3cr3t-marker"
    pod = builders.pod(builders.container(env={"KEY": marker}), annotations={"note": marker})
    with structlog.testing.capture_logs() as lines:
        async with serving(tmp_path, Dispatch(undecided)) as here:
            await here.send(orjson.dumps(review(object=pod)))
            await here.send(orjson.dumps({"request": {"uid": None, "object": pod}}))
            await here.send(orjson.dumps(review(object=pod))[:-9])
    assert "workload" in str(lines)
    assert marker not in str(lines)


async def test_a_handler_sees_its_own_request_however_many_are_under_way(tmp_path: Path) -> None:
    everybody = asyncio.Barrier(5)

    async def decide(request: Request) -> Decision:
        await everybody.wait()
        return Decision(warnings=(PodWarning(WarningReason.MARK_KEPT, request.uid),))

    async with serving(tmp_path, Dispatch(decide)) as here:
        answers = await soon(asyncio.gather(*(here.review(uid=f"u{n}") for n in range(5))))
    assert [answer["response"]["warnings"] for answer in answers] == [[f"u{n}"] for n in range(5)]


async def test_requests_on_one_connection_are_independent(tmp_path: Path) -> None:
    body = orjson.dumps(review())
    async with serving(tmp_path) as here, connection(here.port) as kept:
        for sent, status in ((body, 200), (b"{", 400), (body, 200)):
            await kept.start(sent)
            assert await kept.answer() == status


async def test_a_client_that_dawdles_holds_nobody_up(tmp_path: Path) -> None:
    body = orjson.dumps(review())
    async with serving(tmp_path) as here, connection(here.port) as slow:
        await slow.start(body[:100], length=len(body))
        for _ in range(20):
            assert (await here.review())["response"]["allowed"] is True
        slow.writer.write(body[100:])
        assert await slow.answer() == 200


async def test_a_client_that_leaves_in_the_middle_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = orjson.dumps(review())
    async with serving(tmp_path) as here:
        for kept in (0, 50, len(body) - 1):
            async with connection(here.port) as leaving:
                await leaving.start(body[:kept], length=len(body))
        assert (await here.review())["response"]["allowed"] is True
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_slow_decision_holds_nobody_up(tmp_path: Path) -> None:
    held = Held()

    async def decide(request: Request) -> Decision:
        return await held(request) if request.uid == "slow" else Decision()

    async with serving(tmp_path, Dispatch(decide), deadline_seconds=LONG) as here:
        slow = asyncio.create_task(here.review(uid="slow"))
        await soon(held.asked.wait())
        for _ in range(10):
            assert (await here.review())["response"]["allowed"] is True
        held.released.set()
        assert "patch" in (await soon(slow))["response"]


async def test_plain_http_gets_no_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as here:
        with pytest.raises(ClientConnectionError):
            await here.session.get(f"http://127.0.0.1:{here.port}/readyz")
        assert await here.ready() == 200
