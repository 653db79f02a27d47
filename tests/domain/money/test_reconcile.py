"""Reconciliation: every rule as a small world. The injected errors are in `test_detector.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from pipeline.domain.money.history import ACCESS, Past, kept
from pipeline.domain.money.reconcile import reconcile, summary
from pipeline.domain.money.references import reference
from tests.domain.money.books import DAY, NAMES, compared, lines, only, sales
from tests.frames import NOW, jobs, moment, rules, shuffled, table

# --- in step ----------------------------------------------------------------------------------------------------------


def test_three_books_that_agree() -> None:
    row = only(compared(jobs("job_id\n1"), lines("job_id\n1"), sales("job_id\n1")))
    assert row["finding"] == "ok"
    cents = ("printed_cents", "ledger_cents", "sale_cents", "nexudus_cents", "explained_cents", "unexplained_cents")
    assert [row[name] for name in cents] == [50, 50, 50, 50, 0, 0]


@pytest.mark.parametrize("kind", ["credit", "waive"])
def test_credits_and_waived_jobs_leave_nothing_in_nexudus(kind: str) -> None:
    row = only(compared(jobs("job_id\n1"), lines(f"job_id kind\n1 {kind}"), sales()))
    assert (row["finding"], row["ledger_cents"], row["sale_cents"]) == ("ok", 50, 0)


def test_a_job_paid_with_credits_and_money() -> None:
    told = lines("job_id kind amount_cents\n1 credit 45\n1 sale 5")
    row = only(compared(jobs("job_id\n1"), told, sales("job_id quantity\n1 5")))
    assert (row["finding"], row["ledger_cents"], row["nexudus_cents"]) == ("ok", 50, 5)


def test_only_jobs_and_sales_of_this_day_and_site_count() -> None:
    frame = compared(
        jobs("job_id site printed_at\n1 london 11-20T09:00\n2 paris 11-20T09:00\n3 london 11-19T09:00"),
        lines("job_id site printed_at\n1 london 11-20T09:00\n2 paris 11-20T09:00\n3 london 11-19T09:00"),
        sales("job_id site\n1 london\n2 paris\n3 london\n4 paris"),
    )
    assert frame.select("job_id", "finding").rows() == [("1", "ok")]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("job_id", "job_id printed_at\n3 11-19T09:00"),
        ("job_id printed_at\n3 11-19T09:00", "job_id printed_at\n3 11-20T09:00"),
    ],
    ids=["of another day", "of a job of another day"],
)
def test_a_line_without_a_job_is_a_finding_of_its_own_day_alone(job: str, told: str) -> None:
    assert compared(jobs(job), lines(told), sales()).is_empty()


def test_rows_come_in_the_order_of_job_numbers() -> None:
    frame = compared(shuffled(jobs("job_id cost\n2 0\n10 0\n1 0")), lines(), sales())
    assert frame["job_id"].to_list() == ["1", "2", "10"]


def test_an_empty_day() -> None:
    frame = compared(jobs("job_id"), lines(), sales())
    assert summary(frame) == {
        "jobs": 0, "wrong": 0, "printed_cents": 0, "ledger_cents": 0, "sale_cents": 0, "nexudus_cents": 0,
        "explained_cents": 0, "unexplained_cents": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("job", "cents"),
    [
        ("job_id allowed\n1 n", 0),
        ("job_id refunded\n1 y", 0),
        ("job_id printed\n1 n", 0),
        ("job_id printed job_type\n1 n COPY", 50),
        ("job_id cost\n1 -", 0),
        ("job_id cost\n1 0", 0),
        ("job_id cost username\n1 0 staff", 0),
        ("job_id cost\n1 -5", 0),
    ],
)
def test_what_papercut_charges(job: str, cents: int) -> None:
    told = lines(f"job_id amount_cents\n1 {cents}") if cents else lines()
    row = only(compared(jobs(job), told, sales("job_id\n1") if cents else sales()))
    assert (row["printed_cents"], row["finding"]) == (cents, "ok")


@pytest.mark.parametrize(
    ("rounding", "cost", "cents"),
    [("half_up", "2.5", 3), ("half_up", "2.4", 2), ("up", "2.000001", 3), ("up", "2", 2), ("hold", "2.5", 3)],
)
def test_fractions_are_rounded_as_the_site_says(rounding: str, cost: str, cents: int) -> None:
    state = "held" if rounding == "hold" else "confirmed"
    row = only(
        compared(
            jobs(f"job_id cost\n1 {cost}"),
            lines(f"job_id amount_cents state\n1 {cents} {state}"),
            sales() if rounding == "hold" else sales(f"job_id quantity\n1 {cents}"),
            rules(rounding=rounding),
        )
    )
    assert (row["printed_cents"], row["unexplained_cents"]) == (cents, 0)
    assert row["explained_cents"] == (cents if rounding == "hold" else 0)


# --- explained --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "told", "why"),
    [
        ("job_id printed_at\n1 11-20T11:31", "job_id", "once it is 30 minutes old"),
        ("job_id username\n1 staff", "job_id", "never was ours"),
        ("job_id shared_account\n1 y", "job_id", "shared account"),
        ("job_id revision refunded\n1 1 y", "job_id\n1", "changed in PaperCut at 2026-11-20 12:00 UTC"),
        ("job_id revision cost\n1 1 60", "job_id\n1", "decided in the next run"),
        (
            "job_id revision cost\n1 2 60",
            "job_id kind revision state\n1 credit 1 priced\n1 waive 1 held",
            "decided in the next run",
        ),
        ("job_id revision shared_account\n1 1 y", "job_id\n1", "decided in the next run"),
        ("job_id", "job_id state\n1 void", "a person voided 50 cents"),
        ("job_id cost\n1 1", "job_id state amount_cents\n1 void 1", "a person voided 1 cents"),
        ("job_id", "job_id kind state amount_cents\n1 sale void 30\n1 credit priced 20", "a person voided 30 cents"),
    ],
)
def test_differences_with_a_reason_are_explained(job: str, told: str, why: str) -> None:
    ledger = lines(told)
    held = sales("job_id\n1") if "confirmed" in ledger["state"] else sales()
    row = only(compared(jobs(job if "\n" in job else "job_id\n1"), ledger, held))
    assert (row["explained_cents"] > 0, row["unexplained_cents"]) == (True, 0), row["finding"]
    assert why in row["finding"]


def test_jobs_before_go_live_are_explained() -> None:
    row = only(compared(jobs("job_id\n1"), lines(), sales(), rules(charge_from=moment("11-20T10:00"))))
    assert (row["explained_cents"], row["unexplained_cents"]) == (50, 0)
    assert "before charge_from" in row["finding"]


def test_a_job_at_the_moment_of_charge_from_is_to_be_charged() -> None:
    row = only(compared(jobs("job_id\n1"), lines(), sales(), rules(charge_from=moment("11-20T09:00"))))
    assert (row["explained_cents"], row["unexplained_cents"]) == (0, 50)


GIVEN = pl.Schema({"job_id": pl.String, "coworker_id": pl.Int64})


@pytest.mark.parametrize(
    ("job", "given", "told", "cents", "why"),
    [
        ("staff n", "1 1", "job_id", (0, 50), "the ledger has no line"),
        ("staff n", "1 1", "job_id\n1", (0, 0), "ok"),
        ("staff n", "1 -", "job_id", (50, 0), "a person waived it, so nobody is charged"),
        ("staff n", "2 1", "job_id", (50, 0), "never was ours"),
        ("c1@example.com n", "1 -", "job_id", (50, 0), "a person waived it, so nobody is charged"),
        ("c1@example.com n", "1 -", "job_id\n1", (0, 50), "although the user never was ours"),
        ("c1@example.com n", "2 -", "job_id\n1", (0, 0), "ok"),
    ],
)
def test_a_job_that_a_person_gave_to_a_customer_is_to_be_charged_and_a_waived_one_is_not(
    job: str, given: str, told: str, cents: tuple[int, int], why: str
) -> None:
    held = sales("job_id\n1") if "\n" in told else sales()
    printed = jobs(f"job_id first_seen_at username shared_account\n1 11-20T09:01 {job}")
    row = only(compared(printed, lines(told), held, assigned=table(GIVEN, f"job_id coworker_id\n{given}")))
    assert (row["explained_cents"], row["unexplained_cents"]) == cents
    assert why in row["finding"]


@pytest.mark.parametrize("state", ["confirmed", "invoiced"])
def test_a_line_that_a_person_charged_by_hand_has_no_sale(state: str) -> None:
    told, refs = lines(f"job_id state\n1 {state}"), [reference("london", "1", "sale", 0)]
    row = only(compared(jobs("job_id\n1"), told, sales(), by_hand=refs))
    assert (row["explained_cents"], row["unexplained_cents"]) == (50, 0)
    assert "a person charged 50 cents by hand" in row["finding"]
    assert only(compared(jobs("job_id\n1"), told, sales("job_id\n1"), by_hand=refs))["finding"] == "ok"
    waiting = only(compared(jobs("job_id\n1"), lines("job_id state\n1 priced"), sales(), by_hand=refs))
    assert "is priced and not yet in Nexudus" in waiting["finding"]


@pytest.mark.parametrize("state", ["priced", "sending", "unknown", "held"])
@pytest.mark.parametrize("found", [False, True])
def test_a_line_on_its_way_is_explained(state: str, found: bool) -> None:
    row = only(compared(jobs("job_id\n1"), lines(f"job_id state\n1 {state}"), sales("job_id\n1") if found else sales()))
    assert (row["explained_cents"], row["unexplained_cents"], row["sale_cents"]) == (50, 0, 0)
    waits = "is held for a person" if state == "held" else f"is {state} and not yet in Nexudus"
    assert ("its sale is in Nexudus already" if found else waits) in row["finding"]


@pytest.mark.parametrize("state", ["priced", "sending", "unknown", "held"])
def test_a_refund_on_its_way_is_explained(state: str) -> None:
    told = lines(f"job_id kind state\n1 sale confirmed\n1 undo_sale {state}")
    row = only(compared(jobs("job_id revision refunded\n1 1 y"), told, sales("job_id\n1")))
    assert (row["ledger_cents"], row["sale_cents"], row["nexudus_cents"]) == (0, 50, 50)
    assert (row["explained_cents"], row["unexplained_cents"]) == (50, 0)


@pytest.mark.parametrize("state", ["priced", "sending", "unknown", "held"])
def test_a_refund_on_its_way_whose_sale_is_gone_already_is_ok(state: str) -> None:
    told = lines(f"job_id kind state\n1 sale confirmed\n1 undo_sale {state}")
    assert only(compared(jobs("job_id revision refunded\n1 1 y"), told, sales()))["finding"] == "ok"


@pytest.mark.parametrize("state", ["priced", "held", "confirmed"])
def test_a_refund_of_a_line_that_is_held_needs_no_word_more(state: str) -> None:
    told = lines(f"job_id kind state\n1 sale held\n1 undo_sale {state}")
    assert only(compared(jobs("job_id revision refunded\n1 1 y"), told, sales()))["finding"] == "ok"


def test_a_finished_refund_is_ok_and_an_invoiced_one_may_stay() -> None:
    refunded = jobs("job_id revision refunded\n1 1 y")
    told = lines("job_id kind\n1 sale\n1 undo_sale")
    assert only(compared(refunded, told, sales()))["finding"] == "ok"
    invoiced = lines("job_id kind state\n1 sale invoiced\n1 undo_sale confirmed")
    row = only(compared(refunded, invoiced, sales("job_id\n1")))
    assert (row["unexplained_cents"], row["explained_cents"]) == (0, 50)


def test_a_reversal_that_a_person_confirmed_explains_a_sale_on_an_invoice_and_no_other() -> None:
    """A credit note leaves the sale as it is; the line may not know yet that its sale was invoiced."""
    refunded = jobs("job_id revision refunded\n1 1 y")
    told = lines("job_id kind\n1 sale\n1 undo_sale")
    row = only(compared(refunded, told, sales("job_id invoiced\n1 y")))
    assert (row["unexplained_cents"], "credited after it was invoiced" in row["finding"]) == (0, True)
    assert only(compared(refunded, told, sales("job_id\n1")))["unexplained_cents"] == 50
    void = lines("job_id kind state\n1 sale void\n1 undo_sale confirmed")
    assert only(compared(refunded, void, sales("job_id invoiced\n1 y")))["unexplained_cents"] == 50


@pytest.mark.parametrize("before", [{"rounding": "half_up"}, {"charge_from": moment("11-21T00:00")}])
def test_a_day_is_held_against_the_rules_that_held_then(before: dict[str, Any]) -> None:
    now = rules(rounding="up")
    then = replace(now, **before)
    past = Past(pl.DataFrame(schema=ACCESS), ((moment("11-01T00:00"), kept(then)), (NOW, kept(now))))
    printed = jobs("job_id cost\n1 50.3")
    told, sold = (lines(), sales()) if "charge_from" in before else (lines("job_id\n1"), sales("job_id\n1"))
    frame = reconcile(printed, told, sold, rules=now, day=DAY, now=NOW, names=NAMES, past=past)
    assert only(frame)["unexplained_cents"] == 0, only(frame)["finding"]
    assert only(compared(printed, told, sold, now))["unexplained_cents"] > 0, "by the rules of now it would differ"


def test_a_reversal_that_a_person_refused_keeps_the_charge() -> None:
    told = lines("job_id kind state\n1 sale confirmed\n1 undo_sale void")
    row = only(compared(jobs("job_id revision refunded\n1 1 y"), told, sales("job_id\n1")))
    assert (row["unexplained_cents"], row["explained_cents"], row["sale_cents"]) == (0, 50, 50)


def test_a_job_that_was_reversed_and_charged_again() -> None:
    told = lines("job_id kind seq amount_cents revision\n1 sale 0 50 0\n1 undo_sale 0 50 1\n1 sale 1 40 1")
    row = only(compared(jobs("job_id revision cost\n1 1 40"), told, sales("job_id seq quantity\n1 1 40")))
    assert (row["finding"], row["ledger_cents"], row["sale_cents"]) == ("ok", 40, 40)


# --- unexplained ------------------------------------------------------------------------------------------------------

MATURE = "job_id first_seen_at\n1 11-20T09:01"


@pytest.mark.parametrize(
    ("job", "told", "held", "cents", "why"),
    [
        (MATURE, "job_id", "job_id", 50, "the ledger has no line"),
        (MATURE, "job_id kind state amount_cents\n1 sale void 30\n1 credit priced 19", "job_id", 31, "the ledger 19"),
        (MATURE, "job_id kind state amount_cents\n1 sale void 30\n1 credit priced 21", "job_id", 29, "the ledger 21"),
        (MATURE, "job_id amount_cents\n1 49", "job_id quantity\n1 49", 1, "PaperCut says 50 cents for customer 1"),
        (MATURE, "job_id amount_cents\n1 51", "job_id quantity\n1 51", 1, "the ledger 51"),
        (MATURE, "job_id\n1", "job_id", 50, "missing in Nexudus"),
        (MATURE, "job_id state\n1 invoiced", "job_id", 50, "missing in Nexudus"),
        (MATURE, "job_id\n1", "job_id remote_id\n1 1\n1 2", 50, "holds 2 sales of together 100 cents for one of 50"),
        (MATURE, "job_id\n1", "job_id quantity\n1 49", 1, "holds 49 cents in 49 units, the ledger has 50"),
        (MATURE, "job_id\n1", "job_id quantity total_cents\n1 50 51", 1, "holds 51 cents in 50 units"),
        (MATURE, "job_id\n1", "job_id quantity total_cents\n1 49 50", 1, "holds 50 cents in 49 units"),
        (MATURE, "job_id\n1", "job_id coworker_id\n1 2", 50, "customer 2 instead of 1"),
        (MATURE, "job_id\n1", "job_id coworker_id\n1 -", 50, "customer - instead of 1"),
        ("job_id cost\n1 0", "job_id amount_cents\n1 0", "job_id coworker_id quantity\n1 2 0", 1, "customer 2 instead"),
        (MATURE, "job_id kind\n1 credit", "job_id\n1", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id kind\n1 credit", "job_id kind\n1 credit", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id\n1", "job_id seq\n1 0\n1 1", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id state\n1 void", "job_id\n1", 50, "although the line is void or undone"),
        (MATURE, "job_id state\n1 void", "job_id quantity\n1 0", 1, "although the line is void or undone"),
        (MATURE, "job_id state\n1 void", "job_id total_cents\n1 -50", 50, "although the line is void or undone"),
        (MATURE, "job_id kind\n1 credit", "job_id total_cents\n1 -50", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id\n1", "job_id remote_id quantity\n1 1 25\n1 2 25", 1, "holds 2 sales of together 50 cents"),
        (MATURE, "job_id\n1", "job_id remote_id quantity\n1 1 20\n1 2 20", 10, "holds 2 sales of together 40 cents"),
        (MATURE, "job_id kind\n1 credit", "job_id quantity\n1 0", 1, "a reference that the ledger does not know"),
        (MATURE, "job_id state\n1 priced", "job_id quantity\n1 51", 1, "holds 51 cents"),
        (MATURE, "job_id state\n1 unknown", "job_id remote_id\n1 1\n1 2", 50, "delete all but one"),
        (MATURE, "job_id kind\n1 sale\n1 undo_sale", "job_id\n1", 100, "void or undone"),
        (MATURE, "job_id kind state\n1 sale void\n1 undo_sale void", "job_id\n1", 100, "void or undone"),
        ("job_id revision refunded first_seen_at\n1 1 y 11-20T11:30", "job_id\n1", "job_id\n1", 50, "PaperCut says 0"),
        ("job_id printed_at\n1 11-20T11:30", "job_id", "job_id", 50, "PaperCut charged 50 cents and the ledger has no"),
        ("job_id username first_seen_at\n1 staff 11-20T09:01", "job_id\n1", "job_id\n1", 50, "never was ours"),
        ("job_id username cost\n1 staff 1", "job_id amount_cents\n1 1", "job_id quantity\n1 1", 1, "never was ours"),
        ("job_id", "job_id\n1", "job_id\n1", 50, "PaperCut's log does not have"),
        ("job_id", "job_id", "job_id\n1", 50, "a reference that the ledger does not know"),
    ],
)  # fmt: skip
def test_what_nobody_can_explain(job: str, told: str, held: str, cents: int, why: str) -> None:
    row = only(compared(jobs(job), lines(told), sales(held)))
    assert (row["unexplained_cents"], why in row["finding"]) == (cents, True), row["finding"]
    assert "1" in row["job_id"]
    assert row["finding"].startswith("Job 1")


def test_what_nexudus_holds_of_a_job_is_all_of_it_under_whatever_reference() -> None:
    row = only(compared(jobs(MATURE), lines("job_id\n1"), sales("job_id seq quantity\n1 0 50\n1 1 20")))
    assert (row["sale_cents"], row["nexudus_cents"], row["unexplained_cents"]) == (50, 70, 20)


def test_a_difference_names_the_customer_who_was_charged_last() -> None:
    told = lines("job_id kind seq coworker_id revision\n1 sale 0 1 0\n1 undo_sale 0 1 1\n1 sale 1 2 1")
    changed = jobs("job_id revision cost first_seen_at\n1 1 60 11-20T09:01")
    row = only(compared(changed, told, sales("job_id seq coworker_id\n1 1 2")))
    assert "PaperCut says 60 cents for customer 2, the ledger 50" in row["finding"]


def test_findings_name_job_reference_customer_numbers_and_next_step() -> None:
    finding = only(compared(jobs(MATURE), lines("job_id\n1"), sales("job_id coworker_id\n1 2")))["finding"]
    ref = reference("london", "1", "sale", 0)
    assert finding == f"Job 1, {ref}: Nexudus charged customer 2 instead of 1 for 50 cents; move the sale in Nexudus."


def test_a_sale_of_which_nexudus_tells_no_total_is_worth_its_units() -> None:
    row = only(compared(jobs(MATURE), lines("job_id\n1"), sales("job_id total_cents\n1 -")))
    assert (row["finding"], row["nexudus_cents"]) == ("ok", 50)


def test_a_day_counts_its_jobs_and_those_with_a_difference() -> None:
    frame = compared(jobs("job_id\n1\n2"), lines("job_id\n1\n2"), sales("job_id quantity\n1 50\n2 49"))
    told = summary(frame)
    assert (told["jobs"], told["wrong"], told["unexplained_cents"], told["explained_cents"]) == (2, 1, 1, 0)


def test_two_errors_do_not_cancel() -> None:
    told = lines("job_id amount_cents\n1 49\n2 51")
    held = sales("job_id quantity\n1 50\n2 50")
    frame = compared(jobs("job_id\n1\n2"), told, held)
    assert frame["printed_cents"].sum() == frame["ledger_cents"].sum() == frame["nexudus_cents"].sum() == 100
    assert frame["unexplained_cents"].to_list() == [2, 2], "one cent to PaperCut and one to Nexudus, for each job"
    assert summary(frame)["wrong"] == 2


def test_what_is_wrong_is_told_before_what_has_a_reason() -> None:
    row = only(compared(jobs("job_id cost first_seen_at\n1 52 11-20T09:01"), lines("job_id state\n1 priced"), sales()))
    assert (row["unexplained_cents"], row["explained_cents"]) == (2, 50)
    assert row["finding"].index("PaperCut says 52 cents") < row["finding"].index("is priced and not yet in Nexudus")


def test_a_sale_of_one_day_is_not_a_finding_of_another() -> None:
    frame = compared(jobs("job_id printed_at\n1 11-19T09:00"), lines(), sales("job_id\n1"))
    assert frame.height == 0, "that day's reconciliation reports it"
