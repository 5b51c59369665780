"""What policies are made of whole bindings: the text that a person pastes in the Console."""

import pytest

from builders import ISSUER
from caios_federation.api.binding import parse_binding
from caios_federation.core.naming import policy_name
from caios_federation.core.policy import compile_policy, render_document
from caios_federation.core.principal import Identity, render_principal
from golden.cases import HERE, cases, check, read


@pytest.mark.parametrize("case", cases("policy"))
def test_a_policy_is_rendered_as_recorded(case: str) -> None:
    folder = HERE / "policy" / case
    bound = parse_binding(read(folder / "binding.yaml"), ours=False)
    assert bound.invalid is None
    policy = compile_policy(
        policy_name(ISSUER, bound.meta.namespace, bound.meta.name),
        render_principal(Identity(ISSUER, bound.meta.namespace, bound.spec.service_account_name)),
        bound.spec.grants,
    )
    check(folder / "expected.json", render_document(policy) + "\n")
