"""Words that users rely on: a change of one is a change of the API."""

from caios_federation.api import vocabulary as words
from caios_federation.api.vocabulary import SkipReason


def test_the_words_of_annotations_and_labels_are_promises() -> None:
    assert {
        words.INJECT,
        words.AUDIENCE,
        words.TOKEN_EXPIRATION,
        words.FEDERATION,
        words.SKIP_CONTAINERS,
        words.FEDERATED,
        words.PRINCIPAL,
        words.AWS_CONFIG,
    } == {
        "caios.coreweave.com/inject",
        "caios.coreweave.com/audience",
        "caios.coreweave.com/token-expiration",
        "caios.coreweave.com/federation",
        "caios.coreweave.com/skip-containers",
        "caios.coreweave.com/federated",
        "caios.coreweave.com/principal",
        "caios.coreweave.com/aws-config",
    }


def test_kopfs_finalizer_is_not_ours() -> None:
    assert words.KOPF_FINALIZER != words.POLICY_FINALIZER


def test_the_limits_of_a_token_enclose_the_default() -> None:
    assert words.MIN_TOKEN_EXPIRATION == 600
    assert words.MAX_TOKEN_EXPIRATION == 86400
    assert words.DEFAULT_TOKEN_EXPIRATION == 3600


def test_a_skip_reason_is_a_word_in_camel_case() -> None:
    assert [reason for reason in SkipReason if not reason.isalpha() or reason[0].islower()] == []
