"""Whether a Pod is injected at all (peers checklist 4.1)."""

from dataclasses import replace

import pytest

from builders import (
    FEDERATED,
    ISSUER,
    annotated,
    bound,
    container,
    inject,
    parsed_binding,
    parsed_federation,
    pod,
    resolved,
    sources,
    words,
)
from caios_federation.api.binding import Binding
from caios_federation.api.vocabulary import SkipReason
from caios_federation.core.injection import (
    Skip,
    Sources,
    annotation_problems,
    federation_name,
    resolve,
)
from caios_federation.core.pod import service_account_of

OPTED_OUT = sources(account=words(inject="false", audience="custom"), bound=parsed_binding())


def test_an_inject_annotation_opts_in_by_itself() -> None:
    assert inject(pod(), annotated(inject="true")).operations


def test_an_audience_annotation_opts_in_by_itself() -> None:
    assert inject(pod(), annotated(audience="custom")).operations


def test_a_binding_opts_in_by_itself() -> None:
    assert inject(pod(), bound()).operations


def test_a_service_account_that_asks_for_nothing_is_left_alone() -> None:
    injected = inject(pod(), annotated())
    assert SkipReason.NOT_FEDERATED is injected.skipped
    assert injected.operations == []
    assert injected.warnings == ()


@pytest.mark.parametrize("word", ["token_expiration", "federation"])
def test_an_annotation_that_only_tunes_does_not_opt_in(word: str) -> None:
    assert SkipReason.NOT_FEDERATED is inject(pod(), annotated(**{word: "900"})).skipped


def test_a_false_of_the_service_account_beats_audience_and_binding() -> None:
    injected = inject(pod(), OPTED_OUT)
    assert SkipReason.ACCOUNT_OPTED_OUT is injected.skipped
    assert injected.operations == []
    assert injected.warnings == ()


def test_a_disabled_binding_beats_a_true_of_the_service_account() -> None:
    has_a_say = sources(account=words(inject="true"), bound=parsed_binding(injection="Disabled"))
    injected = inject(pod(), has_a_say)
    assert SkipReason.INJECTION_DISABLED is injected.skipped
    assert injected.operations == []


def test_a_false_label_of_the_pod_beats_everything() -> None:
    has_a_say = sources(account=words(inject="true"), bound=parsed_binding())
    injected = inject(pod(labels=words(inject="false")), has_a_say)
    assert SkipReason.POD_OPTED_OUT is injected.skipped
    assert injected.operations == []


def test_a_true_label_of_the_pod_does_not_opt_in() -> None:
    assert SkipReason.NOT_FEDERATED is inject(pod(labels=words(inject="true")), annotated()).skipped


def test_an_inject_annotation_of_the_pod_says_nothing() -> None:
    assert inject(pod(annotations=words(inject="false"))).operations


@pytest.mark.parametrize("text", ["True", "TRUE", "yes", "1", "enabled", " true", "true ", "no"])
def test_any_other_word_is_not_injected_and_the_warning_quotes_it(text: str) -> None:
    injected = inject(pod(), annotated(inject=text))
    assert SkipReason.ANNOTATION_INVALID is injected.skipped
    assert injected.operations == []
    (warning,) = injected.warnings
    assert warning == (
        "ServiceAccount team-a/reader: annotation caios.coreweave.com/inject is "
        f'{text!r}; it must be "true" or "false"; not injected'
    )


@pytest.mark.parametrize("bind", [False, True])
def test_any_other_word_is_not_injected_with_audience_or_binding_either(bind: bool) -> None:
    has_a_say = sources(
        account=words(inject="maybe", audience="custom"), bound=parsed_binding() if bind else None
    )
    assert SkipReason.ANNOTATION_INVALID is inject(pod(), has_a_say).skipped


def test_an_empty_inject_annotation_counts_as_absent() -> None:
    assert SkipReason.NOT_FEDERATED is inject(pod(), annotated(inject="")).skipped
    assert inject(pod(), annotated(inject="", audience="custom")).operations


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_an_audience_of_blanks_does_not_opt_in(blank: str) -> None:
    assert SkipReason.NOT_FEDERATED is inject(pod(), annotated(audience=blank)).skipped


@pytest.mark.parametrize("control", ["\n", "\x00", "\x7f", "\x85"])
def test_an_audience_with_control_characters_is_ignored_and_told(control: str) -> None:
    has_a_say = annotated(inject="true", audience=f"custom{control}")
    injected = inject(pod(), has_a_say)
    problem = (
        "annotation caios.coreweave.com/audience of the ServiceAccount contains control "
        "characters; ignored"
    )
    assert resolved(has_a_say).audience == ISSUER
    assert injected.warnings == (problem,)
    assert annotation_problems(has_a_say) == [problem]
    assert SkipReason.NOT_FEDERATED is inject(pod(), annotated(audience=f"custom{control}")).skipped


def test_a_removed_annotation_leaves_the_next_pod_alone() -> None:
    assert inject(pod(), annotated(inject="true")).operations
    assert inject(pod(), annotated()).operations == []


def test_a_missing_federation_skips_with_a_warning_that_names_it() -> None:
    has_a_say = sources(account=words(inject="true", federation="other"), federated=None)
    injected = inject(pod(), has_a_say)
    assert SkipReason.FEDERATION_NOT_FOUND is injected.skipped
    assert injected.operations == []
    (warning,) = injected.warnings
    assert warning == (
        "ServiceAccount team-a/reader: StorageFederation 'other' does not exist; "
        "no credentials injected"
    )


NO_NAME = annotated(inject="true", federation="My Fed")
OURS = replace(parsed_binding(federationName="special"), ours=True)


@pytest.mark.parametrize("binding", [None, OURS], ids=["unbound", "bound by an older annotation"])
def test_a_federation_annotation_that_is_no_name_skips_and_is_told_to_whoever_asks(
    binding: Binding | None,
) -> None:
    has_a_say = NO_NAME._replace(binding=binding)
    injected = inject(pod(), has_a_say)
    assert SkipReason.FEDERATION_NOT_FOUND is injected.skipped
    assert injected.operations == []
    problem = (
        "ServiceAccount team-a/reader: annotation caios.coreweave.com/federation is 'My Fed', "
        "not the name of a StorageFederation"
    )
    assert injected.warnings == (f"{problem}; no credentials injected",)
    assert annotation_problems(has_a_say) == [problem]


def test_a_federation_annotation_is_not_read_where_a_users_binding_names_one() -> None:
    has_a_say = NO_NAME._replace(binding=parsed_binding())
    injected = inject(pod(), has_a_say)
    assert injected.operations
    assert injected.warnings == ()
    assert annotation_problems(has_a_say) == []


def test_an_audience_that_no_status_can_hold_is_ignored_and_told() -> None:
    has_a_say = annotated(inject="true", audience="x" * 1025)
    assert resolved(has_a_say).audience == ISSUER
    (warning,) = inject(pod(), has_a_say).warnings
    assert "longer than 1024 characters" in warning
    assert SkipReason.NOT_FEDERATED is inject(pod(), annotated(audience="x" * 1025)).skipped


@pytest.mark.parametrize("inputs", [{"inject": "x" * 120_000}, {"federation": "x" * 120_000}])
def test_a_huge_annotation_gives_a_short_warning(inputs: dict[str, str]) -> None:
    (warning,) = inject(pod(), annotated(**{"inject": "true", **inputs})).warnings
    assert f"is '{'x' * 39}…'" in warning
    assert len(warning) <= 256


def test_an_issuer_that_is_not_known_yet_skips_with_a_warning() -> None:
    injected = inject(pod(), sources(account=words(inject="true"), issuer=None))
    assert SkipReason.ISSUER_UNKNOWN is injected.skipped
    assert injected.operations == []
    (warning,) = injected.warnings
    assert warning == (
        "ServiceAccount team-a/reader: the cluster's issuer is not known yet; "
        "no credentials injected"
    )


def test_a_stated_issuer_that_is_none_is_not_replaced_by_the_discovered_one() -> None:
    federated = parsed_federation(issuerURL="https://*")
    injected = inject(pod(), sources(account=words(inject="true"), federated=federated))
    assert SkipReason.ISSUER_UNKNOWN is injected.skipped


def test_names_of_which_no_principal_can_be_made_skip_with_a_warning() -> None:
    has_a_say = sources(account=words(inject="true"), namespace="*")
    injected = inject(pod(), has_a_say)
    assert SkipReason.IDENTITY_INVALID is injected.skipped
    assert injected.operations == []
    (warning,) = injected.warnings
    assert warning == (
        "ServiceAccount */reader: namespace '*': not the name of a Namespace; "
        "no credentials injected"
    )


def test_a_mirror_pod_is_left_alone() -> None:
    injected = inject(pod(annotations={"kubernetes.io/config.mirror": "0123"}))
    assert SkipReason.MIRROR_POD is injected.skipped
    assert injected.operations == []


def test_the_namespace_of_the_request_makes_the_principal_not_that_of_the_object() -> None:
    raw = pod()
    raw["metadata"]["namespace"] = "elsewhere"
    after = inject(raw, sources(account=words(inject="true"), namespace="team-b")).pod
    assert after["metadata"]["annotations"] == words(
        principal=f"role/{ISSUER}:system:serviceaccount:team-b:reader"
    )


def test_one_name_in_two_namespaces_makes_two_principals() -> None:
    first, second = (
        resolved(sources(account=words(inject="true"), namespace=namespace)).principal
        for namespace in ("team-a", "team-b")
    )
    assert first != second


@pytest.mark.parametrize("spec", [{}, {"serviceAccountName": ""}, {"serviceAccountName": None}])
def test_a_pod_without_service_account_runs_as_default(spec: dict[str, str | None]) -> None:
    assert service_account_of({"spec": spec}) == "default"


def test_the_service_account_is_that_of_the_spec() -> None:
    assert service_account_of(pod(serviceAccountName="trainer")) == "trainer"


def test_a_pod_on_the_hosts_network_is_injected_like_any_other() -> None:
    assert inject(pod(hostNetwork=True)).operations == inject(pod()).operations


@pytest.mark.parametrize("key", ["kubernetes.io/os", "beta.kubernetes.io/os"])
def test_a_windows_pod_stays_unbroken(key: str) -> None:
    windows = pod(container(env={"PATH": "C:\\bin"}), nodeSelector={key: "windows"})
    after = inject(windows)
    assert after.spec["nodeSelector"] == {key: "windows"}
    assert after.container()["env"][0] == {"name": "PATH", "value": "C:\\bin"}
    assert after.operations


def test_a_dry_run_is_answered_like_any_other_request() -> None:
    """Nothing that a decision is made of knows of it: the same facts give the same answer."""
    assert {"dry_run", "dryRun"}.isdisjoint(Sources._fields)
    assert inject(pod()).operations == inject(pod()).operations


def test_a_skip_holds_the_reason_that_stands_first() -> None:
    """Opt-outs are looked at before anything that could be missing."""
    has_a_say = sources(account=words(inject="false"), federated=None, issuer=None)
    assert resolve(has_a_say) == Skip(SkipReason.ACCOUNT_OPTED_OUT)


def test_a_missing_federation_stands_before_a_missing_issuer() -> None:
    has_a_say = sources(account=words(inject="true"), federated=None, issuer=None)
    assert SkipReason.FEDERATION_NOT_FOUND is inject(pod(), has_a_say).skipped


def test_the_federation_of_whoever_names_none_is_called_default() -> None:
    assert federation_name({}, None) == "default"


def test_words_of_another_vendor_say_nothing() -> None:
    foreign = {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x",
        "coreweave.com/inject": "true",
    }
    assert SkipReason.NOT_FEDERATED is inject(pod(), sources(account=foreign)).skipped


def test_marks_of_an_earlier_injection_prove_nothing() -> None:
    """A user could have written them: what counts is what the containers have."""
    marked = pod(labels=words(federated="true"), annotations=words(principal="role/x"))
    after = inject(marked, FEDERATED)
    assert [item["name"] for item in after.container()["env"]] == [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"inject": "true", "token_expiration": "900"}, []),
        ({}, []),
        ({"inject": "yes"}, ["is 'yes'"]),
        ({"federation": "My Fed"}, ["caios.coreweave.com/federation is 'My Fed'"]),
        ({"audience": "x" * 1025}, ["is longer than 1024 characters"]),
        ({"token_expiration": "1h"}, ["of the ServiceAccount is '1h', not a number"]),
        (
            {"inject": "yes", "token_expiration": "1"},
            ["is 'yes'", "of the ServiceAccount is 1, outside"],
        ),
    ],
)
def test_the_problems_of_a_service_account_can_be_told_without_a_pod(
    inputs: dict[str, str], expected: list[str]
) -> None:
    problems = annotation_problems(annotated(**inputs))
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem
