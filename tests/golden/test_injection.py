"""What becomes of whole Pods. A case without a StorageFederation has none in its cluster."""

import pytest

from builders import inject, sources
from caios_federation.api.binding import parse_binding
from caios_federation.api.federation import parse_federation
from golden.cases import HERE, cases, check, dump, read


@pytest.mark.parametrize("case", cases("injection"))
def test_a_pod_is_answered_as_recorded(case: str) -> None:
    folder = HERE / "injection" / case
    account, bound = read(folder / "serviceaccount.yaml"), read(folder / "binding.yaml")
    federated = read(folder / "federation.yaml")
    has_a_say = sources(
        account=account["metadata"].get("annotations"),
        bound=parse_binding(bound, ours=False) if bound else None,
        federated=parse_federation(federated) if federated else None,
    )
    injected = inject(read(folder / "pod.yaml"), has_a_say)
    expected = {
        "skipped": str(injected.skipped) if injected.skipped else None,
        "warnings": [str(warning) for warning in injected.warnings],
        "patch": injected.operations,
    }
    check(folder / "expected.yaml", dump(expected))
