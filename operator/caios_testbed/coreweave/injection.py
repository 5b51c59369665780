"""Carries out fault rules around the answer of a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from caios_testbed.coreweave.faults import Faults, Rule
from caios_testbed.coreweave.requestlog import Entry

GARBAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>\n"


async def injected(
    faults: Faults,
    request: web.Request,
    entry: Entry,
    answer: Callable[[], Awaitable[web.Response]],
    failure: Callable[[int, str], web.Response],
) -> web.StreamResponse:
    """Return the answer, or what a fault rule makes of it.

    `answer` performs the operation; `failure` renders the error envelope for a status and message.
    """
    rule = faults.draw(entry.operation)
    if rule is None:
        return await answer()
    entry.fault = f"{rule.operation}: {_described(rule)}"
    if rule.latency_seconds:
        await request.read()  # it is served late, also to a client that does not wait
        await asyncio.sleep(rule.latency_seconds)
    if not rule.answers:
        return await answer()
    real = await answer() if rule.stage == "after" else None
    if rule.drop_connection:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=rule.status or 500)
    response = await _replaced(rule, request, real, failure)
    if rule.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(rule.retry_after_seconds)
    return response


async def _replaced(
    rule: Rule,
    request: web.Request,
    real: web.Response | None,
    failure: Callable[[int, str], web.Response],
) -> web.Response:
    if rule.body == "garbage":
        return web.Response(status=rule.status or 200, text=GARBAGE, content_type="text/html")
    if rule.body == "empty":
        return web.Response(status=rule.status or 200)
    if rule.body == "truncated" and real is not None:
        body = real.body if isinstance(real.body, bytes) else b""
        return web.Response(
            status=rule.status or real.status,
            body=body[: len(body) // 2],
            content_type=real.content_type,
        )
    if rule.body == "echo-token":
        return failure(rule.status or 400, f"cannot verify {await _token(request)}")
    return failure(rule.status or 500, "injected by the testbed")


async def _token(request: web.Request) -> str:
    """Return the credential that a careless service would repeat in its error."""
    if header := request.headers.get("Authorization"):
        return header
    try:
        return str(json.loads(await request.read())["oidcToken"])
    except (ValueError, KeyError, TypeError):
        return "nothing"


def _described(rule: Rule) -> str:
    parts = [f"status {rule.status}" if rule.status else "", f"{rule.body} {rule.stage}"]
    if rule.drop_connection:
        parts = [f"connection dropped {rule.stage}"]
    elif not rule.answers:
        parts = []
    if rule.latency_seconds:
        parts.append(f"{rule.latency_seconds} s late")
    return ", ".join(part for part in parts if part)
