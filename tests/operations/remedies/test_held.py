"""Held charges, walked: what the reason and the runbook say to do is done, the cause ends, and the money is right.

What belongs here: remedies of held lines that no other test walks; `test_walks.py` names where each is walked. What
does not: why a line is held (`tests/domain/money`, `tests/effects`), and jobs of nobody (`test_assign.py`).
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pipeline.operations.recover import recover_site
from pipeline.steps.sync import STEPS
from pipeline.store.lines import lines_in
from tests.harness import Harness, telling
from tests.operations.remedies.stories import (
    AGAIN,
    MONEY,
    billed,
    decided,
    held,
    printed,
    run,
    sentences,
    unexplained,
    walked,
)
from tests.worlds import LONDON, PRODUCTS, credit, customer, mail, world

CREDITS, SALES = "coworkerextraservices", "coworkerproducts"
PAYERS, HOLDERS = range(101, 116), range(201, 209)
payers, holders = iter(PAYERS), iter(HOLDERS)


def credit_of(holder: int) -> int:
    return holder + 300


def people() -> dict[str, object]:
    everybody = [customer(number, PaperCutPayAsYouPrint=True) for number in PAYERS]
    everybody += [customer(number) for number in HOLDERS]
    return world(everybody, [credit(credit_of(number), number, 100) for number in HOLDERS])


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    with telling(people(), rounding="hold", max_credits=1000) as harness:
        assert harness.sync().ok
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    """Nothing needs a person, before and after; the books of the day agree after all that was decided."""
    assert sentences(whole) == []
    yield whole
    whole.advance(minutes=20)
    assert unexplained(whole) == 0
    assert sentences(whole) == [], "what was decided must leave nothing to do"


def due(harness: Harness, *jobs: tuple[int, int]) -> list[str]:
    """Jobs of customers by cost that are decided and not yet sent."""
    made = [printed(harness, number, cost) for number, cost in jobs]
    harness.advance(minutes=31)
    assert harness.sync(only=MONEY[:-1]).ok
    return made


def sent(harness: Harness) -> None:
    """What was decided goes to Nexudus as it is there now."""
    assert harness.sync(only=MONEY[-1:]).ok


# --- held by a rule ---------------------------------------------------------------------------------------------------


def test_a_cost_that_nobody_knows_is_charged_by_hand_or_waived(harness: Harness) -> None:
    number = next(payers)
    ways = {printed(harness, number, -5): how for how in ("confirm", "void")}
    run(harness, 31)
    with walked(harness, "held: cost_unknown"):
        for job, how in ways.items():
            decided(harness, job, how)
    assert billed(harness, number) == 0


def test_a_fraction_is_charged_as_it_says_also_where_the_site_rounds_from_now_on(harness: Harness) -> None:
    """The runbook: retry charges the cost rounded half up; or set `rounding`, by which later jobs are charged."""
    number = next(payers)
    job = printed(harness, number, "2.3")
    run(harness, 31)
    with walked(harness, "held: fractional_cost") as cause:
        assert "retry this line to charge 2 cents" in cause.facts[-1]
        harness.reconfigure({'rounding = "hold"': 'rounding = "up"'})
        decided(harness, job, "retry")
    printed(harness, number, "3.2")
    run(harness, 31)
    assert billed(harness, number) == 2 + 4
    harness.advance(minutes=20)
    assert unexplained(harness) == 0, "a day is held against the rules that held when its jobs were printed"
    harness.reconfigure({'rounding = "up"': 'rounding = "hold"'})


@pytest.mark.parametrize("way", ["correct it", "raise max_credits"])
def test_a_job_waits_for_a_credit_that_is_too_large_and_is_paid_with_it(harness: Harness, way: str) -> None:
    number, large = next(payers), 510 + len(way)
    harness.add(CREDITS, credit(large, number, 5000))
    run(harness)
    job = printed(harness, number, 80)
    run(harness, 31)
    with walked(harness, "held: credit_too_large"), walked(harness, "credit too large") as cause:
        assert "correct it in Nexudus, or raise max_credits (1000)" in cause.remedy
        if way == "correct it":
            harness.edit(CREDITS, large, RemainingUses=500, TotalUses=500)
        else:
            harness.reconfigure({"max_credits = 1000": "max_credits = 9000"})
        run(harness)
        decided(harness, job, "retry")
    assert (billed(harness, number), harness.credits()[large] % 100) == (0, 20)
    harness.delete(CREDITS, large)
    harness.reconfigure({} if way == "correct it" else {"max_credits = 9000": "max_credits = 1000"})
    run(harness, 61)


def test_more_credits_than_lines_are_charged_as_money_on_request(harness: Harness) -> None:
    number, credits_ = next(payers), range(600, 637)
    for each in credits_:
        harness.add(CREDITS, credit(each, number, 1))
    run(harness)
    job = printed(harness, number, 37)
    run(harness, 31)
    with walked(harness, "held: too_many_credits"):
        decided(harness, job, "retry")
    assert billed(harness, number) == 37
    for each in credits_:
        harness.delete(CREDITS, each)
    run(harness, 61)


# --- held by what Nexudus answered ------------------------------------------------------------------------------------


def test_sales_of_a_wrong_amount_are_put_right_in_every_way_that_is_named(harness: Harness) -> None:
    ways = ("delete, retry", "delete, void", "correct, confirm", "correct, confirm with --sale", "delete, confirm")
    charged = (30, 0, 30, 30, 0)
    numbers = [next(payers) for _ in ways]
    jobs = due(harness, *((number, 30) for number in numbers))
    harness.fault("nexudus", "POST coworkerproducts", "drop_after", times=len(ways))
    sent(harness)
    made = {sale["CoworkerId"]: sale["Id"] for sale in harness.sales()}
    for number in numbers:
        harness.edit(SALES, made[number], Quantity=60)
    run(harness, 20)
    with walked(harness, "held: sale") as cause:
        assert "a wrong one: delete it, then retry" in cause.facts[-1]
        for number, job, way in zip(numbers, jobs, ways, strict=True):
            first, _, then = way.partition(", ")
            if first == "delete":
                harness.delete(SALES, made[number])
            else:
                harness.edit(SALES, made[number], Quantity=30)
            named = {"sale": made[number]} if then.endswith("--sale") else {}
            decided(harness, job, then.split()[0], **named)
    assert tuple(billed(harness, number) for number in numbers) == charged


def test_a_use_of_a_credit_that_is_gone_is_charged_in_another_way_or_not_at_all(harness: Harness) -> None:
    charged, waived = next(holders), next(holders)
    jobs = due(harness, (charged, 40), (waived, 40))
    for holder in (charged, waived):
        harness.delete(CREDITS, credit_of(holder))
    sent(harness)
    with walked(harness, "held: credit"):
        line = held(harness, jobs[0])
        assert "charge these cents there in another way (a sale or credit note, or another number" in line["reason"]
        assert f"then `printbridge held confirm {line['ref']}`" in line["reason"]
        sale = {"CoworkerId": charged, "BusinessId": LONDON, "ProductId": PRODUCTS[LONDON], "Quantity": 40}
        harness.add(SALES, sale)
        decided(harness, jobs[0], "confirm")
        decided(harness, jobs[1], "void")
    assert (billed(harness, charged), billed(harness, waived)) == (40, 0)


def test_a_use_of_a_credit_that_was_lowered_goes_on_once_it_is_given_back(harness: Harness) -> None:
    used, waived = next(holders), next(holders)
    jobs = due(harness, (used, 40), (waived, 40))
    for holder in (used, waived):
        harness.edit(CREDITS, credit_of(holder), RemainingUses=5)
    sent(harness)
    with walked(harness, "held: credit") as cause:
        assert "give the credit back and run `printbridge held retry`, or `printbridge held void`" in cause.facts[-1]
        for holder, job, how in zip((used, waived), jobs, ("retry", "void"), strict=True):
            harness.edit(CREDITS, credit_of(holder), RemainingUses=100)
            decided(harness, job, how)
    assert [harness.credits()[credit_of(holder)] for holder in (used, waived)] == [60, 100]


@pytest.mark.parametrize("how", ["confirm", "retry"])
def test_a_credit_that_names_another_line_of_ours_is_compared_and_decided(harness: Harness, how: str) -> None:
    holder = next(holders)
    first, second = due(harness, (holder, 10), (holder, 20))
    refs = harness.sites.store.read("print_charges", "london").filter(job_id=first)["ref"]
    harness.edit(CREDITS, credit_of(holder), Notes=refs[0], RemainingUses=70 if how == "confirm" else 90)
    sent(harness)
    with walked(harness, "held: credit"):
        if how == "retry":  # its history says that only the first was used
            harness.edit(CREDITS, credit_of(holder), Notes="")
        decided(harness, second, how)
    assert harness.credits()[credit_of(holder)] == 70


def test_a_refund_of_what_is_invoiced_ends_with_the_credit_note_or_stands(harness: Harness) -> None:
    """A credit note leaves the sale in Nexudus: who got one pays the sale less the note."""
    numbers = [next(payers), next(payers)]
    jobs = [printed(harness, number, 30) for number in numbers]
    run(harness, 31)
    harness.bill(*numbers)
    for job in jobs:
        harness.refund(int(job))
    run(harness, **AGAIN)
    with walked(harness, "held: undo_sale") as cause:
        assert "issue a credit note in Nexudus, then run `printbridge held confirm" in cause.facts[-1]
        for job, how in zip(jobs, ("confirm", "void"), strict=True):
            decided(harness, job, how)
    harness.advance(minutes=20)
    assert unexplained(harness) == 0, "neither a credit note nor a charge that stands may stop the charges of the site"
    assert [billed(harness, number) for number in numbers] == [30, 30], "and nothing new is charged"


def test_a_use_that_cannot_be_given_back_is_given_back_by_hand_or_stays() -> None:
    with telling(people()) as harness:
        assert harness.sync().ok
        again, by_hand, stays = HOLDERS[:3]
        jobs = [printed(harness, holder, 30) for holder in (again, by_hand, stays)]
        run(harness, 31)
        for holder, job in zip((again, by_hand, stays), jobs, strict=True):
            harness.refund(int(job))
            harness.delete(CREDITS, credit_of(holder))
        harness.advance(minutes=1)
        assert harness.sync(only=("print_jobs", "print_charges", "nexudus_print_charges"), **AGAIN).ok
        with walked(harness, "held: undo_credit"):
            line = held(harness, jobs[1])
            assert "so nothing was given back. What to do: give these cents back there in another way" in line["reason"]
            harness.add(CREDITS, credit(credit_of(again), again, 100, RemainingUses=70))
            harness.add(CREDITS, credit(701, by_hand, 30))
            for job, how in zip(jobs, ("retry", "confirm", "void"), strict=True):
                decided(harness, job, how)
        left = harness.credits()
        assert (left[credit_of(again)], left[701], credit_of(stays) in left) == (100, 30, False)
        harness.advance(minutes=20)
        assert (unexplained(harness), sentences(harness)) == (0, [])


# --- after a recovery -------------------------------------------------------------------------------------------------


def test_what_a_recovery_cannot_prove_is_confirmed_voided_or_done_now() -> None:
    with telling(people()) as harness:
        assert harness.sync().ok
        happened, waived, due_now = HOLDERS[:3]
        jobs = [printed(harness, holder, 30) for holder in (happened, waived)]
        run(harness, 31)
        jobs.append(printed(harness, due_now, 30))
        harness.advance(minutes=31)
        harness.sites.store.path.unlink()
        recover_site(harness.sites["london"], "test")
        for step in ("nexudus_customers", "nexudus_credits", "print_users", "print_accounts"):
            assert harness.sync(only=(step,)).ok, STEPS[step]
        with walked(harness, "stopped: charges") as stop, walked(harness, "held: recovered"):
            assert "printbridge resume london charges" in stop.remedy
            for job, how in zip(jobs, ("confirm", "void", "retry"), strict=True):
                decided(harness, job, how)
            harness.resume("london", "charges")
        left = harness.credits()
        assert [left[credit_of(holder)] for holder in (happened, waived, due_now)] == [70, 70, 70]
        with harness.sites.store.connect() as con:
            assert lines_in(con, "london", "held", "priced").is_empty()
        harness.advance(minutes=20)
        assert (unexplained(harness), sentences(harness)) == (0, [])
        harness.print_job(mail(happened), 10)
        run(harness, 31)
        assert harness.credits()[credit_of(happened)] == 60, "and the site goes on"
