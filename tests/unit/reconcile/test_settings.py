"""Settings: read from the environment, checked at once, told by name."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from caios_federation.cli.main import main
from caios_federation.settings import Role, Settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out what the environment of the tests says."""
    for name in list(os.environ):
        if name.startswith("CAIOS_"):
            monkeypatch.delenv(name)


def test_the_defaults_fit_together() -> None:
    settings = Settings()
    assert settings.role is Role.ALL
    assert settings.admission.deadline_seconds < settings.webhook.timeout_seconds
    assert settings.admission.live_read_seconds < settings.admission.deadline_seconds


def test_names_nest_by_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIOS_ROLE", "webhook")
    monkeypatch.setenv("CAIOS_ADMISSION__PORT", "8443")
    monkeypatch.setenv("CAIOS_CERTIFICATES__DIRECTORY", "/tls")
    settings = Settings()
    assert settings.role is Role.WEBHOOK
    assert settings.admission.port == 8443
    assert settings.admission.host == "0.0.0.0"
    assert settings.certificates.directory == Path("/tls")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().admission.port = 1


@pytest.mark.parametrize(("timeout", "deadline"), [(5, 5), (5, 6), (1, 1)])
def test_the_deadline_is_below_the_timeout_of_the_webhook(
    monkeypatch: pytest.MonkeyPatch, timeout: int, deadline: int
) -> None:
    monkeypatch.setenv("CAIOS_WEBHOOK__TIMEOUT_SECONDS", str(timeout))
    monkeypatch.setenv("CAIOS_ADMISSION__DEADLINE_SECONDS", str(deadline))
    with pytest.raises(
        ValidationError,
        match=rf"admission.deadline_seconds \({deadline}\) must be below "
        rf"webhook.timeout_seconds \({timeout}\)",
    ):
        Settings()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"LIFETIME_SECONDS": "60"}, "60) must be at least six times check_seconds (30)"),
        ({"CA_LIFETIME_SECONDS": "7776000"}, "must be at least twice lifetime_seconds (7776000)"),
    ],
)
def test_certificates_live_long_enough_to_be_replaced_in_time(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(f"CAIOS_CERTIFICATES__{name}", text)
    with pytest.raises(ValidationError, match=re.escape(told)):
        Settings()


def test_certificates_that_live_for_minutes_are_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"LIFETIME": "60", "CA_LIFETIME": "120", "CHECK": "10"}.items():
        monkeypatch.setenv(f"CAIOS_CERTIFICATES__{name}_SECONDS", text)
    assert Settings().certificates.lifetime_seconds == 60


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """Return what `run` says about `variables`, line by line."""
    for name, text in variables.items():
        monkeypatch.setenv(f"CAIOS_{name}", text)
    result = CliRunner().invoke(main, ["run"])
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_an_unknown_key_of_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, ADMISSION__PROT="8443")
    assert said == ["CAIOS_ADMISSION__PROT: Extra inputs are not permitted"]


def test_all_errors_are_told_at_once_by_the_names_of_their_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = refused(
        monkeypatch,
        ROLE="boss",
        ADMISSION__PORT="0",
        RECONCILE__WORKERS="many",
        LOG__LEVEL="loud",
        CERTIFICATES__LIFETIME_SECONDS="1",
    )
    assert sorted(line.partition(":")[0] for line in said) == [
        "CAIOS_ADMISSION__PORT",
        "CAIOS_CERTIFICATES__LIFETIME_SECONDS",
        "CAIOS_LOG__LEVEL",
        "CAIOS_RECONCILE__WORKERS",
        "CAIOS_ROLE",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "ADMISSION__DEADLINE_SECONDS",
        "ADMISSION__TLS_POLL_SECONDS",
        "ADMISSION__BODY_LIMIT_BYTES",
        "CACHES__AUDIT_PERIOD_SECONDS",
        "CACHES__PAGE_SIZE",
        "RECONCILE__WORKERS",
        "RECONCILE__RESYNC_SECONDS",
        "RECONCILE__FIRST_BACKOFF_SECONDS",
        "WEBHOOK__TIMEOUT_SECONDS",
    ],
)
def test_what_would_never_end_or_never_begin_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (said,) = refused(monkeypatch, **{name: "0"})
    assert said.startswith(f"CAIOS_{name}: ")


def test_an_unknown_role_on_the_command_line_is_refused() -> None:
    result = CliRunner().invoke(main, ["run", "--role", "boss"])
    assert result.exit_code == 2
    assert "'webhook', 'controller', 'all'" in result.stderr
