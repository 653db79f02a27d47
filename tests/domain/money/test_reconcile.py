"""Reconciliation: every rule as a small world, 1,000 injected errors, 100 clean months, and the site's calendar."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.money.history import ACCESS, Past, kept
from pipeline.domain.money.reconcile import day_bounds, reconcile, site_day, summary
from pipeline.domain.money.references import reference, references
from pipeline.domain.rules import SiteRules
from tests.frames import LEDGER, NOW, jobs, moment, rules, shuffled, table

DAY = date(2026, 11, 20)
SALES = pl.Schema(
    {"remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64, "total_cents": pl.Int64,
     "invoiced": pl.Boolean}
)  # fmt: skip
NAMES = pl.DataFrame({"username": ["c1@example.com", "c2@example.com"]})


def lines(text: str = "job_id") -> pl.DataFrame:
    """Ledger lines: a confirmed sale of 50 cents to customer 1; `undoes` is the kind and sequence it reverses."""
    frame = table(
        LEDGER,
        text,
        site="london", revision=0, kind="sale", seq=0, printed_at=moment("11-20T09:00"), username="c1@example.com",
        coworker_id=1, amount_cents=50, state="confirmed", rule="money", ref="",
    )  # fmt: skip
    frame = frame.with_columns(ref=references(frame)) if frame.height else frame
    undone = pl.col("kind").str.starts_with("undo_")
    originals = frame.with_columns(kind=pl.col("kind").str.strip_prefix("undo_"))
    return frame.with_columns(undoes=pl.when(undone).then(references(originals)) if frame.height else "undoes")


def sales(text: str = "job_id") -> pl.DataFrame:
    """Sales in Nexudus: `job_id seq site kind` make the reference; 50 cents to customer 1."""
    schema = pl.Schema({**SALES, "job_id": pl.String, "seq": pl.Int64, "site": pl.String, "kind": pl.String})
    frame = table(
        schema,
        text,
        seq=0, site="london", kind="sale", ref="", coworker_id=1, quantity=50,
        total_cents=lambda row: row["quantity"], remote_id=lambda row: int(row["job_id"]), invoiced=False,
    )  # fmt: skip
    return frame.with_columns(ref=references(frame) if frame.height else "ref").select(SALES.names())


def compared(
    jobs_: pl.DataFrame, ledger: pl.DataFrame, sales_: pl.DataFrame, site: SiteRules | None = None
) -> pl.DataFrame:
    compared = reconcile(jobs_, ledger, sales_, rules=site or rules(), day=DAY, now=NOW, names=NAMES)
    return tables.checked("reconciliation", compared)


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1, frame
    return frame.row(0, named=True)


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
        ("job_id revision shared_account\n1 1 y", "job_id\n1", "decided in the next run"),
        ("job_id", "job_id state\n1 void", "a person voided 50 cents"),
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
        (MATURE, "job_id amount_cents\n1 49", "job_id quantity\n1 49", 1, "PaperCut says 50 cents for customer 1"),
        (MATURE, "job_id amount_cents\n1 51", "job_id quantity\n1 51", 1, "the ledger 51"),
        (MATURE, "job_id\n1", "job_id", 50, "missing in Nexudus"),
        (MATURE, "job_id state\n1 invoiced", "job_id", 50, "missing in Nexudus"),
        (MATURE, "job_id\n1", "job_id remote_id\n1 1\n1 2", 50, "holds 2 sales of together 100 cents for one of 50"),
        (MATURE, "job_id\n1", "job_id quantity\n1 49", 1, "holds 49 cents in 49 units, the ledger has 50"),
        (MATURE, "job_id\n1", "job_id quantity total_cents\n1 50 51", 1, "holds 51 cents in 50 units"),
        (MATURE, "job_id\n1", "job_id quantity total_cents\n1 49 50", 1, "holds 50 cents in 49 units"),
        (MATURE, "job_id\n1", "job_id coworker_id\n1 2", 50, "customer 2 instead of 1"),
        (MATURE, "job_id kind\n1 credit", "job_id\n1", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id\n1", "job_id seq\n1 0\n1 1", 50, "a reference that the ledger does not know"),
        (MATURE, "job_id state\n1 void", "job_id\n1", 50, "although the line is void or undone"),
        (MATURE, "job_id state\n1 void", "job_id quantity\n1 0", 1, "although the line is void or undone"),
        (MATURE, "job_id\n1", "job_id remote_id quantity\n1 1 25\n1 2 25", 1, "holds 2 sales of together 50 cents"),
        (MATURE, "job_id kind\n1 credit", "job_id quantity\n1 0", 1, "a reference that the ledger does not know"),
        (MATURE, "job_id state\n1 priced", "job_id quantity\n1 51", 1, "holds 51 cents"),
        (MATURE, "job_id state\n1 unknown", "job_id remote_id\n1 1\n1 2", 50, "delete all but one"),
        (MATURE, "job_id kind\n1 sale\n1 undo_sale", "job_id\n1", 100, "void or undone"),
        (MATURE, "job_id kind state\n1 sale void\n1 undo_sale void", "job_id\n1", 100, "void or undone"),
        ("job_id revision refunded first_seen_at\n1 1 y 11-20T11:29", "job_id\n1", "job_id\n1", 50, "PaperCut says 0"),
        ("job_id username first_seen_at\n1 staff 11-20T09:01", "job_id\n1", "job_id\n1", 50, "never was ours"),
        ("job_id", "job_id\n1", "job_id\n1", 50, "PaperCut's log does not have"),
        ("job_id", "job_id", "job_id\n1", 50, "a reference that the ledger does not know"),
    ],
)  # fmt: skip
def test_what_nobody_can_explain(job: str, told: str, held: str, cents: int, why: str) -> None:
    row = only(compared(jobs(job), lines(told), sales(held)))
    assert (row["unexplained_cents"], why in row["finding"]) == (cents, True), row["finding"]
    assert "1" in row["job_id"]
    assert row["finding"].startswith("Job 1")


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


# --- the detector -----------------------------------------------------------------------------------------------------


ref_of = cache(reference)


@dataclass(frozen=True)
class Books:
    """The three books as lists of rows, so that an error can be put into one of them."""

    jobs: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    sales: list[dict[str, Any]]

    def compared(self, day: date, now: datetime, site: SiteRules) -> pl.DataFrame:
        return reconcile(
            pl.DataFrame(self.jobs, schema=tables.columns("print_jobs")),
            pl.DataFrame(self.ledger, schema=LEDGER),
            pl.DataFrame(self.sales, schema=SALES),
            rules=site,
            day=day,
            now=now,
            names=pl.DataFrame({"username": [f"c{number}" for number in range(20)]}),
        )


def within(chance: random.Random, day: date, zone: str, count: int) -> list[datetime]:
    start, end = day_bounds(day, zone)
    return [start + chance.random() * (end - start) for _ in range(count)]


def clean(chance: random.Random, site: SiteRules, times: list[datetime]) -> Books:
    """Books that agree: jobs of every fate, by customers and by people who are not ours."""
    books = Books([], [], [])
    for number, at in enumerate(times, start=1):
        customer, cost = chance.randrange(20), chance.randint(1, 900)
        fate = chance.choices(
            ["sale", "mixed", "credit", "waive", "held", "refunded", "staff", "shared", "denied", "voided", "priced"],
            [40, 8, 15, 8, 4, 6, 5, 3, 4, 2, 5],
        )[0]
        job = {
            "site": site.name, "job_id": str(number), "revision": int(fate == "refunded"), "printed_at": at,
            "username": "staff" if fate == "staff" else f"c{customer}", "printer": "hall", "pages": 1,
            "color_pages": 0, "copies": 1, "duplex": False, "cost": Decimal(cost), "allowed": fate != "denied",
            "printed": True, "refunded": fate == "refunded", "job_type": "PRINT", "shared_account": fate == "shared",
            "first_seen_at": at,
        }  # fmt: skip
        books.jobs.append(job)
        for line in _entered(fate, cost, chance):
            _enter(books, job, customer, line)
    return books


def _entered(fate: str, cost: int, chance: random.Random) -> list[tuple[str, int, str]]:
    part = chance.randrange(cost)
    return {
        "sale": [("sale", cost, chance.choice(["confirmed", "invoiced"]))],
        "mixed": [("credit", part, "confirmed"), ("sale", cost - part, "confirmed")],
        "credit": [("credit", cost, "confirmed")],
        "waive": [("waive", cost, "confirmed")],
        "held": [("sale", cost, "held")],
        "priced": [("sale", cost, "priced")],
        "voided": [("sale", cost, "void")],
        "refunded": [("sale", cost, "confirmed"), ("undo_sale", cost, "confirmed")],
    }.get(fate, [])


def _enter(books: Books, job: dict[str, Any], customer: int, line: tuple[str, int, str]) -> None:
    kind, amount, state = line
    original = ref_of(job["site"], job["job_id"], kind.removeprefix("undo_"), 0)
    books.ledger.append(
        dict.fromkeys(LEDGER) | {
            "ref": ref_of(job["site"], job["job_id"], kind, 0), "site": job["site"], "job_id": job["job_id"],
            "revision": job["revision"], "kind": kind, "seq": 0, "printed_at": job["printed_at"],
            "username": job["username"], "coworker_id": customer, "amount_cents": amount, "state": state,
            "undoes": original if kind.startswith("undo_") else None, "rule": "money",
        }
    )  # fmt: skip
    if kind == "sale" and state in {"confirmed", "invoiced"}:
        books.sales.append(
            {
                "remote_id": 1000 + len(books.sales), "ref": original, "coworker_id": customer, "quantity": amount,
                "total_cents": amount,
            }
        )  # fmt: skip
    if kind == "undo_sale":
        books.sales.pop()


ERRORS = ("one cent", "total only", "duplicate", "wrong customer", "edited", "deleted")


def spoil(row: dict[str, Any], error: str, chance: random.Random) -> list[dict[str, Any]]:
    """What Nexudus holds instead of a sale."""
    cents = row["quantity"] + (13 if error == "edited" else chance.choice([-1, 1]))
    return {
        "one cent": [row | {"quantity": cents, "total_cents": cents}],
        "total only": [row | {"total_cents": cents}],
        "duplicate": [row, row | {"remote_id": row["remote_id"] + 5000}],
        "wrong customer": [row | {"coworker_id": row["coworker_id"] + 1}],
        "edited": [row | {"quantity": cents, "total_cents": cents}],
        "deleted": [],
    }[error]


NIGHT = datetime(2026, 11, 21, 2, tzinfo=UTC)
LONDON = rules(charge_from=datetime(2020, 1, 1, tzinfo=UTC))


def injected_into_nexudus(books: Books, chance: random.Random, errors: int) -> tuple[Books, set[str]]:
    spoilt = set(chance.sample([row["ref"] for row in books.sales], errors))
    sold: list[dict[str, Any]] = []
    for row in books.sales:
        sold += spoil(row, chance.choice(ERRORS), chance) if row["ref"] in spoilt else [row]
    known = {row["ref"]: row["job_id"] for row in books.ledger}
    return replace(books, sales=sold), {known[ref] for ref in spoilt}


def injected_into_the_ledger(books: Books, chance: random.Random, errors: int) -> tuple[Books, set[str]]:
    """A line lost, a line one cent off, a line entered as void: with the sale left as it was."""
    spoilt = set(chance.sample([row["ref"] for row in books.ledger if row["kind"] == "sale"], errors))
    spoilt -= {row["undoes"] for row in books.ledger} | {row["ref"] for row in books.ledger if row["state"] == "void"}
    told: list[dict[str, Any]] = []
    for row in books.ledger:
        if row["ref"] not in spoilt:
            told.append(row)
        elif chance.random() < 0.5:
            told.append(row | {"amount_cents": row["amount_cents"] + chance.choice([-1, 1])})
    return replace(books, ledger=told), {row["job_id"] for row in books.ledger if row["ref"] in spoilt}


@pytest.mark.parametrize("seed", range(50))  # 1,000 errors in Nexudus and about as many in the ledger
def test_every_injected_error_is_found_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    books = clean(chance, LONDON, within(chance, DAY, "Europe/London", 120))
    for inject in (injected_into_nexudus, injected_into_the_ledger):
        spoilt, wrong = inject(books, chance, 20)
        frame = spoilt.compared(DAY, NIGHT, LONDON)
        found = set(frame.filter(pl.col("unexplained_cents") > 0)["job_id"])
        assert found == wrong, f"seed {seed}: missed {wrong - found}, false alarms {found - wrong}"


@pytest.mark.parametrize("seed", range(10))
def test_clean_months_raise_no_alarm(seed: int) -> None:
    for number in range(10):
        chance = random.Random(1000 + seed * 10 + number)
        zone = chance.choice(ZONES)
        site = replace(LONDON, timezone=zone)
        first = date(2026, number + 1, 1)
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        days = {first, last, *(first + timedelta(days=chance.randrange(28)) for _ in range(7))}
        books = clean(chance, site, [at for day in sorted(days) for at in within(chance, day, zone, 16)])
        later = day_bounds(last, zone)[1] + timedelta(hours=1)
        frames = pl.concat([books.compared(day, later, site) for day in sorted(days)])
        alarms = frames.filter(pl.col("unexplained_cents") != 0)["finding"].to_list()
        assert alarms == [], f"seed {1000 + seed * 10 + number}: {alarms}"
        assert sorted(frames["job_id"]) == sorted(job["job_id"] for job in books.jobs), "a job of no day, or of two"


# --- the site's calendar ----------------------------------------------------------------------------------------------

ZONES = ["Europe/London", "America/New_York", "Australia/Sydney", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu"]


def moments(zone: str) -> list[tuple[date, float]]:
    """Each day of 2026 with its length in hours."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    return [(day, (end - start).total_seconds() / 3600) for day in days for start, end in [day_bounds(day, zone)]]


@pytest.mark.parametrize(
    ("zone", "short", "long"),
    [
        ("Europe/London", [date(2026, 3, 29)], [date(2026, 10, 25)]),
        ("America/New_York", [date(2026, 3, 8)], [date(2026, 11, 1)]),
        ("Australia/Sydney", [date(2026, 10, 4)], [date(2026, 4, 5)]),
        ("America/Santiago", [date(2026, 9, 6)], [date(2026, 4, 4)]),
        ("Africa/Cairo", [date(2026, 4, 24)], [date(2026, 10, 29)]),
        ("Asia/Kathmandu", [], []),
    ],
)
def test_days_are_23_24_or_25_hours_long(zone: str, short: list[date], long: list[date]) -> None:
    lengths = moments(zone)
    assert [day for day, hours in lengths if hours == 23] == short
    assert [day for day, hours in lengths if hours == 25] == long
    assert {hours for _, hours in lengths} <= {23, 24, 25}


@pytest.mark.parametrize("zone", ZONES)
def test_every_moment_belongs_to_the_day_whose_bounds_hold_it(zone: str) -> None:
    days = pl.DataFrame({"day": pl.date_range(date(2026, 12, 25), date(2027, 1, 5), eager=True)})
    for start in (date(2026, 3, 5), date(2026, 4, 1), date(2026, 9, 1), date(2026, 10, 1), date(2026, 10, 28)):
        days = pl.concat([days, pl.DataFrame({"day": [start + timedelta(days=number) for number in range(28)]})])
    bounds = [(day, *day_bounds(day, zone)) for day in days["day"]]
    tick = timedelta(microseconds=1)
    probes = [(day, start) for day, start, _ in bounds] + [(day, end - tick) for day, _, end in bounds]
    frame = pl.DataFrame(
        {"day": [day for day, _ in probes], "at": [at for _, at in probes]},
        schema={"day": pl.Date, "at": pl.Datetime("us", "UTC")},
    )
    wrong = frame.filter(site_day("at", zone) != pl.col("day"))
    assert wrong.height == 0, wrong


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_the_odd_days(zone: str) -> None:
    odd = [day for day, hours in moments(zone) if hours != 24] or [date(2026, 6, 1)]
    for day in odd:
        start, end = day_bounds(day, zone)
        minutes = pl.DataFrame(
            {"at": pl.datetime_range(start - timedelta(hours=2), end + timedelta(hours=2), "1m", eager=True)}
        )
        inside = minutes.filter(site_day("at", zone) == day)["at"]
        expected = minutes.filter(pl.col("at") >= start, pl.col("at") < end)["at"]
        assert inside.equals(expected), f"{zone} {day}"


def test_month_and_year_end() -> None:
    assert day_bounds(date(2026, 12, 31), "America/New_York") == (
        datetime(2026, 12, 31, 5, tzinfo=UTC),
        datetime(2027, 1, 1, 5, tzinfo=UTC),
    )
    late = pl.DataFrame({"at": [datetime(2026, 12, 1, 4, 59, tzinfo=UTC), datetime(2026, 12, 1, 5, tzinfo=UTC)]})
    assert late.select(site_day("at", "America/New_York"))["at"].to_list() == [date(2026, 11, 30), date(2026, 12, 1)]
    assert late.select(site_day(pl.col("at"), "UTC"))["at"].to_list() == [date(2026, 12, 1)] * 2
