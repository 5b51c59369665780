"""The closed list of conditions and reasons is whole, and nothing of it is dead."""

import inspect
import re
from collections.abc import Callable
from types import ModuleType

import pytest

from caios_federation.api.conditions import ConditionType, Reason, Status
from caios_federation.api.reasons import ANSWERS, QUESTIONS, Answer
from caios_federation.core import checks, conditions, federation_checks, pods
from caios_federation.core import trust as registered
from caios_federation.core import verification as proof
from caios_federation.reconcile import binding, failures, policies, probe, trust, verification

Judge = Callable[..., object] | ModuleType
JUDGES: dict[ConditionType, tuple[Judge, ...]] = {
    ConditionType.ACCEPTED: (*checks.ACCEPTED, checks.judge_accepted),
    ConditionType.SERVICE_ACCOUNT_FOUND: (checks.service_account_found, checks._invalid),
    ConditionType.POLICY_SYNCED: (
        failures,
        binding._keep_policy,
        binding._leave,
        policies._apply,
        policies._waiting,
    ),
    ConditionType.CREDENTIALS_VERIFIED: (proof, verification),
    ConditionType.PODS_FEDERATED: (pods,),
    ConditionType.ISSUER_DISCOVERED: (federation_checks.issuer_discovered,),
    ConditionType.API_TOKEN_VALID: (
        federation_checks._pending,
        trust.check_token,
        trust.secret_missing,
        trust._of_token,
        trust._unavailable,
    ),
    ConditionType.TRUST_REGISTERED: (
        federation_checks._pending,
        registered,
        trust._failed,
        trust._unavailable,
    ),
    ConditionType.INJECTION_SERVING: (probe,),
    ConditionType.READY: (conditions,),
}
"""Who finds what is said of a condition."""
SENTENCE = re.compile(r"[A-Z`](?:[^.|\n]|\.(?! |$))+\.")
each_answer = pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)


def test_every_condition_and_every_reason_is_listed_once_and_in_order() -> None:
    assert [question.condition for question in QUESTIONS] == list(ConditionType)
    assert [answer.reason for answer in ANSWERS] == list(Reason)


@each_answer
def test_a_reason_has_one_sentence_of_meaning_and_one_of_what_to_do(answer: Answer) -> None:
    assert SENTENCE.fullmatch(answer.meaning)
    assert SENTENCE.fullmatch(answer.to_do)
    assert (answer.to_do == "Nothing.") == (answer.status is Status.TRUE)


def test_no_two_reasons_mean_the_same() -> None:
    assert len({answer.meaning for answer in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("condition", ConditionType)
def test_the_list_has_the_reasons_that_the_judges_of_a_condition_name(
    condition: ConditionType,
) -> None:
    listed = {answer.reason.name for answer in ANSWERS if condition in answer.conditions}
    sources = map(inspect.getsource, JUDGES[condition])
    assert {name for source in sources for name in re.findall(r"\bReason\.(\w+)", source)} == listed
