"""What the emulator offers beyond CoreWeave's API, below `/testbed/`: faults, logs, clock, reset.

No credentials are asked for: whoever reaches the emulator may play with it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from caios_testbed.coreweave.errors import ApiError, Code
from caios_testbed.coreweave.state import State

Place = Callable[[State, web.Request], Awaitable[object]]


async def serve(state: State, request: web.Request, path: str) -> web.Response:
    """Answer one request to the testbed's own places."""
    place = PLACES.get((request.method, path.removeprefix("/testbed/")))
    try:
        if place is None:
            return _refused(
                ApiError(Code.NOT_FOUND, "the testbed has no such place, or not this method there")
            )
        return web.json_response(await place(state, request))
    except ApiError as error:
        return _refused(error)


async def _get_faults(state: State, _request: web.Request) -> object:
    return state.faults.document()


async def _put_faults(state: State, request: web.Request) -> object:
    state.faults.replace(await _json(request))
    return state.faults.document()


async def _delete_faults(state: State, _request: web.Request) -> object:
    state.faults.clear()
    return state.faults.document()


async def _get_settings(state: State, _request: web.Request) -> object:
    return state.knobs.document()


async def _patch_settings(state: State, request: web.Request) -> object:
    state.knobs = state.knobs.updated(await _object(request))
    return state.knobs.document()


async def _get_requests(state: State, request: web.Request) -> object:
    return {"requests": _requests(state, request)}


async def _delete_requests(state: State, _request: web.Request) -> object:
    state.log.clear()
    return {}


async def _get_history(state: State, _request: web.Request) -> object:
    return {"changes": [change.document() for change in state.policies.history]}


async def _get_clock(state: State, _request: web.Request) -> object:
    return {"offsetSeconds": state.clock.offset_seconds}


async def _put_clock(state: State, request: web.Request) -> object:
    state.clock.offset_seconds = await _offset(request)
    return {"offsetSeconds": state.clock.offset_seconds}


async def _reset(state: State, _request: web.Request) -> object:
    await state.reset()
    return {}


async def _healthy(_state: State, _request: web.Request) -> object:
    return {}


PLACES: Mapping[tuple[str, str], Place] = {
    ("GET", "faults"): _get_faults,
    ("PUT", "faults"): _put_faults,
    ("DELETE", "faults"): _delete_faults,
    ("GET", "settings"): _get_settings,
    ("PATCH", "settings"): _patch_settings,
    ("GET", "requests"): _get_requests,
    ("DELETE", "requests"): _delete_requests,
    ("GET", "policies/history"): _get_history,
    ("GET", "clock"): _get_clock,
    ("PUT", "clock"): _put_clock,
    ("POST", "reset"): _reset,
    ("GET", "healthz"): _healthy,
}


def _refused(error: ApiError) -> web.Response:
    return web.json_response(error.as_status(), status=error.code.status)


def _requests(state: State, request: web.Request) -> list[dict[str, object]]:
    """Return the log, oldest first, with the entries whose fields equal the query's."""
    entries = (entry.document() for entry in state.log)
    wanted = request.query
    return [
        entry
        for entry in entries
        if all(str(entry.get(name)) == value for name, value in wanted.items())
    ]


async def _offset(request: web.Request) -> float:
    value = (await _object(request)).get("offsetSeconds")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ApiError(Code.INVALID_ARGUMENT, "offsetSeconds: must be a number")
    return value


async def _object(request: web.Request) -> dict[str, object]:
    document = await _json(request)
    if not isinstance(document, dict):
        raise ApiError(Code.INVALID_ARGUMENT, "the body is not a JSON object")
    return document


async def _json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, "the body is not JSON") from error
