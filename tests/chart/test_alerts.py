"""The alerts and the dashboard's queries, judged by Prometheus' own tool."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.progress import Progress
from meta.repository import ROOT

OBSERVABILITY = ROOT / "deploy/observability"
DASHBOARD = json.loads((OBSERVABILITY / "dashboard.json").read_text())
QUERIES = [
    target["expr"].replace("$__rate_interval", "5m")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]


@pytest.fixture(scope="module")
def promtool() -> Path:
    return ensure_binaries(["promtool"], Progress.quiet())["promtool"]


def run(program: Path, *arguments: str) -> str:
    """Return what the tool prints, which is why it failed where it did."""
    done = subprocess.run(
        [program, *arguments],
        cwd=OBSERVABILITY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_well_formed(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")


def test_each_alert_fires_on_what_it_is_about_and_on_nothing_else(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts_test.yaml")


def test_every_alert_is_seen_to_fire() -> None:
    rules = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())
    tests = yaml.safe_load((OBSERVABILITY / "alerts_test.yaml").read_text())["tests"]
    fired = {
        sample["labels"].partition('alertname="')[2].partition('"')[0]
        for test in tests
        for each in test["promql_expr_test"]
        for sample in each["exp_samples"]
        if sample["labels"].startswith("ALERTS")
    }
    assert fired == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_dashboard_is_promql(promtool: Path, query: str) -> None:
    run(promtool, "--experimental", "promql", "format", query)
