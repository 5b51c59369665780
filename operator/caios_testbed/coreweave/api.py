"""The control API over HTTP: finds the operation, reads the message, renders answers and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from caios_testbed.coreweave import testbed
from caios_testbed.coreweave.calls import Call, Operation
from caios_testbed.coreweave.control import (
    FEDERATION_OPERATIONS,
    FEDERATION_SERVICE,
    OBJECT_OPERATIONS,
    OBJECT_SERVICE,
    OPERATIONS,
    ROUTES,
)
from caios_testbed.coreweave.errors import ApiError, Code, TokenRejectedError
from caios_testbed.coreweave.injection import injected
from caios_testbed.coreweave.requestlog import Entry
from caios_testbed.coreweave.state import State


async def serve(state: State, request: web.Request, path: str, entry: Entry) -> web.StreamResponse:
    """Answer one request to the control host."""
    if path.startswith("/testbed/"):
        return await testbed.serve(state, request, path)
    service, _, method = path.removeprefix("/").partition("/")
    if service in {OBJECT_SERVICE, FEDERATION_SERVICE}:
        return await _connect(state, request, (service, method), entry)
    for route in ROUTES:
        if route.method == request.method and (match := route.path.fullmatch(path)):
            entry.operation = route.operation
            fields = {name: unquote(value) for name, value in match.groupdict().items()}
            break
    else:
        return _rest_error(ApiError(Code.NOT_FOUND, "Not Found"))
    authorization = request.headers.get("Authorization", "")

    async def answer() -> web.Response:
        try:
            message = {**_parsed(await request.read()), **fields}
            call = Call(state, message, authorization, entry)
            return web.json_response(await _run(OPERATIONS[route.operation], call))
        except ApiError as error:
            return _rest_error(error)

    return await injected(state.faults, request, entry, answer, _rest_failure)


async def _connect(
    state: State, request: web.Request, procedure: tuple[str, str], entry: Entry
) -> web.StreamResponse:
    service, method = procedure
    federation = service == FEDERATION_SERVICE
    known = FEDERATION_OPERATIONS if federation else OBJECT_OPERATIONS
    if federation and not state.knobs.oidc_configuration_api:
        return web.Response(status=404, text="404 page not found")
    if method not in known:
        return _connect_error(ApiError(Code.UNIMPLEMENTED, f"{service}/{method}: no such method"))
    entry.operation = method
    if request.method != "POST":
        return web.Response(status=405, headers={"Allow": "POST"})
    if request.content_type != "application/json":
        return web.Response(status=415, headers={"Accept-Post": "application/json"})
    authorization = request.headers.get("Authorization", "")

    async def answer() -> web.Response:
        try:
            call = Call(state, _parsed(await request.read()), authorization, entry)
            return web.json_response(await _run(OPERATIONS[method], call))
        except ApiError as error:
            return _connect_error(error)

    return await injected(state.faults, request, entry, answer, _connect_failure)


async def _run(operation: Operation, call: Call) -> dict[str, Any]:
    try:
        return await operation(call)
    except TokenRejectedError as error:
        call.entry.reason = error.reason
        raise
    except ApiError as error:
        call.entry.reason = call.entry.reason or error.message
        raise


def _parsed(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(Code.INVALID_ARGUMENT, "the body is not JSON") from error
    if not isinstance(message, dict):
        raise ApiError(Code.INVALID_ARGUMENT, "the body is not a JSON object")
    return message


def _rest_error(error: ApiError) -> web.Response:
    return web.json_response(error.as_status(), status=error.code.status)


def _connect_error(error: ApiError) -> web.Response:
    return web.json_response(error.as_connect(), status=error.code.status)


def _rest_failure(status: int, message: str) -> web.Response:
    return web.json_response(ApiError(Code.of_status(status), message).as_status(), status=status)


def _connect_failure(status: int, message: str) -> web.Response:
    return web.json_response(ApiError(Code.of_status(status), message).as_connect(), status=status)
