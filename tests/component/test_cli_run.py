"""What `caios-federation run` says when it ends by itself."""

import pytest
from click.testing import CliRunner

from caios_federation import runtime
from caios_federation.cli.main import main
from caios_federation.clients.errors import Rejected
from caios_federation.observe import logging


def test_a_refusal_from_deep_in_the_background_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each level of tasks wraps it in a group of its own."""

    async def refused(*_: object) -> None:
        inner = ExceptionGroup("of the background", [Rejected("/tls: Read-only file system")])
        raise ExceptionGroup("of the runtime", [inner])

    # A whole process would say no more, and this one's logging is everybody's.
    monkeypatch.setattr(runtime, "operate", refused)
    monkeypatch.setattr(logging, "configure", lambda _: None)
    result = CliRunner().invoke(main, ["run"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "error: /tls: Read-only file system\n"
