"""What the chart says to values that do not fit."""

import json
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, Helm, Refused, sets

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def refusal(helm: Helm, *options: str) -> str:
    with pytest.raises(Refused) as refused:
        helm.render(*options)
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [("config.region=US-CENTRAL-05A", "config.orgID"), ("config.orgID=cw1234", "config.region")],
)
def test_a_required_value_that_is_missing_is_named_with_what_to_do(
    helm: Helm, given: str, missing: str
) -> None:
    said = refusal(helm, f"--set={given}")
    assert f"{missing} is missing: add --set {missing}=..." in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("webhok.replicas=3", "webhok"),
        ("webhook.replica=3", "replica"),
        ("config.orgId=cw1", "orgId"),
        ("federation.polcyManagement=Managed", "polcyManagement"),
        ("federation.organizationID=cw1", "organizationID"),
        ("metrics.rules.on=true", "'on'"),
        ("webhook.failurePolicy=Never", "'Ignore', 'Fail'"),
        ("certificates.provider=certmanager", "'Operator', 'CertManager', 'External'"),
        ("webhook.replicas=0", "minimum"),
        ("config.region=US CENTRAL", "/config/region"),
        ("settings.caios_log=1", "caios_log"),
        ("image.digest=abc", "/image/digest"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(
    helm: Helm, value: str, said: str
) -> None:
    assert said in refusal(helm, *sets(value))


def test_a_setting_that_the_chart_makes_is_refused(helm: Helm) -> None:
    said = refusal(helm, *sets("settings.CAIOS_LOG__LEVEL=debug"))
    assert "settings.CAIOS_LOG__LEVEL: the chart makes this setting of other values" in said


def test_a_test_where_nothing_is_injected_is_refused(helm: Helm) -> None:
    said = refusal(helm, *sets("tests.namespace=kube-system"))
    assert "tests.namespace: nothing is injected in namespace kube-system" in said


def open_objects(node: object, path: str) -> list[str]:
    """Return where the schema has an object with fields of its own that takes others too."""
    found = []
    if isinstance(node, dict):
        if "properties" in node and node.get("additionalProperties") is not False:
            found.append(path)
        for key, below in node.items():
            found += open_objects(below, f"{path}/{key}")
    return found


def test_no_object_takes_unknown_fields() -> None:
    assert open_objects(SCHEMA, "") == []


def differences(schema: dict[str, Any], values: dict[str, Any], path: str) -> list[str]:
    """Return where schema and values do not have the same keys."""
    known = set(schema["properties"]) - {"global"}
    found = [f"{path}.{key}" for key in known ^ set(values)]
    for key in known & set(values):
        below = schema["properties"][key]
        if "properties" in below and key != "federation":
            found += differences(below, values[key], f"{path}.{key}")
    return found


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert differences(SCHEMA, values, "") == []
