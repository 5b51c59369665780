"""How late the event loop is: what blocks it keeps admission requests waiting, too."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_PERIOD_SECONDS: Final = 0.25


async def measure_lag(lagged: Callable[[float], None]) -> None:
    """Tell `lagged` for ever by how many seconds a short sleep was too long.

    The loop's own clock stands still while the loop is blocked, so another one is read.
    """
    while True:
        began = time.monotonic()
        await asyncio.sleep(_PERIOD_SECONDS)
        lagged(max(0.0, time.monotonic() - began - _PERIOD_SECONDS))
