"""HTTP as no API server speaks it: in parts, ahead of its turn, too long, too slow, not at all."""

import asyncio
import re
from pathlib import Path

import orjson
import pytest
import structlog

import builders
from caios_federation.admission import http
from caios_federation.admission.decide import Decision
from caios_federation.admission.endpoint import Endpoint
from caios_federation.admission.review import Request
from caios_federation.api.vocabulary import WarningReason
from caios_federation.core.warning import PodWarning
from caios_federation.observe.admission import AdmissionCounts
from component.admission.serving import (
    LONG,
    Connection,
    Dispatch,
    Held,
    connection,
    review,
    serving,
    soon,
)

PLAIN = builders.service_account()


def post(body: bytes, *headers: str, path: str = "/mutate-pods") -> bytes:
    """Return a request as it is sent."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def uid_of_answer(opened: Connection) -> str:
    """Return whom the next answer is for."""
    head = (await soon(opened.reader.readuntil(b"\r\n\r\n"))).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    length = re.search(r"^Content-Length: (\d+)", head, re.MULTILINE)
    assert length
    answer = orjson.loads(await soon(opened.reader.readexactly(int(length[1]))))
    uid: str = answer["response"]["uid"]
    return uid


async def rest(opened: Connection) -> str:
    """Return all that comes until the server ends the connection."""
    return (await soon(opened.reader.read())).decode()


class Wire(asyncio.Transport):
    """A connection to somebody who notes what was logged before the answer came."""

    def __init__(self, lines: list[structlog.typing.EventDict]) -> None:
        super().__init__()
        self._lines = lines
        self.answered = asyncio.Event()
        self.logged_before = -1

    def write(self, _data: object) -> None:
        self.logged_before = len(self._lines)
        self.answered.set()

    def resume_reading(self) -> None:
        pass


@pytest.mark.parametrize("known", [False, True], ids=["dispatched", "as before"])
async def test_an_answer_does_not_wait_for_its_log_line(tmp_path: Path, *, known: bool) -> None:
    async with serving(tmp_path, None, builders.service_account(inject="true")) as here:
        here.caches.federations.observe(None, builders.federation())
        here.caches.issuer = builders.ISSUER
        if known:
            await here.decider.decide("team-a", builders.pod())
        endpoint = Endpoint(
            here.decider, Dispatch(), AdmissionCounts(), lambda: "", deadline_seconds=LONG
        )
        with structlog.testing.capture_logs() as lines:
            one = http.Connection(http.Listener(endpoint, http.Limits(100_000, LONG, LONG)))
            wire = Wire(lines)
            one.connection_made(wire)
            one.data_received(post(orjson.dumps(review())))
            await soon(wire.answered.wait())
            await asyncio.sleep(0)
            one.connection_lost(None)
    assert wire.logged_before == 0
    assert [line["event"] for line in lines] == ["pod admitted"]


async def test_a_request_may_come_byte_by_byte(tmp_path: Path) -> None:
    sent = post(orjson.dumps(review(uid="slow", object={})))
    async with serving(tmp_path, Dispatch()) as here, connection(here.port) as opened:
        for at in range(len(sent)):
            opened.writer.write(sent[at : at + 1])
            await opened.writer.drain()
            if at % 50 == 0:
                await asyncio.sleep(0)
        assert await uid_of_answer(opened) == "slow"


async def test_a_body_may_come_in_chunks(tmp_path: Path) -> None:
    body = orjson.dumps(review(uid="chunked"))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    async with serving(tmp_path) as here, connection(here.port) as opened:
        opened.writer.write(post(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
        assert await uid_of_answer(opened) == "chunked"


async def test_a_chunked_body_over_the_limit_is_413(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, body_limit_bytes=1000) as here,
        connection(here.port) as opened,
    ):
        opened.writer.write(post(b"3e9\r\n" + b"x" * 1001, "Transfer-Encoding: chunked"))
        answer = await rest(opened)
    assert answer.startswith("HTTP/1.1 413 ")
    assert answer.endswith("\r\n\r\nbody: longer than 1000 bytes\n")


async def test_who_is_refused_while_it_still_sends_can_read_why(tmp_path: Path) -> None:
    """A connection that is closed with bytes unread is reset, and the answer may be lost."""
    async with (
        serving(tmp_path, body_limit_bytes=1000) as here,
        connection(here.port) as opened,
    ):
        await opened.start(b"x" * 2_000_000, length=8_000_000)
        answer = await rest(opened)
    assert answer.startswith("HTTP/1.1 413 ")


async def test_who_is_refused_is_refused_once(tmp_path: Path) -> None:
    """Also where the request's deadline passes while what is left of it is thrown away."""
    with structlog.testing.capture_logs() as lines:
        async with (
            serving(tmp_path, body_limit_bytes=1000, deadline_seconds=0.3) as here,
            connection(here.port) as opened,
        ):
            await opened.start(b"x", length=2000)
            await asyncio.sleep(0.1)  # the beginning is to be read by itself
            opened.writer.write(b"x" * 1500)
            answer = await rest(opened)
    assert answer.count("HTTP/1.1 ") == 1
    assert [line["err"] for line in lines if line["event"] == "admission refused"] == [
        "body: longer than 1000 bytes"
    ]


async def test_a_query_of_the_path_is_not_part_of_it(tmp_path: Path) -> None:
    """API servers say their timeout there."""
    async with serving(tmp_path) as here:
        status, _ = await here.send(orjson.dumps(review()), path="/mutate-pods?timeout=5s")
        assert status == 200
        async with here.session.get(here.url("/readyz?verbose")) as answer:
            assert (answer.status, await answer.text()) == (200, "ready")


async def test_head_is_answered_without_a_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as here, connection(here.port) as opened:
        opened.writer.write(b"HEAD /readyz HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await rest(opened)
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("Content-Length: 5\r\n\r\n")


async def test_who_is_allowed_what_is_told_with_405(tmp_path: Path) -> None:
    async with serving(tmp_path) as here:
        for path, allowed in (("/mutate-pods", "POST"), ("/readyz", "GET, HEAD")):
            async with here.session.put(here.url(path)) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, allowed)


async def test_an_answer_says_when_it_was_made(tmp_path: Path) -> None:
    async with serving(tmp_path) as here, here.session.get(here.url("/readyz")) as answer:
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["Date"])


async def test_who_wants_to_be_told_to_go_on_is(tmp_path: Path) -> None:
    body = orjson.dumps(review(uid="polite"))
    async with serving(tmp_path) as here, connection(here.port) as opened:
        head = post(body, "Expect: 100-continue")[: -len(body)]
        opened.writer.write(head)
        assert await soon(opened.reader.readuntil(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        opened.writer.write(body)
        assert await uid_of_answer(opened) == "polite"


@pytest.mark.parametrize("ending", ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
async def test_who_wants_to_end_the_connection_may(tmp_path: Path, ending: str) -> None:
    async with serving(tmp_path) as here, connection(here.port) as opened:
        opened.writer.write(f"GET /readyz {ending}\r\n".encode())
        answer = await rest(opened)
    assert "\r\nConnection: close\r\n" in answer
    assert answer.endswith("\r\n\r\nready")


async def test_requests_ahead_of_their_turn_are_answered_in_order(tmp_path: Path) -> None:
    held = Held()

    async def decide(request: Request) -> Decision:
        if request.uid == "first":
            await held(request)
        return Decision(warnings=(PodWarning(WarningReason.MARK_KEPT, request.uid),))

    pods = {"first": "other", "second": "reader", "third": "other"}  # the second is never asked of
    sent = b"".join(
        post(orjson.dumps(review(uid=uid, object=builders.pod(serviceAccountName=account))))
        for uid, account in pods.items()
    )
    async with (
        serving(tmp_path, Dispatch(decide), PLAIN, deadline_seconds=LONG) as here,
        connection(here.port) as opened,
    ):
        opened.writer.write(sent)
        await soon(held.asked.wait())
        held.released.set()
        assert [await uid_of_answer(opened) for _ in pods] == list(pods)


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello",
        b"POST /mutate-pods HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /mutate-pods HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /mutate-pods HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
    ids=lambda sent: sent[:24].decode(errors="replace"),
)
async def test_what_is_not_http_ends_the_connection_and_nothing_else(
    tmp_path: Path, sent: bytes
) -> None:
    dispatch = Dispatch()
    async with serving(tmp_path, dispatch) as here:
        async with connection(here.port) as opened:
            opened.writer.write(sent)
            answer = await rest(opened)
        assert await here.ready() == 200
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "\r\nConnection: close\r\n" in answer
    assert dispatch.reviews == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /readyz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_no_other_protocol_is_turned_to(tmp_path: Path, sent: bytes, status: int) -> None:
    async with serving(tmp_path) as here, connection(here.port) as opened:
        opened.writer.write(sent)
        answer = await rest(opened)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nConnection: close\r\n" in answer


async def test_a_head_over_the_limit_is_431(tmp_path: Path) -> None:
    async with serving(tmp_path) as here, connection(here.port) as opened:
        opened.writer.write(b"GET /readyz HTTP/1.1\r\nX: ")
        for _ in range(70):
            opened.writer.write(b"x" * 1000)
            await opened.writer.drain()
        assert (await rest(opened)).startswith("HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "sent",
    [b"POST /mutate-po", post(b"{}")[:-1]],
    ids=["in its head", "in its body"],
)
async def test_a_request_that_does_not_end_is_408(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path, deadline_seconds=0.1) as here, connection(here.port) as opened:
        opened.writer.write(sent)
        answer = await rest(opened)
    assert answer.startswith("HTTP/1.1 408 ")
    assert answer.endswith("not complete within 0.1 s\n")


async def test_a_connection_that_is_idle_for_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caios_federation.admission.server._KEEPALIVE_SECONDS", 0.2)
    async with serving(tmp_path) as here, connection(here.port) as opened:
        assert await rest(opened) == ""


async def test_a_connection_whose_request_is_under_way_is_not_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caios_federation.admission.server._KEEPALIVE_SECONDS", 0.05)
    held = Held()
    async with (
        serving(tmp_path, Dispatch(held), deadline_seconds=LONG) as here,
        connection(here.port) as opened,
    ):
        await opened.start(orjson.dumps(review()))
        await soon(held.asked.wait())
        await asyncio.sleep(0.2)  # what does not happen gives no event
        held.released.set()
        assert await opened.answer() == 200
