"""Laws of trust: what is done makes it registered, is done once, and touches nobody else's."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

import builders
from caios_federation.api.conditions import Reason, Status
from caios_federation.api.federation import TrustManagement
from caios_federation.core.trust import OIDCConfiguration, TrustVerdict, judge_trust, wanted_trust

IAM = "https://coreweave.com/iam"
ISSUER = builders.ISSUER
needed = st.sampled_from(
    [
        wanted_trust(builders.parsed_federation(**spec), ISSUER)
        for spec in ({}, {"audience": IAM}, {"audience": "ä b"})
    ]
)
urls = st.sampled_from([ISSUER, f"{ISSUER}/", ISSUER.upper(), IAM, f"{IAM}/", "ä b", ""]) | st.text(
    max_size=4
)
names = st.sampled_from(["cks-d185efff", "cks-d185efff-0877510b", "cluster", "other"])
registries = st.lists(
    st.builds(OIDCConfiguration, st.just(""), names, urls, urls, st.booleans()), max_size=5
).map(lambda found: [replace(entry, uid=f"uid-{at}") for at, entry in enumerate(found)])
managements = st.sampled_from(TrustManagement)


def applied(verdict: TrustVerdict, registered: list[OIDCConfiguration]) -> list[OIDCConfiguration]:
    """Do at a service what a verdict says."""
    change = verdict.change
    if change is None:
        return registered
    if not change.uid:
        return [*registered, replace(change, uid="uid-new")]
    assert change.uid in {entry.uid for entry in registered}
    return [change if entry.uid == change.uid else entry for entry in registered]


@given(needed, registries)
def test_what_is_done_makes_it_registered_and_leaves_nothing_to_do(
    wanted: OIDCConfiguration, registered: list[OIDCConfiguration]
) -> None:
    verdict = judge_trust(wanted, registered, TrustManagement.MANAGED)
    again = judge_trust(wanted, applied(verdict, registered), TrustManagement.MANAGED)
    assert again.change is None
    # Somebody else's that was deactivated is not ours to activate, and stands in the way.
    assert again.finding.reason is Reason.REGISTERED or (
        verdict == again and again.finding.reason is Reason.INACTIVE
    )


@given(needed, registries)
def test_configurations_of_another_name_are_never_changed(
    wanted: OIDCConfiguration, registered: list[OIDCConfiguration]
) -> None:
    after = applied(judge_trust(wanted, registered, TrustManagement.MANAGED), registered)
    foreign = [entry for entry in registered if entry.name != wanted.name]
    assert [entry for entry in after if entry.name != wanted.name] == foreign


@given(needed, registries)
def test_two_configurations_never_get_the_same_values(
    wanted: OIDCConfiguration, registered: list[OIDCConfiguration]
) -> None:
    """The service looks one up by issuer and audience, and refuses a second one."""
    after = applied(judge_trust(wanted, registered, TrustManagement.MANAGED), registered)

    def right(entries: list[OIDCConfiguration]) -> int:
        pair = wanted.issuer_url, wanted.audience
        return sum((entry.issuer_url, entry.audience) == pair for entry in entries)

    assert right(after) <= max(right(registered), 1)


@given(needed, registries, managements)
def test_it_is_registered_exactly_where_an_active_one_matches_to_the_letter(
    wanted: OIDCConfiguration, registered: list[OIDCConfiguration], management: TrustManagement
) -> None:
    matching = any(
        (entry.issuer_url, entry.audience, entry.active)
        == (wanted.issuer_url, wanted.audience, True)
        for entry in registered
    )
    finding = judge_trust(wanted, registered, management).finding
    assert (finding.status is Status.TRUE) == matching


@given(needed, registries, managements, st.randoms(use_true_random=False))
def test_what_is_said_and_done_does_not_depend_on_the_order(
    wanted: OIDCConfiguration,
    registered: list[OIDCConfiguration],
    management: TrustManagement,
    random: Random,
) -> None:
    shuffled = list(registered)
    random.shuffle(shuffled)
    assert judge_trust(wanted, shuffled, management) == judge_trust(wanted, registered, management)


@given(needed, registries, managements)
def test_only_managed_acts_and_every_message_has_the_values(
    wanted: OIDCConfiguration, registered: list[OIDCConfiguration], management: TrustManagement
) -> None:
    verdict = judge_trust(wanted, registered, management)
    assert management is TrustManagement.MANAGED or verdict.change is None
    values = f"Issuer URL: {wanted.issuer_url}, Client ID (Audience): {wanted.audience}"
    assert values in verdict.finding.message[:4096]
