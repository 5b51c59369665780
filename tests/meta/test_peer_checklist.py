"""Which test covers which behaviour that peers are known for, or fail at.

The items follow the checklists 4.1 to 4.8 of the comparison with other projects, as far as they
concern decisions; `[+]` marks what no peer tests, or what they get wrong. Whoever renames a test
changes its line here, so that nothing is lost on the way.
"""

import ast
from functools import cache

import pytest

from meta.repository import ROOT

INJECTION = "tests/unit/core/injection"
DECISION = f"{INJECTION}/test_decision.py"
PRECEDENCE = f"{INJECTION}/test_precedence.py"
EXPIRATION = f"{INJECTION}/test_expiration.py"
ENV = f"{INJECTION}/test_env.py"
VOLUMES = f"{INJECTION}/test_volumes.py"
MOUNTS = f"{INJECTION}/test_mounts.py"
CONTAINERS = f"{INJECTION}/test_containers.py"
SURVIVAL = f"{INJECTION}/test_survival.py"
IDEMPOTENCY = f"{INJECTION}/test_idempotency.py"
PATCH = f"{INJECTION}/test_patch.py"
READING = "tests/unit/core/pod/test_reading.py"
LAWS = "tests/properties/test_injection.py"
ARBITRARY = "tests/properties/test_arbitrary_input.py"
GOLDEN = "tests/golden/test_injection.py"
BINDING = "tests/unit/api/test_binding.py"

DECISIONS = {
    "SA unnamed": [(DECISION, "test_a_pod_without_service_account_runs_as_default")],
    "SA not opted in": [
        (DECISION, "test_a_service_account_that_asks_for_nothing_is_left_alone"),
        (DECISION, "test_an_annotation_that_only_tunes_does_not_opt_in"),
    ],
    "opted in by each source alone": [
        (DECISION, "test_an_inject_annotation_opts_in_by_itself"),
        (DECISION, "test_an_audience_annotation_opts_in_by_itself"),
        (DECISION, "test_a_binding_opts_in_by_itself"),
    ],
    "each required value missing in turn": [
        (DECISION, "test_a_missing_federation_skips_with_a_warning_that_names_it"),
        (DECISION, "test_an_issuer_that_is_not_known_yet_skips_with_a_warning"),
        (DECISION, "test_names_of_which_no_principal_can_be_made_skip_with_a_warning"),
    ],
    "opt-out on Pod": [(DECISION, "test_a_false_label_of_the_pod_beats_everything")],
    "opt-out on SA": [(DECISION, "test_a_false_of_the_service_account_beats_audience_and_binding")],
    "a specific false beats a broad true": [
        (DECISION, "test_a_disabled_binding_beats_a_true_of_the_service_account"),
        (DECISION, "test_a_true_label_of_the_pod_does_not_opt_in"),
        (DECISION, "test_an_inject_annotation_of_the_pod_says_nothing"),
    ],
    "every pair of sources in both orders": [
        (PRECEDENCE, "test_the_higher_of_two_audiences_wins"),
        (PRECEDENCE, "test_the_higher_of_two_expirations_wins"),
        (PRECEDENCE, "test_the_region_of_the_binding_beats_that_of_the_federation"),
        (PRECEDENCE, "test_the_federation_of_the_binding_beats_that_of_the_service_account"),
        (PRECEDENCE, "test_the_stated_issuer_beats_the_discovered_one"),
        (LAWS, "test_a_lower_source_never_changes_an_expiration_that_a_higher_one_states"),
        (LAWS, "test_a_lower_source_never_changes_an_audience_that_a_higher_one_states"),
    ],
    "a source that goes falls back to the next": [
        (PRECEDENCE, "test_a_source_that_goes_falls_back_to_the_next")
    ],
    "a source that returns brings its own values": [
        (PRECEDENCE, "test_a_source_that_returns_brings_its_own_value_and_no_old_one")
    ],
    "annotation removed, next Pod untouched": [
        (DECISION, "test_a_removed_annotation_leaves_the_next_pod_alone")
    ],
    "values resolve independently": [
        (PRECEDENCE, "test_values_resolve_independently_of_one_another")
    ],
    "garbage in a higher source is skipped": [
        (EXPIRATION, "test_an_unparsable_expiration_of_the_pod_gives_way_to_the_next_source"),
        (
            EXPIRATION,
            "test_an_unparsable_expiration_of_the_service_account_gives_way_to_the_federation",
        ),
        (PRECEDENCE, "test_an_audience_of_blanks_is_passed_over"),
    ],
    "an empty annotation counts as absent": [
        (DECISION, "test_an_empty_inject_annotation_counts_as_absent"),
        (DECISION, "test_an_audience_of_blanks_does_not_opt_in"),
        (EXPIRATION, "test_an_empty_expiration_counts_as_absent"),
        (PRECEDENCE, "test_an_empty_federation_annotation_counts_as_absent"),
    ],
    "a foreign vocabulary does not count": [(DECISION, "test_words_of_another_vendor_say_nothing")],
    "[+] inject with any other word": [
        (DECISION, "test_any_other_word_is_not_injected_and_the_warning_quotes_it"),
        (DECISION, "test_any_other_word_is_not_injected_with_audience_or_binding_either"),
    ],
    "[+] same SA name in another namespace": [
        (DECISION, "test_one_name_in_two_namespaces_makes_two_principals")
    ],
    "[+] static Pods": [(DECISION, "test_a_mirror_pod_is_left_alone")],
    "[+] host network": [(DECISION, "test_a_pod_on_the_hosts_network_is_injected_like_any_other")],
    "[+] dry run": [(DECISION, "test_a_dry_run_is_answered_like_any_other_request")],
    "[+] request namespace against the Pod's own": [
        (DECISION, "test_the_namespace_of_the_request_makes_the_principal_not_that_of_the_object")
    ],
    "[+] two bindings for one SA": [
        (BINDING, "test_the_oldest_binding_comes_first_then_the_lower_uid")
    ],
}

VARIABLES = {
    "documented order": [(ENV, "test_variables_come_in_the_documented_order")],
    "appended after what is there": [
        (ENV, "test_variables_are_appended_after_those_that_are_there")
    ],
    "absent array created": [
        (ENV, "test_an_absent_list_of_variables_is_created"),
        (ENV, "test_a_null_or_empty_list_of_variables_is_filled"),
    ],
    "region pair, both or none": [(ENV, "test_a_container_with_one_region_variable_gets_none")],
    "half a credential pair": [
        (ENV, "test_a_container_with_half_a_credential_pair_gets_neither_half"),
        (LAWS, "test_a_container_has_both_halves_of_a_pair_or_neither"),
    ],
    "complete container untouched, neighbours served": [
        (ENV, "test_a_complete_container_stays_untouched_while_its_neighbours_are_served")
    ],
    "existing variables never replaced, empty ones included": [
        (ENV, "test_an_existing_variable_is_never_replaced_not_even_an_empty_one")
    ],
    "tokens of several providers": [(ENV, "test_tokens_of_several_providers_live_side_by_side")],
    "[+] valueFrom counts as set": [(ENV, "test_a_variable_from_elsewhere_counts_as_set")],
    "[+] envFrom": [(ENV, "test_variables_from_a_whole_secret_are_not_known_and_change_nothing")],
    "[+] static keys and AWS_PROFILE": [
        (ENV, "test_keys_and_profiles_are_kept_and_warned_about"),
        (GOLDEN, "test_a_pod_is_answered_as_recorded"),
    ],
    "[+] web-identity variables": [(ENV, "test_web_identity_variables_are_kept_and_warned_about")],
    "[+] AWS_CONFIG_FILE only without endpoint or config file": [
        (ENV, "test_a_container_with_own_endpoint_or_config_file_gets_no_config_file"),
        (ENV, "test_other_variables_do_not_keep_the_config_file_away"),
    ],
}

PLACES = {
    "no volumes, array created": [
        (VOLUMES, "test_an_absent_list_of_volumes_is_created"),
        (VOLUMES, "test_a_null_or_empty_list_of_volumes_is_filled"),
    ],
    "existing volumes keep content and order": [
        (VOLUMES, "test_existing_volumes_keep_content_and_order")
    ],
    "projection has audience, expiration, path": [
        (VOLUMES, "test_the_projection_has_audience_expiration_and_path")
    ],
    "mount read-only at the right place": [
        (MOUNTS, "test_the_mount_is_read_only_at_the_vendors_place")
    ],
    "ours there already": [
        (VOLUMES, "test_a_volume_that_is_ours_already_is_used_and_the_variables_are_completed"),
        (VOLUMES, "test_a_volume_that_is_mounted_but_missing_is_added"),
        (MOUNTS, "test_our_volume_at_our_place_is_not_mounted_twice"),
    ],
    "ours there with another audience": [
        (VOLUMES, "test_a_volume_of_ours_with_another_audience_is_kept_beside_the_new_one")
    ],
    "client data by downwardAPI": [
        (VOLUMES, "test_client_configuration_is_a_file_made_of_an_annotation")
    ],
    "publishing twice is one publish": [(IDEMPOTENCY, "test_a_second_pass_adds_nothing")],
    "[+] a foreign volume of our name, of any type": [
        (VOLUMES, "test_a_foreign_volume_of_our_name_is_kept_and_ours_takes_the_next_name"),
        (GOLDEN, "test_a_pod_is_answered_as_recorded"),
    ],
    "[+] a foreign volume of our name, mounted elsewhere": [
        (VOLUMES, "test_a_foreign_volume_of_our_name_mounted_elsewhere_is_no_conflict"),
        (MOUNTS, "test_a_foreign_volume_of_our_name_at_our_place_is_a_conflict"),
    ],
    "[+] the next name taken too": [(VOLUMES, "test_names_that_are_taken_are_passed_over")],
    "[+] mount path taken, by a parent or child too": [
        (MOUNTS, "test_a_container_whose_place_is_taken_is_left_out_with_a_warning"),
        (MOUNTS, "test_a_read_only_mount_above_our_place_leaves_the_container_out"),
        (MOUNTS, "test_a_writable_mount_above_our_place_is_no_conflict"),
        (MOUNTS, "test_a_mount_beside_our_place_is_no_conflict"),
        (MOUNTS, "test_a_container_that_is_left_out_does_not_keep_its_neighbours_from_theirs"),
    ],
    "[+] subPath": [(MOUNTS, "test_a_part_of_our_volume_at_our_place_is_a_conflict")],
    "[+] token readable for non-root": [
        (VOLUMES, "test_the_projection_sets_no_mode_so_that_a_non_root_user_can_read_the_token"),
        (VOLUMES, "test_no_group_is_set_for_the_volume"),
    ],
}

SELECTION = {
    "one": [(CONTAINERS, "test_one_container_is_served")],
    "many, init containers, native sidecars, alike": [
        (CONTAINERS, "test_init_containers_sidecars_and_containers_are_served_alike"),
        (CONTAINERS, "test_a_native_sidecar_keeps_its_restart_policy"),
    ],
    "skip none, one, several, with blanks; [+] empty list, all": [
        (CONTAINERS, "test_containers_that_the_pod_skips_are_left_out"),
        (CONTAINERS, "test_a_pod_whose_containers_are_all_skipped_is_not_touched_at_all"),
    ],
    "the skipped one unchanged, the others complete": [
        (CONTAINERS, "test_a_skipped_container_is_unchanged_and_the_others_are_complete"),
        (LAWS, "test_containers_outside_the_selection_stay_as_they_were"),
    ],
    "Windows": [
        (DECISION, "test_a_windows_pod_stays_unbroken"),
        (MOUNTS, "test_a_windows_path_is_no_conflict"),
    ],
    "[+] unknown names": [
        (CONTAINERS, "test_skipping_unknown_names_gives_one_warning_that_names_them")
    ],
    "[+] only and except lists": [
        (CONTAINERS, "test_the_binding_may_name_who_is_served_or_who_is_not"),
        (CONTAINERS, "test_skip_list_and_binding_both_leave_out"),
    ],
    "[+] a container added by a later webhook": [
        (CONTAINERS, "test_a_container_that_a_later_webhook_adds_is_served_too"),
        (CONTAINERS, "test_a_container_that_a_later_webhook_puts_first_moves_no_addition"),
    ],
    "[+] ephemeral containers": [
        (CONTAINERS, "test_ephemeral_containers_are_left_alone"),
        (LAWS, "test_no_container_comes_or_goes_and_ephemeral_ones_stay_as_they_were"),
    ],
}

LIFETIME = {
    "Pod beats binding beats SA beats default": [
        (PRECEDENCE, "test_the_higher_of_two_expirations_wins"),
        (PRECEDENCE, "test_the_expiration_is_an_hour_where_nobody_says_one"),
    ],
    "an explicit value is kept exactly": [
        (EXPIRATION, "test_an_explicit_expiration_is_never_jittered")
    ],
    "zero, negative, below, at and above both limits, on each source": [
        (EXPIRATION, "test_an_expiration_is_kept_within_the_limits")
    ],
    "unparsable, on each source": [
        (EXPIRATION, "test_an_unparsable_expiration_is_ignored_with_a_warning"),
        (BINDING, "test_a_spec_that_cannot_be_read_is_marked_and_says_why"),
    ],
    "[+] clamped or ignored with a warning, never refused": [
        (EXPIRATION, "test_an_expiration_that_was_clamped_gives_a_warning_and_no_other_does"),
        (EXPIRATION, "test_a_bad_expiration_never_keeps_a_pod_from_its_credentials"),
    ],
    "[+] the API server accepts every value we emit": [
        (LAWS, "test_a_lower_source_never_changes_an_expiration_that_a_higher_one_states")
    ],
}

SURVIVES = {
    "probes, profiles, contexts, restart policies": [
        (SURVIVAL, "test_a_field_of_a_container_survives"),
        (SURVIVAL, "test_a_field_of_the_pod_survives"),
    ],
    "[+] unknown fields at any depth": [
        (LAWS, "test_whatever_was_there_is_there_at_the_same_place")
    ],
    "[+] numbers and Unicode": [(SURVIVAL, "test_numbers_and_unicode_stay_as_they_are")],
    "[+] very large Pods": [(SURVIVAL, "test_a_very_large_pod_gets_a_small_patch")],
}

MALFORMED = {
    "annotations of every kind malformed": [
        (ARBITRARY, "test_any_json_as_annotation_of_a_service_account_is_read"),
        (ARBITRARY, "test_any_json_as_pod_annotation_is_resolved"),
        (CONTAINERS, "test_a_skip_list_that_is_no_text_skips_nothing"),
    ],
    "invalid Pod": [
        (READING, "test_what_is_no_pod_is_an_empty_one"),
        (ARBITRARY, "test_any_json_as_pod_is_answered_with_a_patch_that_applies"),
    ],
    "[+] null where an array belongs": [
        (VOLUMES, "test_a_null_or_empty_list_of_volumes_is_filled"),
        (MOUNTS, "test_a_null_or_empty_list_of_mounts_is_filled"),
        (ENV, "test_a_null_or_empty_list_of_variables_is_filled"),
        (READING, "test_parts_of_the_spec_may_be_anything"),
        (READING, "test_parts_of_a_container_may_be_anything"),
    ],
}

FORM = {
    "second pass empty": [
        (IDEMPOTENCY, "test_a_second_pass_adds_nothing"),
        (LAWS, "test_a_second_pass_adds_nothing"),
    ],
    "judged by the live spec, never by a marker": [
        (DECISION, "test_marks_of_an_earlier_injection_prove_nothing")
    ],
    "markers not doubled": [(PATCH, "test_our_own_label_is_neither_added_twice_nor_warned_about")],
    "absent arrays created, present ones appended to": [
        (PATCH, "test_a_bare_pod_gets_every_list_and_map_whole"),
        (PATCH, "test_a_pod_that_has_everything_gets_one_operation_per_element"),
    ],
    "labels absent and present, keys escaped": [
        (PATCH, "test_keys_are_escaped_as_json_pointers"),
        (PATCH, "test_null_or_empty_labels_and_annotations_become_maps"),
        (PATCH, "test_absent_metadata_is_created"),
    ],
    "[+] second pass after another webhook's change": [
        (IDEMPOTENCY, "test_a_second_pass_after_the_api_server_filled_in_defaults_adds_nothing"),
        (IDEMPOTENCY, "test_a_binding_that_changed_between_two_passes_changes_nothing"),
        (IDEMPOTENCY, "test_variables_that_a_later_webhook_dropped_are_added_again"),
        (LAWS, "test_a_pass_after_others_changed_the_pod_is_the_last_one"),
        (LAWS, "test_a_binding_that_changes_between_two_passes_settles"),
    ],
    "[+] no patch for a Pod that needs none": [
        (PATCH, "test_a_pod_that_needs_nothing_gets_no_patch"),
        (ENV, "test_a_pod_of_complete_containers_gets_no_volume_label_or_annotation"),
        (LAWS, "test_a_skip_changes_nothing"),
    ],
    "[+] applied by an independent library": [
        (LAWS, "test_all_operations_are_additions_that_make_the_planned_pod")
    ],
}

CHECKLIST = {
    f"{chapter} {item}": tests
    for chapter, items in {
        "4.1": DECISIONS,
        "4.2": VARIABLES,
        "4.3": PLACES,
        "4.4": SELECTION,
        "4.5": LIFETIME,
        "4.6": SURVIVES,
        "4.7": MALFORMED,
        "4.8": FORM,
    }.items()
    for item, tests in items.items()
}


@cache
def names(file: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    body = ast.parse((ROOT / file).read_text()).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("item", CHECKLIST)
def test_an_item_of_the_checklist_has_its_tests(item: str) -> None:
    missing = [f"{file}::{name}" for file, name in CHECKLIST[item] if name not in names(file)]
    assert CHECKLIST[item]
    assert missing == []
