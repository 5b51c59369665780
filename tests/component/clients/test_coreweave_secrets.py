"""Nothing that the client raises or logs holds a token or a key, whatever comes back."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from caios_federation.clients.errors import BadEndpoint, ClientError
from component.clients.api_server import always
from component.clients.coreweave import API_TOKEN, CALLS, client, everything_logged, scripted
from component.coreweave.world import World, organization, token

JWT = token()
ACCESS_KEY, SECRET_KEY = "CW" + "PLANTED0KEY0ID", "cwo" + "planted" * 5 + "secre"
SESSION_TOKEN = "planted-session-token"
PLANTED = {
    "API token": API_TOKEN,
    "API token without its prefix": API_TOKEN.removeprefix("CW-SECRET-"),
    "JWT": JWT,
    "JWT's claims": JWT.split(".")[1],
    "JWT's signature": JWT.split(".")[2],
    "access key": ACCESS_KEY,
    "secret key": SECRET_KEY,
    "session token": SESSION_TOKEN,
}
CREDENTIALS = {
    "AccessKeyId": ACCESS_KEY,
    "SecretAccessKey": SECRET_KEY,
    "Token": SESSION_TOKEN,
    "Expiration": "2026-01-23T19:03:47Z",
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with organization(tmp_path_factory.mktemp("emulator")) as world:
        yield world


def shown(error: BaseException) -> str:
    """Return all that a careless handler could show of an exception, and of those behind it."""
    texts, pending, known = [], [error], set[int]()
    while pending:
        each = pending.pop()
        known.add(id(each))
        texts += [str(each), repr(each), repr(each.args), repr(vars(each))]
        texts += getattr(each, "__notes__", [])
        pending += [
            behind
            for behind in (each.__cause__, each.__context__)
            if behind is not None and id(behind) not in known
        ]
    return "\n".join(texts)


def found_in(text: str) -> list[str]:
    return [name for name, secret in PLANTED.items() if secret in text]


async def said(operation: str, *answers: Callable[[], web.StreamResponse]) -> list[str]:
    """Return all that is shown and logged while an operation gets each answer: errors, here."""
    rest = iter(answers)
    texts = []
    with everything_logged() as lines:
        async with scripted(lambda _: given(rest), attempts=1) as (it, seen):
            for _ in answers:
                with pytest.raises(ClientError) as caught:
                    await CALLS[operation](it, SecretStr(JWT))
                texts.append("\n".join([shown(caught.value), *lines]))
                lines.clear()
            assert {each.headers["Authorization"] for each in seen} <= {f"Bearer {API_TOKEN}", JWT}
            texts.append(repr([it.api, it.coreweave, vars(it.api), vars(it.coreweave)]))
    assert len(seen) == len(answers)
    return texts


async def given(rest: Iterator[Callable[[], web.StreamResponse]]) -> web.StreamResponse:
    return next(rest)()


def envelope(status: int, message: str) -> Callable[[], web.StreamResponse]:
    body = {"code": 3, "message": message, "details": [message], "error": message}
    return lambda: web.json_response(body, status=status)


def messages() -> Iterator[str]:
    """Yield texts that repeat a secret, each in its way."""
    for secret in (API_TOKEN, JWT, ACCESS_KEY, SECRET_KEY):
        yield f"cannot verify {secret}"
        yield f"Authorization: Bearer {secret} is unknown"
        yield f'"{secret}"'
        yield f"xx{secret}xx"
        yield "\r\n".join(secret[at : at + 10] for at in range(0, len(secret), 10))
        yield "x " * 120 + secret
        yield f"{secret} " * 50


@pytest.mark.parametrize("operation", CALLS)
async def test_an_error_that_repeats_the_secrets_is_shown_without_them(operation: str) -> None:
    repeating = [
        # In this order, since many failures in a row would keep the rest from being asked.
        envelope(status, message)
        for message in messages()
        for status in (400, 401, 403, 503)
    ]
    for text in await said(operation, *repeating):
        assert found_in(text) == []


async def test_a_token_that_looks_like_none_is_not_shown_either() -> None:
    odd = "planted/by+a=test"
    answers = always(envelope(401, f"{odd} is not known"))
    async with scripted(answers, token=odd) as (it, _):
        with pytest.raises(ClientError, match=r"401 \[redacted\] is not known$") as caught:
            await it.api.whoami()
    assert "planted" not in shown(caught.value)


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("rule", [{"body": "echo-token"}, {"body": "echo-token", "status": 503}])
async def test_the_emulators_echo_is_shown_without_the_token(
    emulator: World, operation: str, rule: dict[str, Any]
) -> None:
    emulator.inject({"operation": operation, **rule})
    with everything_logged() as lines:
        async with client(emulator.emulator.url, attempts=2) as it:
            with pytest.raises(ClientError, match=r"cannot verify \[redacted\]$") as caught:
                await CALLS[operation](it, SecretStr(JWT))
    assert found_in("\n".join([shown(caught.value), *lines])) == []


BODIES: tuple[Callable[[], web.StreamResponse], ...] = (
    lambda: web.Response(text=" ".join(PLANTED.values())),
    lambda: web.Response(text=" ".join(PLANTED.values()), status=502),
    lambda: web.json_response(list(PLANTED.values())),
    lambda: web.json_response(
        dict.fromkeys(("policies", "configs", "config", "principal"), API_TOKEN)
    ),
    lambda: web.json_response({"message": PLANTED}, status=400),
    lambda: web.Response(status=307, headers={"Location": f"http://127.0.0.1:1/{API_TOKEN}/{JWT}"}),
    lambda: web.Response(headers={"X-Echo": API_TOKEN * 5000}),
)


@pytest.mark.parametrize("operation", [name for name in CALLS if "Policy" not in name])
async def test_a_body_that_makes_no_sense_is_not_shown(operation: str) -> None:
    for text in await said(operation, *BODIES):
        assert found_in(text) == []


@pytest.mark.parametrize(
    "changes",
    [{"Expiration": "soon"}, {"Expiration": None}, {"SecretAccessKey": ""}, {"AccessKeyId": 1}],
)
async def test_keys_that_cannot_be_read_are_not_shown(changes: dict[str, object]) -> None:
    answer = {**CREDENTIALS, **changes}
    told, _ = await said("CreateAccessKeyFromContainerCreds", lambda: web.json_response(answer))
    assert "holds no credentials as SDKs read them" in told
    assert found_in(told) == []


@pytest.mark.parametrize("operation", CALLS)
async def test_a_token_that_can_be_none_is_neither_sent_nor_shown(operation: str) -> None:
    async def give() -> SecretStr:
        return SecretStr(bad)

    async with scripted(always(lambda: web.json_response({}))) as (it, seen):
        with_bad = replace(it, api=it.coreweave.organization(it.url, give))
        for bad in ("", " ", "planted words", "planted\nend", "planted\n", "plantéd", "planted\0"):
            with pytest.raises(ClientError, match="put the bare token into its Secret") as caught:
                await CALLS[operation](with_bad, SecretStr(bad))
            assert "plant" not in shown(caught.value)
    assert seen == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://api.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "http://2130706433",
        "http://0x7f.1",
        "http://0.0.0.0",
        "ftp://localhost",
        "//localhost",
        "localhost",
        "",
        "https://",
        "https:///path",
        "https://planted:planted@api.example.com",
        "https://planted@api.example.com",
        "https://api.example.com?planted=1",
        "https://api.example.com#planted",
        "http://localhost\\@api.example.com",
        "https://[::1",
        "https://api.example.com:port",
        "https://" + "a" * 64 + ".example.com",
        "https://a..b",
    ],
)
async def test_a_token_is_not_even_asked_for_where_it_must_not_go(endpoint: str) -> None:
    async def asked_for() -> SecretStr:
        pytest.fail("the token was asked for")

    async with client("https://localhost") as it:
        api = it.coreweave.organization(endpoint, asked_for)
        with pytest.raises(BadEndpoint, match=r"spec\.endpoints\.api: .*https://") as caught:
            await api.whoami()
        assert "planted" not in shown(caught.value)
        with pytest.raises(BadEndpoint, match=r"spec\.endpoints\.api: .*https://"):
            await it.coreweave.exchange(endpoint, SecretStr(JWT))


def redirect(status: int, location: str) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(status=status, headers={"Location": location})


@pytest.mark.parametrize("operation", CALLS)
async def test_a_redirect_is_not_followed(operation: str) -> None:
    async with scripted(always(lambda: web.json_response({}))) as (elsewhere, seen):
        away = [redirect(status, elsewhere.url) for status in (301, 302, 303, 307, 308)]
        *told, _ = await said(operation, *away)
        assert ["would lead elsewhere and is not followed" in text for text in told] == [True] * 5
        assert [elsewhere.url in text for text in told] == [False] * 5
    assert seen == []
