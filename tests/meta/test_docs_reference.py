"""Reference pages that people write say what the code says: every word of it, and no other."""

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from builders import annotated, bound, container, inject, parsed_federation, pod, sources, words
from caios_federation.api import vocabulary
from caios_federation.api.conditions import Status
from caios_federation.api.reasons import ANSWERS, Answer
from caios_federation.api.vocabulary import SkipReason, WarningReason
from caios_federation.cli.main import main
from caios_federation.core.injection import Skip, Sources, compute_values
from caios_federation.core.warning import PodWarning
from caios_federation.observe.events import NORMAL, EventReason
from meta.pages import DOCS, Block, anchors, blocks, rows, text_of
from meta.repository import PRODUCT, ROOT

TROUBLESHOOTING = "operations/troubleshooting.md"
COUNTED_AS = {
    row["Warning"].strip("`"): row["Counted as"].strip("`")
    for row in rows("reference/skips-and-warnings.md", "Warning")
}
WARNINGS = list(COUNTED_AS)
BAD = [
    pytest.param(answer, id=answer.reason) for answer in ANSWERS if answer.status is not Status.TRUE
]
PLACEHOLDER = re.compile(r"<\w+>")


def plain(cell: str) -> str:
    """Return the text of a cell that holds one code span."""
    return cell.strip("`")


# Conditions, events, skips ---------------------------------------------------------------------


def helped(answer: Answer) -> str:
    """Return what troubleshooting says below the heading of a reason."""
    section = re.search(
        rf"^### {answer.reason}\n(.*?)(?=^##|\Z)",
        text_of(TROUBLESHOOTING),
        re.MULTILINE | re.DOTALL,
    )
    assert section, answer.reason
    return section[1]


@pytest.mark.parametrize("answer", BAD)
def test_every_reason_that_is_not_good_has_help(answer: Answer) -> None:
    steps = re.findall(r"^- (\w+)(?:,[^:]*)?:", helped(answer), re.MULTILINE)
    assert steps == ["Signal", "Check", "Fix"]


@pytest.mark.parametrize("answer", BAD)
def test_the_help_for_a_reason_names_the_conditions_that_have_it(answer: Answer) -> None:
    named = set(re.findall(r"`(\w+)(?:=\w+)?`", helped(answer)))
    assert set(answer.conditions) - named == set()
    signal = helped(answer).partition("\n- Check")[0]
    told = set(re.findall(r"`(\w+)=(\w+)`", signal))
    assert told <= {(condition, answer.status) for condition in answer.conditions}


def test_every_event_has_exactly_one_row_and_every_warning_help() -> None:
    table = rows("reference/events.md", "Reason")
    assert sorted(plain(row["Reason"]) for row in table) == sorted(EventReason)
    assert {plain(row["Reason"]) for row in table if row["Type"] == "Normal"} == NORMAL
    warnings = set(EventReason) - NORMAL
    assert {reason.lower() for reason in warnings} <= anchors(DOCS / TROUBLESHOOTING)


def test_every_skip_has_exactly_one_row() -> None:
    table = rows("reference/skips-and-warnings.md", "Reason")
    assert sorted(plain(row["Reason"]) for row in table) == sorted(SkipReason)


# Warnings --------------------------------------------------------------------------------------


def pattern(row: str) -> re.Pattern[str]:
    """Return what a warning looks like whose placeholders stand for anything."""
    return re.compile(".+".join(map(re.escape, PLACEHOLDER.split(row))), re.DOTALL)


def matching(warning: str) -> list[str]:
    return [row for row in WARNINGS if pattern(row).fullmatch(warning)]


def provoked() -> Iterator[PodWarning]:
    """Yield each warning that there is, and some of them again."""
    place = vocabulary.MOUNT_PATH
    marks = pod(labels=words(federated="no"), annotations=words(principal="me", aws_config="x"))
    awkward = pod(
        container("plain", env={"AWS_PROFILE": "me"}),
        container("own", env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost"}),
        container("taken", mounts={"data": place}),
        annotations=words(token_expiration="1h", skip_containers="nobody"),
    )
    hasty = pod(annotations=words(token_expiration="1"))
    pasted = annotated(inject="true", audience="me\n")
    configured = bound(client={}, tokenExpirationSeconds=900)
    for raw in (marks, awkward, hasty):
        yield from inject(raw, configured).warnings
    yield from inject(pod(), pasted).warnings
    yield from inject(pod(), annotated(inject="true", audience="x" * 1025)).warnings
    skipping = (
        annotated(inject="yes"),
        annotated(inject="true", federation="My Fed"),
        sources(account=words(inject="true"), federated=None),
        sources(account=words(inject="true"), issuer=None),
    )
    for has_a_say in skipping:
        yield from inject(pod(), has_a_say).warnings
    nameless = compute_values(
        Sources(
            namespace="team-a",
            service_account="Upper",
            annotations={},
            binding=None,
            federation=parsed_federation(),
            discovered_issuer=configured.discovered_issuer,
        )
    )
    assert isinstance(nameless, Skip)
    yield from nameless.warnings


def recorded() -> Iterator[str]:
    """Yield the warnings in the golden files of injection."""
    for path in sorted((ROOT / "tests/golden/injection").glob("*/expected.yaml")):
        yield from yaml.safe_load(path.read_text(encoding="utf-8"))["warnings"]


@pytest.mark.parametrize("source", [provoked, recorded], ids=["provoked", "recorded"])
def test_every_warning_has_exactly_one_row(source: Callable[[], Iterator[str]]) -> None:
    warnings = list(source())
    assert warnings
    assert [warning for warning in warnings if len(matching(warning)) != 1] == []


def test_every_warning_is_counted_as_its_row_says() -> None:
    seen = {(row, str(warning.reason)) for warning in provoked() for row in matching(warning)}
    assert seen == set(COUNTED_AS.items())
    assert set(COUNTED_AS.values()) == set(WarningReason)


def test_every_row_is_a_warning_that_there_is() -> None:
    seen = {row for warning in provoked() for row in matching(warning)}
    assert set(WARNINGS) - seen == set()


def test_every_warning_has_help() -> None:
    signals = [plain(row["Signal"]) for row in rows(TROUBLESHOOTING, "Signal")]
    helped = {row for row in WARNINGS for signal in signals if signal in row}
    assert set(WARNINGS) - helped == set()
    assert [signal for signal in signals if not any(signal in row for row in WARNINGS)] == []


# Annotations and what is added -----------------------------------------------------------------


def test_every_input_and_output_is_on_the_page_of_annotations() -> None:
    page = text_of("reference/annotations.md")
    named = {value for value in vars(vocabulary).values() if isinstance(value, str)}
    expected = {
        *vocabulary.SERVICE_ACCOUNT_INPUTS,
        *vocabulary.ENV_ENDPOINTS,
        *(name for name in named if name.startswith("AWS_") and name != "AWS_CONTAINER_"),
        vocabulary.SKIP_CONTAINERS,
        vocabulary.FEDERATED,
        vocabulary.PRINCIPAL,
        vocabulary.AWS_CONFIG,
        vocabulary.VOLUME_NAME,
        vocabulary.MOUNT_PATH,
        vocabulary.TOKEN_FILE,
        vocabulary.AWS_CONFIG_FILE,
    }
    assert {word for word in expected if f"`{word}" not in page} == set()


def test_the_limits_of_a_lifetime_are_on_the_page_of_annotations() -> None:
    page = text_of("reference/annotations.md")
    least, most = vocabulary.MIN_TOKEN_EXPIRATION, vocabulary.MAX_TOKEN_EXPIRATION
    assert f"seconds, {least} to {most}" in page
    assert f"| {vocabulary.DEFAULT_TOKEN_EXPIRATION} |" in page


def test_every_variable_that_outranks_ours_has_help() -> None:
    page = text_of(TROUBLESHOOTING)
    assert {name for name in vocabulary.ENV_OUTRANKING if f"`{name}`" not in page} == set()


# Log lines -------------------------------------------------------------------------------------


LEVELS = {"debug", "info", "warning", "error", "exception"}
RENDERED = {"exc_info": "exception"}


def keywords(call: ast.Call) -> set[str]:
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def calls(path: Path, name: Callable[[ast.expr], bool]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and name(node.func):
            yield node


def is_log(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id="log"), attr=level):
            return level in LEVELS
    return False


def written() -> dict[str, tuple[str, set[str]]]:
    """Return level and keys of every log line by its message."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in sorted(PRODUCT.rglob("*.py")):
        # What `_log` is given on top goes into the line it writes.
        more = {
            key
            for call in calls(path, lambda f: isinstance(f, ast.Name) and f.id == "_log")
            for key in keywords(call)
        }
        for call in calls(path, is_log):
            message, function = call.args[0], call.func
            assert isinstance(message, ast.Constant), f"{path}:{call.lineno}: no constant message"
            assert isinstance(message.value, str)
            assert isinstance(function, ast.Attribute)
            open_ended = any(keyword.arg is None for keyword in call.keywords)
            keys = {RENDERED.get(key, key) for key in keywords(call)}
            found[message.value] = function.attr, keys | (more if open_ended else set())
    return found


def test_every_log_line_is_on_its_page_with_level_and_keys() -> None:
    documented = {
        plain(row["`msg`"]): (row["Level"], set(re.findall(r"`(\w+)`", row["Keys"])))
        for row in rows("reference/log-lines.md", "`msg`")
    }
    assert documented == written()


# The command line ------------------------------------------------------------------------------


def offline() -> list[Block]:
    return blocks("console", DOCS / "guides/offline.md")


@pytest.mark.parametrize("block", offline(), ids=str)
def test_an_example_of_the_command_line_prints_what_is_shown(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for example in blocks("yaml", block.page):
        if named := re.match(r"# (\S+\.yaml)\n", example.text):
            (tmp_path / named[1]).write_text(example.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command, _, expected = block.text.removeprefix("$ ").partition("\n")
    program, *arguments = shlex.split(command)
    assert program == "caios-federation"
    assert CliRunner().invoke(main, arguments).output == expected


NEED_A_CLUSTER = {"check-injection", "crds", "run", "uninstall"}


def test_there_are_examples_of_every_offline_verb() -> None:
    shown = {block.text.split()[2] for block in offline()}
    assert shown == set(main.commands) - NEED_A_CLUSTER
