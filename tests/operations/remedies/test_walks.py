"""Every remedy that a message names is walked: for each heading of the runbook the tests that follow it to its end.

What belongs here: where each is walked, and that none is missing. What does not: the walks. A walk lets the cause come
about on real servers, sees it told, does what message and runbook say, and sees it gone with the money right.
"""

from __future__ import annotations

import ast
from functools import cache

import pytest

from pipeline.operations.kinds import KINDS
from pipeline.store import stops
from tests.commands import ROOT
from tests.test_runbook import reasons

HERE, STEPS, EFFECTS = "operations/remedies/", "steps/", "effects/"
BOOKS, LINES, PEOPLE = HERE + "test_books.py::test_", HERE + "test_held.py::test_", HERE + "test_people.py::test_"
CAUSES, HANDS = "operations/test_causes.py::test_", STEPS + "test_hands.py::test_"
RETRIES, DELETED = STEPS + "test_retries.py::test_", EFFECTS + "test_deleted.py::test_"

WALKS: dict[str, tuple[str, ...]] = {
    # runs
    "run failed": (
        "operations/test_alerts.py::test_a_failed_run_is_told_once_and_anew_after_a_run_that_worked",
        "dagster/test_life.py::test_a_command_that_was_killed_in_a_run_is_told_and_the_next_look_asks_at_once",
    ),
    "nobody looks": (
        "dagster/test_life.py::test_an_installation_that_works_by_command_is_not_said_to_be_blind",
        "dagster/test_life.py::test_a_service_that_has_just_started_has_its_own_time",
        "dagster/test_life.py::test_alerts_check_tells_by_timer_that_nobody_looks",
    ),
    "stale": (PEOPLE + "a_site_that_stands_still_is_told_until_a_run_ends",),
    # charges
    "books disagree": (
        BOOKS + "sales_that_were_changed_by_hand_are_put_right_in_nexudus",
        BOOKS + "what_an_invoice_keeps_as_it_is_is_accepted_by_the_command_and_told_again_if_it_changes",
        BOOKS + "a_sale_on_an_invoice_whose_line_a_person_voided_ends_with_the_credit_note",
    ),
    "sale deleted": (DELETED + "each_decision_ends_it", DELETED + "a_sale_that_is_there_again_needs_nobody"),
    "credit changed by hand": (
        STEPS + "test_credits_by_hand.py::test_a_used_credit_that_is_put_back_is_found_and_ends_when_it_is_set_right",
        STEPS + "test_credits_by_hand.py::test_what_was_done_on_purpose_is_accepted_and_later_changes_count_from_there",
    ),
    "sale of no job": (BOOKS + "sales_of_no_job_are_deleted_or_lose_their_reference",),
    "sale without an answer": (CAUSES + "a_sale_without_an_answer_at_a_site_that_takes_no_money_any_more",),
    "site removed": (
        BOOKS + "a_site_that_left_the_file_is_decided_as_it_is_or_put_back",
        STEPS
        + "test_setup_changes.py::test_a_site_that_is_renamed_in_the_file_is_recognised_and_charges_nothing_again",
    ),
    "stopped: charges": (
        BOOKS + "sales_that_were_changed_by_hand_are_put_right_in_nexudus",
        LINES + "what_a_recovery_cannot_prove_is_confirmed_voided_or_done_now",
        EFFECTS
        + "test_sales.py::test_a_sale_of_a_waiting_line_that_the_ledger_never_sent_is_taken_over_and_stops_charges",
    ),
    # jobs and records
    "unreadable jobs": (
        BOOKS + "rows_that_may_be_one_print_are_retried_or_voided_and_a_row_that_cannot_be_read_is_corrected",
    ),
    "unreadable records": (
        PEOPLE + "records_that_cannot_be_read_and_customers_without_a_pin_are_put_right_in_nexudus",
    ),
    "unreadable users": (PEOPLE + "a_user_that_cannot_be_read_is_put_right_in_papercut",),
    "jobs without an owner": (
        "operations/test_assign.py::test_a_guests_job_is_listed_assigned_by_the_command_and_charged_once",
        "operations/test_assign.py::test_waived_is_charged_to_nobody_and_told_no_more",
    ),
    "printer without a price": (CAUSES + "a_printer_whose_jobs_cost_nothing",),
    "credit too large": (LINES + "a_job_waits_for_a_credit_that_is_too_large_and_is_paid_with_it",),
    # people
    "seats": (PEOPLE + "a_customer_without_a_seat_gets_one_or_gives_up_the_wish",),
    "customer left out": (
        PEOPLE + "records_that_cannot_be_read_and_customers_without_a_pin_are_put_right_in_nexudus",
        STEPS + "test_bad_input.py::test_two_customers_with_one_pin",
    ),
    "user held: foreign name": (PEOPLE + "a_user_of_a_name_that_is_not_ours_is_taken_over_or_gets_another_name",),
    "user held: no seat": (PEOPLE + "a_customer_without_a_seat_gets_one_or_gives_up_the_wish",),
    "user held: by hand": (
        STEPS + "test_ezeep.py::test_nobody_is_invited_until_a_person_asks_and_then_only_whom_they_name",
        "cli/test_invitations.py::test_a_person_invites_whom_they_choose_and_sees_who_has_not_logged_in",
    ),
    "user held: too large a credit": (PEOPLE + "a_balance_that_would_rise_too_far_waits_for_the_credits_or_the_limit",),
    "user held: disabled": (PEOPLE + "a_disabled_user_is_enabled_or_the_customer_loses_the_access",),
    "user held: balance fell": (
        PEOPLE + "a_balance_that_fell_is_followed_in_nexudus_or_put_back_by_hand",
        HANDS + "a_balance_that_staff_lower_is_held_and_told_until_a_person_lets_it_go",
    ),
    "user held: no effect": (
        PEOPLE + "a_change_without_effect_is_made_by_hand",
        HANDS + "a_change_that_papercut_takes_and_does_not_carry_out_is_held_after_three_times",
    ),
    "user held: other": (PEOPLE + "a_second_user_with_our_mark_that_is_on_no_record_gets_its_name_back",),
    "mark lost": (PEOPLE + "a_lost_mark_is_written_again_by_adopt_behind_the_text_that_is_there",),
    "prints without right": (CAUSES + "a_lost_mark_is_told_and_of_a_suspended_customer_at_once_as_urgent",),
    "change refused": (CAUSES + "a_change_that_fails_in_every_run",),
    "stopped: remove": (HANDS + "a_resumption_lets_through_the_plan_that_was_shown_and_no_other",),
    "stopped: rename": (
        HANDS + "an_email_change_over_its_cap_does_not_delay_a_restriction",
        STEPS + "test_sync.py::test_above_a_cap_nothing_of_that_phase_happens_until_a_person_resumes",
    ),
    # held by a rule
    "held: too_many_changes": (STEPS + "test_setup_changes.py::test_a_job_that_changes_forty_times_harms_only_itself",),
    "held: no_price": (STEPS + "test_ezeep.py::test_a_page_without_a_price_is_held_and_charged_once_it_has_one",),
    "held: cost_unknown": (LINES + "a_cost_that_nobody_knows_is_charged_by_hand_or_waived",),
    "held: fractional_cost": (
        LINES + "a_fraction_is_charged_as_it_says_also_where_the_site_rounds_from_now_on",
        RETRIES + "what_a_rule_held_is_let_through_by_a_retry_and_credits_pay_first",
    ),
    "held: voided_before": (RETRIES + "a_job_that_was_voided_costs_something_else_and_is_retried",),
    "held: twin": (
        BOOKS + "rows_that_may_be_one_print_are_retried_or_voided_and_a_row_that_cannot_be_read_is_corrected",
    ),
    "held: row_missing": (
        "steps/test_ezeep_refunds.py::test_a_print_that_a_later_report_lacks_is_given_back_by_a_person_or_stays",
    ),
    "pages taken back": (
        "steps/test_ezeep_refunds.py::test_where_two_prints_fit_nothing_is_taken_and_a_person_says_which",
        "steps/test_ezeep_refunds.py::test_a_row_that_fits_no_print_is_told_until_a_person_says_that_it_is_nothing",
    ),
    "held: above_max_charge": (RETRIES + "what_a_rule_held_is_let_through_by_a_retry_and_credits_pay_first",),
    "held: customer_gone": (
        RETRIES + "a_customer_who_is_gone_is_held_again_until_back",
        DELETED + "what_a_person_invoiced_by_hand_is_no_difference",
    ),
    "held: credit_too_large": (LINES + "a_job_waits_for_a_credit_that_is_too_large_and_is_paid_with_it",),
    "held: too_many_credits": (LINES + "more_credits_than_lines_are_charged_as_money_on_request",),
    "held: overdrawn": (
        RETRIES + "credits_that_were_given_since_pay_for_a_job_that_is_retried",
        RETRIES + "without_such_credits_a_retried_job_is_charged_as_the_person_asks",
    ),
    # held by what Nexudus shows
    "held: recovered": (LINES + "what_a_recovery_cannot_prove_is_confirmed_voided_or_done_now",),
    "held: sale": (
        LINES + "sales_of_a_wrong_amount_are_put_right_in_every_way_that_is_named",
        RETRIES + "a_sale_that_nexudus_refused_is_paid_with_credits_that_are_there_when_it_is_retried",
    ),
    "held: credit": (
        LINES + "a_use_of_a_credit_that_is_gone_is_charged_in_another_way_or_not_at_all",
        LINES + "a_use_of_a_credit_that_was_lowered_goes_on_once_it_is_given_back",
        LINES + "a_credit_that_names_another_line_of_ours_is_compared_and_decided",
        STEPS + "test_credits_by_hand.py::test_a_use_that_is_under_way_or_held_is_judged_once_it_is_decided",
    ),
    "held: undo_sale": (
        LINES + "a_refund_of_what_is_invoiced_ends_with_the_credit_note_or_stands",
        STEPS
        + "test_refunds.py::test_a_partial_refund_of_an_invoiced_sale_is_billed_once_for_every_order_of_decisions",
    ),
    "held: undo_credit": (LINES + "a_use_that_cannot_be_given_back_is_given_back_by_hand_or_stays",),
}
"""For each heading of docs/runbook.md under Alerts, Safety stops and Held charges: the tests that walk its remedy."""


@cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_heading_of_the_runbook_has_a_walk() -> None:
    simple = set(KINDS) - {"stopped", "held"}
    needed = simple | {f"stopped: {phase}" for phase in stops.PHASES} | {f"held: {reason}" for reason in reasons()}
    assert not needed - WALKS.keys(), f"nobody has followed the remedy of {sorted(needed - WALKS.keys())}: write a walk"
    assert not WALKS.keys() - needed, f"there is no such heading any more: {sorted(WALKS.keys() - needed)}"


@pytest.mark.parametrize("heading", WALKS)
def test_each_walk_is_a_test(heading: str) -> None:
    for walk in WALKS[heading]:
        path, _, name = walk.partition("::")
        assert name in functions_in(path), f"{path} has no test {name}, which walks the remedy of {heading!r}"
