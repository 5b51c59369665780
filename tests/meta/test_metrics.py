"""Metrics, their page, the dashboard and the alerts name the same things."""

import json
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from caios_federation.observe.metrics import Metrics
from caios_federation.observe.state import State
from meta.pages import DOCS, anchors, rows
from meta.repository import ROOT

PAGE = "reference/metrics.md"
GENERATOR = runpy.run_path(str(ROOT / "deploy/observability/generate_dashboard.py"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
NAME = re.compile(r"\b(?:caios_federation|process)_\w+")
OTHERS = {"kube_deployment_status_replicas_available"}
"""Metrics of kube-state-metrics that alerts ask for."""
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Yield each metric that a process can show, with its labels."""
    metrics = Metrics()
    metrics.read(State)
    for collector in metrics.registry._collector_to_names:
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            yield family, tuple(labels)


def exposed(family: Metric) -> str:
    """Return the name of a metric as Prometheus shows it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


METRICS = {exposed(family): (family.type, labels) for family, labels in families()}
TABLE = {row["Metric"].strip("`"): row for row in rows(PAGE, "Metric")}


def named(query: str) -> set[str]:
    """Return the metrics that a query asks for."""
    found = {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAME.findall(query)}
    return found | {name for name in OTHERS if name in query}


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard with the title of its panel."""
    dashboard = json.loads((ROOT / "deploy/observability/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_there_are_metrics() -> None:
    assert len(METRICS) > 25
    assert METRICS["caios_federation_reconcile_total"] == ("counter", ("kind", "result"))


def test_every_metric_has_one_row_with_its_type_and_labels() -> None:
    table = {
        name: (row["Type"], tuple(re.findall(r"`(\w+)`", row["Labels"])))
        for name, row in TABLE.items()
    }
    assert table == METRICS


def test_every_metric_is_on_the_dashboard_and_nothing_else_is() -> None:
    shown = {name for _, query in queries() for name in named(query)}
    assert shown == set(METRICS)


@EACH_RULE
def test_an_alert_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    asked = named(rule["expr"])
    assert asked
    assert asked <= set(METRICS) | OTHERS


def test_labels_that_queries_ask_for_are_there() -> None:
    target = {"job", "namespace", "pod", "le", "deployment"}
    for name, query in [*queries(), *((rule["alert"], rule["expr"]) for rule in RULES)]:
        known = target | {
            label for each in named(query) for label in METRICS.get(each, ("", ()))[1]
        }
        asked = set(re.findall(r"(\w+)(?:=~|!=|=)\"", query))
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            asked |= set(re.split(r",\s*", grouped))
        assert asked - known == set(), name


def test_the_page_says_which_alerts_use_a_metric() -> None:
    told = {name: set(re.findall(r"`(\w+)`", row["Used by"])) for name, row in TABLE.items()}
    assert told == {
        name: {rule["alert"] for rule in RULES if name in named(rule["expr"])} for name in METRICS
    }


@EACH_RULE
def test_an_alert_tells_people_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook"}
    page, _, anchor = annotations["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(ROOT / page)


def test_every_section_about_an_alert_is_about_one_that_there_is() -> None:
    sections = {
        anchor
        for anchor in anchors(DOCS / "operations/monitoring.md")
        if anchor.startswith("caios")
    }
    assert sections == {rule["alert"].lower() for rule in RULES}


def test_the_dashboard_is_what_its_script_writes() -> None:
    # If this fails: .venv/bin/python deploy/observability/generate_dashboard.py
    assert GENERATOR["DASHBOARD"].read_text(encoding="utf-8") == GENERATOR["render"]()


def test_panels_have_a_unit_and_a_description_and_do_not_overlap() -> None:
    dashboard = json.loads(GENERATOR["render"]())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_kube_state_metrics_is_told_of_kinds_and_fields_that_there_are() -> None:
    config = yaml.safe_load((ROOT / "deploy/observability/kube-state-metrics.yaml").read_text())
    schemas = {
        (crd["spec"]["group"], version["name"], crd["spec"]["names"]["kind"]): version["schema"]
        for crd in map(yaml.safe_load, (p.read_text() for p in (ROOT / "crds").glob("*.yaml")))
        for version in crd["spec"]["versions"]
    }
    asked = config["spec"]["resources"]
    kinds = [
        tuple(each["groupVersionKind"][k] for k in ("group", "version", "kind")) for each in asked
    ]
    assert sorted(kinds) == sorted(schemas)
    for kind, each in zip(kinds, asked, strict=True):
        for metric in each["metrics"]:
            ((_, how),) = ((k, v) for k, v in metric["each"].items() if k != "type")
            schema = schemas[kind]["openAPIV3Schema"]
            for field in how["path"]:
                schema = schema["properties"][field]
            paths = [*how.get("labelsFromPath", {}).values(), how.get("valueFrom", [])]
            for path in paths:
                below = schema.get("items", schema)
                for field in path:
                    below = below["properties"][field]
