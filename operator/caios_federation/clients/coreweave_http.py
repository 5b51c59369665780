"""HTTP as CoreWeave's API needs it: one pool, one rate, bounded retries, errors that are safe.

What fails quickly is tried again here; what hangs is not, and is left alone for a while. While the
service asks for a pause, nothing is sent, whoever wants it to be.

A token leaves this process over TLS or to this machine alone, and never follows a redirect. No
exception holds it, nor a body: those of aiohttp carry the headers of the request, so none of them
is ever chained to ours.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

import aiohttp
import orjson
import stamina
from aiolimiter import AsyncLimiter
from pydantic import SecretStr
from yarl import URL

from caios_federation.api import vocabulary as words
from caios_federation.api.objects import Json
from caios_federation.clients import egress, errors, fence
from caios_federation.clients.circuit import Circuit, Refusal
from caios_federation.clients.pauses import Pauses
from caios_federation.clients.redaction import redacted
from caios_federation.clients.retry_after import pause_of
from caios_federation.settings import CoreWeaveSettings

_SMALL: Final = 64 << 10
"""Bytes of an answer about one thing, or of an error."""
_FIRST_WAIT: Final = 0.2
_JITTER: Final = 0.5
_QUICK_SECONDS: Final = 2.0
"""A failure that took longer is not tried again here: whoever asks would wait for it in vain."""
_OK, _NO_CONTENT, _REDIRECT, _BAD_REQUEST, _NOT_FOUND = 200, 204, 300, 400, 404
_SERVER_ERROR, _NOT_IMPLEMENTED, _UNAVAILABLE = 500, 501, 503
_BY_GATEWAYS: Final = frozenset({502, 504})
"""Of what is behind a gateway nothing is known then."""
_UNAVAILABLE_CODES: Final = (14, "unavailable")
"""`code` of a 503 of the service's own, in REST and in Connect. A gateway answers 503, too, also
where it has passed the request on and lost the connection then."""
_ERRORS: Final[Mapping[int, type[errors.ClientError]]] = {
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    409: errors.WriteConflict,
    429: errors.RateLimited,
}


_PROBLEMS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    # In words of ours: the texts of these exceptions hold URLs and headers.
    (aiohttp.ClientHttpProxyError, "the proxy refuses to connect"),
    (
        aiohttp.ClientConnectorCertificateError,
        "its certificate is not trusted; set coreweave.ca_bundle to the CA's file",
    ),
    (TimeoutError, "no answer within coreweave.timeout_seconds"),
    (aiohttp.ClientConnectorDNSError, "its host name is not known"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientResponseError, "what answers does not speak HTTP"),
    (Exception, "the connection broke"),
)
"""What went wrong; the first that fits."""


class Repeat(Enum):
    """What becomes of a request that is sent twice."""

    SAME = "same"
    """The same as of one: reads, and writes of what nobody else writes meanwhile."""
    REPLACES = "replaces"
    """The same, unless something else was written in between. One that may still be under way is
    not sent again: whoever asked for it has to know of it."""
    CREATES = "creates"
    """Two things: sent again only where the first one surely did nothing."""
    MINTS = "mints"
    """Two keys: not sent again after 500 and 502. Its 400 may be a rotation of tokens under way,
    and is looked at twice."""


_AGAIN: Final[Mapping[Repeat, Container[int]]] = {
    Repeat.SAME: frozenset({429, *range(500, 600)}) - {_NOT_IMPLEMENTED},
    Repeat.REPLACES: frozenset({429, 500, 503}),
    Repeat.CREATES: frozenset({429, 503}),
    Repeat.MINTS: frozenset({429, 503, 504}),
}
"""After which statuses a request is sent again."""
_ONCE: Final = (Repeat.REPLACES, Repeat.CREATES)
"""What is sent again only if the first one is surely not under way any more."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of CoreWeave's API."""

    name: str
    """As the API reference calls it."""
    method: str
    path: str
    repeat: Repeat = Repeat.SAME
    scheme: str = "Bearer "
    """What stands before the token in `Authorization`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    longest_answer: int = _SMALL
    """Bytes."""
    not_served: str = ""
    """What to say where the API does not know the operation; empty where it always does."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be sent."""

    operation: Operation
    url: URL
    token: SecretStr
    body: Json | None = field(repr=False)
    whose: str

    @property
    def limited(self) -> tuple[URL, str, str]:
        """What a pause is a pause of: one who is asked for too much need not hold up others."""
        return self.url.origin(), self.operation.name, self.whose


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str
    content: bytes | None = field(repr=False)
    """None when it is too long."""


@dataclass(frozen=True, slots=True)
class _Silence:
    """What came instead of an answer."""

    problem: str
    unsent: bool
    """Whether the request was surely not taken."""
    timed_out: bool


class _Transient(Exception):
    """A failure that another try at once may get over."""

    def __init__(self, error: errors.ClientError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait
        """Seconds that the other side asked for."""


Answered = Callable[[str, int | None, float], None]
"""Told of each request that was sent: operation, status (None without an answer), seconds."""


class Http:
    """Sends the requests."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: CoreWeaveSettings,
        answered: Answered = lambda _operation, _status, _seconds: None,
    ) -> None:
        self._session = session
        self._answered = answered
        self._settings = settings
        self._proxy = egress.proxy()
        # One at a time: what the limiter takes for its rate it lets through at once, too.
        self._rate = AsyncLimiter(1, 1 / settings.requests_per_second)
        # By origin and operation: an exchange that hangs keeps nobody from writing policies.
        self._circuits = defaultdict[tuple[URL, str], Circuit](Circuit)
        self._pauses = Pauses()
        longest = settings.longest_retry_seconds
        self._retrying = stamina.AsyncRetryingCaller(
            attempts=settings.attempts,
            timeout=None,  # attempts and waits are bounded
            wait_initial=min(_FIRST_WAIT, longest),
            wait_max=longest,
            wait_jitter=min(_JITTER, longest),
        )

    async def ask(
        self,
        operation: Operation,
        url: URL,
        token: SecretStr,
        body: Json | None = None,
        *,
        whose: str = "",
    ) -> Json:
        """Return the JSON object that comes back; `url` is one of `egress.address`.

        `whose` names those whose requests the service counts together, such as an organization.
        Raises ClientError: Retryable after the last try that the settings allow.
        """
        request = _Request(operation, url, token, body, whose)
        try:
            return await self._retrying(_wait, self._try, request, set[int]())
        except _Transient as transient:
            error = transient.error
        raise error

    async def _try(self, request: _Request, seen: set[int]) -> Json:
        operation = request.operation
        answer, quick = await self._guarded(request)
        if isinstance(answer, _Silence):
            text = f"CoreWeave API: {operation.name}: {answer.problem}"
            if quick and (answer.unsent or operation.repeat is Repeat.SAME):
                raise _Transient(errors.Unavailable(text))
            raise errors.Unavailable(text, unanswered=not answer.unsent)
        if _OK <= answer.status < _REDIRECT:
            return _accepted(operation, answer)
        pause = pause_of(answer.retry_after, datetime.now(UTC))
        error = _refused(operation, answer, request.token, pause)
        if pause and isinstance(error, errors.RateLimited | errors.Unavailable):
            self._pauses.begin(request.limited, pause, type(error))
        again = answer.status in _AGAIN[operation.repeat] or (
            operation.repeat is Repeat.MINTS
            and answer.status == _BAD_REQUEST
            and _BAD_REQUEST not in seen
        )
        if isinstance(error, errors.Unavailable) and error.unanswered:
            again &= operation.repeat not in _ONCE
        seen.add(answer.status)
        if again and quick and self._is_short(pause):
            raise _Transient(error, pause)
        raise error

    async def _guarded(self, request: _Request) -> tuple[_Answer | _Silence, bool]:
        """Send it unless it would hang, or is not wanted yet; tell too whether a failure was quick.

        Raises Unavailable, and as _keep_pause does.
        """
        operation = request.operation
        self._keep_pause(request)
        circuit = self._circuits[request.url.origin(), operation.name]
        if (refusal := circuit.refusal()) is not None:
            raise _left_alone(operation, refusal)  # without a wait, and nobody's turn is spent
        # Who waits for its turn is not under way: after a pause many do, and nothing hangs.
        await self._rate.acquire()
        self._keep_pause(request)  # which may have begun while others had their turn
        given = circuit.enter()  # which may have opened meanwhile
        if isinstance(given, Refusal):
            raise _left_alone(operation, given)
        alive, began = None, time.monotonic()
        try:
            with fence.sending(writes=operation.method != "GET"):
                answer = await self._send(request)
            alive = not isinstance(answer, _Silence) and (
                answer.status < _SERVER_ERROR or answer.status == _NOT_IMPLEMENTED
            )
        finally:
            seconds = time.monotonic() - began
            circuit.leave(given, alive=alive, seconds=seconds)
        status = None if isinstance(answer, _Silence) else answer.status
        self._answered(operation.name, status, seconds)
        timed_out = isinstance(answer, _Silence) and answer.timed_out
        return answer, seconds < _QUICK_SECONDS and not timed_out

    def _keep_pause(self, request: _Request) -> None:
        """Raise what the service would answer, while it wants not to be asked.

        A pause that is short is waited for, as after an answer that asks for it.
        """
        pause = self._pauses.left(request.limited)
        if pause is None:
            return
        until = datetime.now(UTC) + timedelta(seconds=pause.seconds)
        wish = "fewer requests" if pause.cause is errors.RateLimited else "to be left alone"
        error = pause.cause(
            f"CoreWeave API: {request.operation.name}: not asked, as CoreWeave wants {wish} until "
            f"{until:%Y-%m-%dT%H:%M:%SZ}",
            retry_after_seconds=pause.seconds,
        )
        if self._is_short(pause.seconds):
            raise _Transient(error, pause.seconds)
        raise error

    def _is_short(self, pause: float | None) -> bool:
        """Tell whether a pause is waited for here; a longer one is left to the queue."""
        return pause is None or pause <= self._settings.longest_retry_seconds

    async def _send(self, request: _Request) -> _Answer | _Silence:
        operation, url = request.operation, request.url
        headers = {
            **operation.headers,
            "Authorization": operation.scheme + _checked(operation, request.token),
        }
        content = None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(request.body)
        try:
            async with self._session.request(
                operation.method,
                url,
                headers=headers,
                data=content,
                allow_redirects=False,
                proxy=self._proxy if self._proxy and egress.proxied(url) else None,
            ) as response:
                return _Answer(
                    response.status,
                    response.headers.get("Retry-After", ""),
                    await _read(response, operation.longest_answer if response.ok else _SMALL),
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = next(text for kind, text in _PROBLEMS if isinstance(error, kind))
            return _Silence(
                problem,
                unsent=isinstance(error, aiohttp.ClientConnectorError),
                timed_out=isinstance(error, TimeoutError),
            )


def session(settings: CoreWeaveSettings) -> aiohttp.ClientSession:
    """Return a pool of connections. Raises Rejected when the CA bundle cannot be used."""
    # Its own hooks would log and count each retry, in words that are not ours.
    stamina.instrumentation.set_on_retry_hooks([])
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=egress.tls(settings)),
        request_class=fence.FencedRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=settings.timeout_seconds),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the length of an answer is what it takes
            "User-Agent": words.MANAGER,
        },
        auto_decompress=False,
        middlewares=(_once,),
    )


def malformed(operation: Operation, problem: str) -> errors.Malformed:
    """Return what to raise for an answer of another shape than documented."""
    return errors.Malformed(f"CoreWeave API: {operation.name}: {problem}")


def _left_alone(operation: Operation, refusal: Refusal) -> errors.Unavailable:
    return errors.Unavailable(
        f"CoreWeave API: {operation.name}: not asked, as it hung or failed just now",
        retry_after_seconds=refusal.seconds,
    )


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET or DELETE again by itself: one of them mints a key."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


def _wait(error: Exception) -> bool | float:
    """Tell stamina whether to try again: after its own wait, or after the seconds returned."""
    if not isinstance(error, _Transient):
        return False
    return True if error.wait is None else error.wait


def _accepted(operation: Operation, answer: _Answer) -> Json:
    if answer.status == _NO_CONTENT:
        return {}
    if answer.content is None:
        raise malformed(operation, f"an answer of more than {operation.longest_answer} bytes")
    found = _object_of(answer.content)
    if found is None:
        raise malformed(operation, f"{answer.status} with no JSON object")
    return found


def _refused(
    operation: Operation, answer: _Answer, token: SecretStr, pause: float | None
) -> errors.ClientError:
    """Return the error of a status that is none of success.

    Both envelopes have `code` (a number in REST, a word in Connect) and `message`.
    """
    envelope = _object_of(answer.content or b"") or {}
    code, message = envelope.get("code"), envelope.get("message")
    status = answer.status
    head = f"CoreWeave API: {operation.name}: {status}"
    if operation.not_served and (
        status == _NOT_IMPLEMENTED
        or code == "unimplemented"
        or (status == _NOT_FOUND and code != "not_found")
    ):
        return errors.NotFound(f"{head} {operation.not_served}")
    if status < _BAD_REQUEST:
        return errors.Rejected(
            f"{head}, which would lead elsewhere and is not followed; "
            "set spec.endpoints.api to where the API is"
        )
    said = redacted(message, token.get_secret_value()) if isinstance(message, str) else ""
    text = f"{head} {said or '(no message)'}"
    kind = _ERRORS.get(status, errors.Rejected)
    if status >= _SERVER_ERROR:
        unanswered = status in _BY_GATEWAYS or (
            status == _UNAVAILABLE and code not in _UNAVAILABLE_CODES
        )
        return errors.Unavailable(text, retry_after_seconds=pause, unanswered=unanswered)
    if issubclass(kind, errors.Retryable):
        return kind(text, retry_after_seconds=pause)
    return kind(text)


def _object_of(content: bytes) -> Json | None:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


async def _read(response: aiohttp.ClientResponse, longest: int) -> bytes | None:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > longest:
            return None
    return bytes(content)


def _checked(operation: Operation, token: SecretStr) -> str:
    """Return the token as a header takes it. Raises Unauthenticated for one that no token is."""
    text = token.get_secret_value()
    if not text.isascii() or not text.isprintable() or not text or " " in text:
        raise errors.Unauthenticated(
            f"CoreWeave API: {operation.name}: the token is empty, or holds blanks or line ends; "
            "put the bare token into its Secret"
        )
    return text
