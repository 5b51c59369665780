"""Log lines: one JSON object each, what a person reads first in front, nothing interpolated."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from caios_federation.observe.logging import configure, logger
from caios_federation.settings import LogSettings

JSON = LogSettings(format="json")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("kopf.objects", "aiohttp.access", "kopf._core.engines.admission"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return the lines of standard error; nothing goes to standard output."""
    written = capsys.readouterr()
    assert written.out == ""
    return [json.loads(line) for line in written.err.splitlines()]


def test_a_line_is_json_with_what_is_read_first_in_front(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(JSON)
    logger("test").info("status changed", namespace="team-a", name="reader", attempt=1)
    (line,) = lines(capsys)
    assert list(line)[:3] == ["ts", "level", "msg"]
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "msg": "status changed",
        "component": "test",
        "namespace": "team-a",
        "name": "reader",
        "attempt": 1,
    }


def test_a_message_is_never_interpolated(capsys: pytest.CaptureFixture[str]) -> None:
    configure(JSON)
    logger("test").info("100% of {name} %s", name="reader")
    (line,) = lines(capsys)
    assert line["msg"] == "100% of {name} %s"


def test_a_value_never_breaks_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(JSON)
    logger("test").warning("odd", err='two\nlines "quoted" 🪣', other=object)
    (line,) = lines(capsys)
    assert line["err"] == 'two\nlines "quoted" 🪣'


@pytest.mark.parametrize("odd", ["half of a pair: \ud83e", 2**70, {1: "a key"}])
def test_what_json_cannot_say_is_written_nevertheless(
    capsys: pytest.CaptureFixture[str], odd: object
) -> None:
    configure(JSON)
    logger("test").warning("odd", other=odd)
    (line,) = lines(capsys)
    assert (line["level"], line["msg"]) == ("warning", "odd")
    assert str(line["ts"]).startswith("20")


def test_lines_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure(JSON)
    logging.getLogger("kopf.something").warning("watch of %s failed", "pods")
    (line,) = lines(capsys)
    assert list(line)[:3] == ["ts", "level", "msg"]
    assert (line["level"], line["msg"]) == ("warning", "watch of pods failed")
    assert line["logger"] == "kopf.something"


def test_an_exception_is_one_line_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure(JSON)
    try:
        int("because")
    except ValueError:
        logger("test").warning("reconcile failed", exc_info=True)
        logging.getLogger("library").exception("failed")
    ours, theirs = lines(capsys)
    assert "ValueError: invalid literal" in str(ours["exception"])
    assert "ValueError: invalid literal" in str(theirs["exception"])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_not_written(
    capsys: pytest.CaptureFixture[str], level: str, expected: list[str]
) -> None:
    configure(LogSettings.model_validate({"level": level, "format": "json"}))
    log = logger("test")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("said")
    assert [line["level"] for line in lines(capsys)] == expected


def test_libraries_never_log_for_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    """At that level they write whole requests, headers and tokens included."""
    configure(LogSettings(level="debug", format="json"))
    logging.getLogger("kubernetes.client.rest").debug("Authorization: Bearer s3cr3t")
    logging.getLogger("aiohttp.client").debug("s3cr3t")
    assert lines(capsys) == []


def test_what_is_said_for_each_object_and_request_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(JSON)
    for name in ("kopf.objects", "aiohttp.access", "kopf._core.engines.admission"):
        logging.getLogger(name).info("said for each")
        logging.getLogger(name).warning("worth saying")
    assert [line["msg"] for line in lines(capsys)] == ["worth saying"] * 3


def test_a_terminal_gets_lines_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # there is no terminal here
    configure(LogSettings(format="auto"))
    logger("test").info("status changed", name="reader")
    text = capsys.readouterr().err
    assert "status changed" in text
    assert not text.startswith("{")


def test_without_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="auto"))
    logger("test").info("status changed")
    assert lines(capsys)[0]["msg"] == "status changed"
