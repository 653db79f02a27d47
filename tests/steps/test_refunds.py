"""Refunds after the charge, and what a person decides about them: one job is billed once, whatever the order.

What belongs here: late refunds in all their forms through the whole run, on real servers. What does not: reading one
row of the log (`tests/services/papercut/test_database.py`) and the lines of one decision (`tests/domain/money`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dagster.runs import REREAD_TAG
from pipeline.domain.money.references import reference
from pipeline.errors import UnsafeError
from pipeline.operations.held import decide
from pipeline.store import due
from pipeline.store.lines import lines_in, one_line
from pipeline.store.sql import Connection
from tests.campaign.runs import CHARGES
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world

DECISIONS = {"void": "void", "confirm": "confirmed", "retry": "priced"}
ORDERS = [order for length in (1, 2, 3) for order in product(DECISIONS, repeat=length)]
FIRST = 1001


def mail(number: int) -> str:
    return f"c{number}@example.com"


def charge(harness: Harness) -> None:
    outcome = harness.sync(only=CHARGES)
    assert outcome.ok, outcome.failures


def changed(harness: Harness) -> None:
    """A run after something changed in PaperCut: the row is older than the settle time afterwards."""
    harness.advance(minutes=1)
    charge(harness)


def held(harness: Harness) -> dict[str, str]:
    """The job of every reversal that waits for a person, by reference."""
    with harness.sites.store.connect() as con:
        lines = lines_in(con, "london", "held").filter(pl.col("undoes").is_not_null())
    return dict(lines.select("ref", "job_id").iter_rows())


def settle(harness: Harness, *refs: str, by: str) -> None:
    decide(harness.sites, list(refs), DECISIONS[by], reason="a test", operator="test")


def billed(harness: Harness) -> Counter[int]:
    """What Nexudus charges each customer in sales."""
    found: Counter[int] = Counter()
    for sale in harness.sales():
        found[sale["CoworkerId"]] += sale["Quantity"]
    return found


def payers(number: int) -> list[dict[str, object]]:
    return [customer(FIRST + each, PaperCutPayAsYouPrint=True) for each in range(number)]


@pytest.fixture
def harness() -> Generator[Harness, None, None]:
    """Customers who pay, and two with a credit of 30 besides; what credits cover in part is used."""
    people = payers(3)
    credits_ = [credit(501, FIRST, 30), credit(502, FIRST + 1, 30)]
    with telling(world(people, credits_), partial_credits="use") as harness:
        assert harness.sync().ok
        yield harness


@pytest.fixture(scope="module")
def many() -> Generator[Harness, None, None]:
    """As many payers as there are orders."""
    with telling(world(payers(len(ORDERS))), pricing_model="pay_per_print", credit_ids=[]) as harness:
        assert harness.sync().ok
        yield harness


def printed(harness: Harness, cost: int, *numbers: int) -> dict[int, int]:
    """Jobs that are charged: job by customer."""
    jobs = {number: harness.print_job(mail(number), cost)["job_id"] for number in numbers}
    harness.advance(minutes=31)
    charge(harness)
    return jobs


def line(harness: Harness, job: int, kind: str, seq: int = 0) -> dict[str, object]:
    with harness.sites.store.connect() as con:
        return one_line(con, reference("london", str(job), kind, seq))


# --- a refund of what is invoiced -------------------------------------------------------------------------------------


def test_a_partial_refund_of_an_invoiced_sale_is_billed_once_for_every_order_of_decisions(many: Harness) -> None:
    """A credit note takes 60 from the bill; what is held or refused leaves the 60 standing."""
    numbers = [FIRST + place for place in range(len(ORDERS))]
    jobs = printed(many, 60, *numbers)
    many.bill(*numbers)
    for job in jobs.values():
        many.refund(job, amount=20)
    changed(many)
    before = billed(many)
    assert {before[number] for number in numbers} == {60}, "nothing new is sent while the reversal is held"
    notes: Counter[int] = Counter()
    for turn in range(3):
        waiting = {job: ref for ref, job in held(many).items()}
        for number, order in zip(numbers, ORDERS, strict=True):
            ref = waiting.get(str(jobs[number]))
            if turn < len(order) and ref:
                settle(many, ref, by=order[turn])
                notes[number] += 60 if order[turn] == "confirm" else 0
        changed(many)
        now = billed(many)
        wrong = {
            order: (now[number], notes[number])
            for number, order in zip(numbers, ORDERS, strict=True)
            if now[number] - notes[number] != (40 if notes[number] else 60)
        }
        assert not wrong, f"turn {turn + 1}: (billed, credited) of {wrong}"
    last = {order[-1]: many.events()[str(jobs[number])] for number, order in zip(numbers, ORDERS, strict=True)
            if len(order) == 1}  # fmt: skip
    assert last == {
        "void": ["sale 60 invoiced", "sale 40 void", "undo_sale 60 void", "undo_sale 40 confirmed"],
        "confirm": ["sale 60 invoiced", "sale 40 confirmed", "undo_sale 60 confirmed"],
        "retry": ["sale 60 invoiced", "sale 40 priced", "undo_sale 60 held"],
    }


@given(seed=st.integers(0, 2**32))
@settings(max_examples=2, deadline=None)
def test_whatever_is_refunded_invoiced_and_decided_in_any_order_a_job_is_billed_its_cost_or_what_a_person_kept(
    many: Harness, seed: int
) -> None:
    chance = random.Random(seed)
    numbers = [FIRST + place for place in range(len(ORDERS))]
    start = billed(many)
    jobs = printed(many, 60, *numbers)
    cost = dict.fromkeys(numbers, 60)
    notes: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    owner = {str(job): each for each, job in jobs.items()}
    for turn in range(5):
        many.bill(*chance.sample(numbers, len(numbers) // 2))
        for each in chance.sample(numbers, len(numbers) // 2):
            cost[each] = chance.choice([10, 40, 60, 90])
            many.print_job(mail(each), cost[each], job_id=jobs[each])
        changed(many)
        for ref, job in held(many).items():
            if job not in owner:
                continue
            by = chance.choice(list(DECISIONS)) if turn < 4 else chance.choice(["void", "confirm"])
            amount = int(str(line_of(many, ref)["amount_cents"]))
            settle(many, ref, by=by)
            notes[owner[job]] += amount if by == "confirm" else 0
            kept[owner[job]] += amount if by == "void" else 0
    for _ in range(3):
        changed(many)
        for ref, job in held(many).items():
            if job in owner:
                notes[owner[job]] += int(str(line_of(many, ref)["amount_cents"]))
                settle(many, ref, by="confirm")
    now = billed(many)
    wrong = {
        each: (now[each] - start[each] - notes[each], max(cost[each], kept[each]), many.events()[str(jobs[each])])
        for each in numbers
        if now[each] - start[each] - notes[each] != max(cost[each], kept[each])
    }
    assert not wrong, f"(billed, right, lines) of {wrong}"
    many.bill(*numbers)


def line_of(harness: Harness, ref: str) -> dict[str, object]:
    with harness.sites.store.connect() as con:
        return one_line(con, ref)


def test_a_cost_that_rose_after_the_invoice_is_billed_on_top_of_a_charge_that_a_person_keeps(harness: Harness) -> None:
    job = printed(harness, 40, FIRST + 2)[FIRST + 2]
    harness.bill(FIRST + 2)
    harness.print_job(mail(FIRST + 2), 70, job_id=job)
    changed(harness)
    settle(harness, *held(harness), by="void")
    changed(harness)
    assert harness.events()[str(job)][-1] == "undo_sale 70 confirmed"
    assert billed(harness)[FIRST + 2] == 70, "40 that stand, and the 30 that lack"


def test_credits_and_money_of_one_job_come_to_its_cost_when_a_person_keeps_one_of_them(harness: Harness) -> None:
    """30 of 60 are paid with a credit. The sale is invoiced; or the credit is gone, and its reversal is held."""
    jobs = printed(harness, 60, FIRST, FIRST + 1)
    assert harness.credits() == {501: 0, 502: 0}
    harness.bill(FIRST)
    harness.delete("coworkerextraservices", 502)
    for job in jobs.values():
        harness.refund(job, amount=20)
    changed(harness)
    assert sorted(held(harness).values()) == sorted(map(str, jobs.values())), harness.events()
    settle(harness, *held(harness), by="void")
    for _ in range(3):
        changed(harness)
    paid_with_credit = 30 - harness.credits()[501]
    assert billed(harness)[FIRST] + paid_with_credit == 40, harness.events()[str(jobs[FIRST])]
    assert billed(harness)[FIRST + 1] + 30 == 40, harness.events()[str(jobs[FIRST + 1])]


def test_what_replaces_a_charge_cannot_be_confirmed_before_the_charge_is_gone(harness: Harness) -> None:
    job = printed(harness, 60, FIRST + 2)[FIRST + 2]
    harness.bill(FIRST + 2)
    harness.print_job(mail(FIRST + 2), "40.5", job_id=job)
    changed(harness)
    reversal, fresh = (str(line(harness, job, kind, seq)["ref"]) for kind, seq in (("undo_sale", 0), ("sale", 1)))
    with pytest.raises(UnsafeError, match=f"replaces a charge that {reversal} is still to take back"):
        settle(harness, fresh, by="confirm")
    settle(harness, fresh, by="retry")
    changed(harness)
    assert billed(harness)[FIRST + 2] == 60, "it may be sent, and waits all the same"
    settle(harness, reversal, by="void")
    changed(harness)
    assert (billed(harness)[FIRST + 2], line(harness, job, "sale", 1)["state"]) == (60, "void")


def test_a_charge_that_a_person_waives_after_the_job_changed_waives_the_job(harness: Harness) -> None:
    job = harness.print_job(mail(FIRST + 2), 60)["job_id"]
    harness.advance(minutes=31)
    assert harness.sync(only=CHARGES[:-1]).ok
    harness.delete("coworkers", FIRST + 2)
    charge(harness)
    harness.add("coworkers", customer(FIRST + 2, PaperCutPayAsYouPrint=True))
    harness.refund(job, amount=20)
    changed(harness)
    settle(harness, str(line(harness, job, "sale")["ref"]), by="void")
    for _ in range(2):
        changed(harness)
    assert billed(harness)[FIRST + 2] == 0, harness.events()


def test_a_reversal_held_by_an_older_version_cannot_be_refused_once_its_job_was_charged_anew(harness: Harness) -> None:
    """Ledgers made before have a new sale beside a held reversal; both would be billed."""
    job = printed(harness, 60, FIRST + 2)[FIRST + 2]
    harness.bill(FIRST + 2)
    harness.refund(job, amount=20)
    changed(harness)
    reversal, fresh = (str(line(harness, job, kind, seq)["ref"]) for kind, seq in (("undo_sale", 0), ("sale", 1)))

    def sent(con: Connection) -> None:
        con.execute(
            "INSERT INTO charge_event SELECT ref, n + 1, 'confirmed', happened_at, run_id, actor, 77, 'before'"
            " FROM charge_event WHERE ref = ?",
            [fresh],
        )

    harness.sites.store.commit(sent)
    with pytest.raises(UnsafeError, match=f"was charged anew by {fresh}"):
        settle(harness, reversal, by="void")
    settle(harness, reversal, by="confirm")


def test_a_charge_confirmed_by_hand_is_not_taken_for_no_charge_when_its_job_is_refunded(harness: Harness) -> None:
    job = harness.print_job(mail(FIRST + 2), "12.5")["job_id"]
    harness.advance(minutes=31)
    charge(harness)
    settle(harness, str(line(harness, job, "sale")["ref"]), by="confirm")
    harness.refund(job)
    changed(harness)
    reversal = line(harness, job, "undo_sale")
    assert reversal["state"] == "held"
    assert "confirmed its charge of 13 cents to customer 1003 without naming a sale" in str(reversal["detail"])


def test_a_line_that_waits_for_a_person_asks_for_no_run(harness: Harness) -> None:
    job = printed(harness, 60, FIRST + 2)[FIRST + 2]
    harness.bill(FIRST + 2)
    assert harness.sync().ok
    harness.refund(job, amount=20)
    harness.advance(minutes=1)
    assert harness.sync().ok
    assert reason(harness) is None, "nothing can be done before a person decides"
    settle(harness, *held(harness), by="confirm")
    assert reason(harness) is not None, "now the new sale can be sent"


def reason(harness: Harness) -> str | None:
    site = harness.sites["london"]
    with harness.sites.store.connect() as con:
        return due.reason(
            con,
            "london",
            settle=timedelta(minutes=site.settings.settle_minutes),
            complete=timedelta(hours=1),
            now=site.clock(),
        )


# --- the forms of a refund --------------------------------------------------------------------------------------------

FORMS = ("lower_cost", "set_flag", "both", "status_only", "cost_only", "no_original", "transaction")


def give_back(harness: Harness, job: int, form: str, amount: int | None = None) -> None:
    harness.refund(job, form=form, **({} if amount is None else {"amount": amount}))


def test_a_part_that_is_refunded_in_any_form_before_or_after_the_charge_leaves_the_rest_charged(many: Harness) -> None:
    start = billed(many)
    early = {FIRST + place: form for place, form in enumerate(FORMS)}
    late = {FIRST + len(FORMS) + place: form for place, form in enumerate(FORMS)}
    jobs = {number: many.print_job(mail(number), 60)["job_id"] for number in early | late}
    for number, form in early.items():
        give_back(many, jobs[number], form, 20)
    many.advance(minutes=31)
    charge(many)
    for number, form in late.items():
        assert billed(many)[number] - start[number] == 60
        give_back(many, jobs[number], form, 20)
    many.advance(minutes=1)
    assert many.sync(only=CHARGES, **{REREAD_TAG: "45"}).ok
    charge(many)
    now = billed(many)
    assert {f"{form} {number < FIRST + len(FORMS)}": now[number] - start[number]
            for number, form in (early | late).items()} == {
        f"{form} {before}": 40 for before in (True, False) for form in FORMS
    }  # fmt: skip
    for number, form in (early | late).items():
        give_back(many, jobs[number], form)
    many.advance(minutes=1)
    assert many.sync(only=CHARGES, **{REREAD_TAG: "45"}).ok
    charge(many)
    assert all(billed(many)[number] == start[number] for number in jobs), "and nothing after the rest went back, too"


def test_an_adjustment_by_hand_that_names_no_job_leaves_the_job_charged(many: Harness) -> None:
    start = billed(many)
    job = printed(many, 60, FIRST)[FIRST]
    give_back(many, job, "adjustment", 20)
    changed(many)
    assert billed(many)[FIRST] - start[FIRST] == 60


def test_a_part_that_was_refunded_without_an_amount_is_held(harness: Harness) -> None:
    """The transactions are gone, as after PaperCut's own clean-up; a row alone cannot tell how much was given back."""
    jobs = printed(harness, 60, FIRST + 2)
    job = harness.print_job(mail(FIRST + 2), 60)["job_id"]
    for each in (*jobs.values(), job):
        harness.control.post(
            "print", json={"site": "london", "username": mail(FIRST + 2), "job_id": each, "refund_status": "PARTIAL"}
        ).raise_for_status()
    harness.advance(minutes=31)
    charge(harness)
    for each in (*jobs.values(), job):
        assert "held" in str(harness.events()[str(each)]), harness.events()
    with harness.sites.store.connect() as con:
        reasons = set(lines_in(con, "london", "held")["reason"])
    assert reasons == {
        "PaperCut has no usable cost for this job, or does not say how much of it was refunded; charge it by hand and"
        " confirm this line, or void it"
    }
