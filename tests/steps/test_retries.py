"""A held charge that a person retries: decided again by the rules at the time of the print; credits pay before money.

What belongs here: `held retry`, and credits above `max_credits`, through the whole run on real servers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pipeline.errors import UnsafeError
from pipeline.operations.held import decide
from pipeline.store.lines import lines_in
from tests.campaign.runs import CHARGES
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world

STEPS = ("nexudus_customers", *CHARGES[:2], "print_accounts", *CHARGES[2:])
PAYER, HOLDER, NOBODY, RICH, POOR = 101, 102, 103, 104, 105
CREDITS = "coworkerextraservices"


def mail(number: int) -> str:
    return f"c{number}@example.com"


@pytest.fixture
def harness() -> Generator[Harness, None, None]:
    """Who pays, who has credits, who has neither any more, and two with a credit that is too large."""
    people = [
        customer(PAYER, PaperCutPayAsYouPrint=True), customer(HOLDER),
        customer(NOBODY, PaperCutPayAsYouPrint=True), customer(RICH, PaperCutPayAsYouPrint=True),
        customer(POOR, PaperCutPayAsYouPrint=True),
    ]  # fmt: skip
    granted = [credit(501, HOLDER, 100), credit(504, RICH, 5_000), credit(505, RICH, 30), credit(506, POOR, 40)]
    with telling(world(people, granted), max_credits=1000, max_charge=500) as harness:
        assert harness.sync().ok
        yield harness


def printed(harness: Harness, number: int, cost: float | str) -> str:
    return str(harness.print_job(mail(number), cost)["job_id"])


def run(harness: Harness, minutes: int = 1) -> None:
    harness.advance(minutes=minutes)
    outcome = harness.sync(only=STEPS)
    assert outcome.ok, outcome.failures


def refused(harness: Harness, *numbers: int) -> None:
    """A run while Nexudus does not have some customers at the moment of the sale; they are back afterwards."""
    harness.advance(minutes=31)
    assert harness.sync(only=STEPS[:-1]).ok
    for number in numbers:
        harness.delete("coworkers", number)
    assert harness.sync(only=STEPS[-1:]).ok
    for number in numbers:
        harness.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))


def held(harness: Harness) -> dict[str, dict[str, Any]]:
    """The held line of each job."""
    with harness.sites.store.connect() as con:
        return {line["job_id"]: line for line in lines_in(con, "london", "held").to_dicts()}


def retry(harness: Harness, job: str, **how: Any) -> None:
    decide(harness.sites, [held(harness)[job]["ref"]], "priced", reason="asked", operator="test", **how)


def paid(harness: Harness, number: int) -> tuple[int, int]:
    """What a customer was charged in sales, and what is left of the credits."""
    left = {record["Id"]: record for record in harness.state()["nexudus"][CREDITS] if not record.get("Deleted")}
    return (
        sum(sale["Quantity"] for sale in harness.sales() if sale["CoworkerId"] == number),
        sum(record["RemainingUses"] for record in left.values() if record["CoworkerId"] == number),
    )


def overdrawn(harness: Harness) -> str:
    """A job of somebody whose credit was taken away after the print, held."""
    job = printed(harness, HOLDER, 60)
    harness.edit(CREDITS, 501, RemainingUses=10)
    run(harness, 31)
    assert held(harness)[job]["rule"] == "overdrawn"
    return job


# --- credits above max_credits ----------------------------------------------------------------------------------------


def test_a_credit_above_the_limit_holds_the_jobs_it_would_pay_and_never_makes_them_money(harness: Harness) -> None:
    small, large = printed(harness, RICH, 30), printed(harness, RICH, 80)
    run(harness, 31)
    assert paid(harness, RICH)[0] == 0
    line = held(harness)[large]
    assert line["rule"] == "credit_too_large"
    assert "above max_credits (1000) would pay for this job of 80 cents" in line["reason"]
    assert small in held(harness), (
        "the large credit expires no later, and has the lower id: it would have paid this too"
    )


def test_a_held_job_is_paid_with_the_credit_once_it_is_corrected_and_only_asked_for_as_money_it_is_money(
    harness: Harness,
) -> None:
    first, second = printed(harness, RICH, 80), printed(harness, RICH, 90)
    run(harness, 31)
    retry(harness, first)
    run(harness)
    assert (held(harness)[first]["rule"], paid(harness, RICH)[0]) == ("credit_too_large", 0), "the limit still holds it"
    harness.edit(CREDITS, 504, RemainingUses=500, TotalUses=500)
    retry(harness, first)
    retry(harness, second, as_money=True)
    run(harness)
    assert paid(harness, RICH) == (90, 450), "500 and 30 less 80"


def test_a_credit_that_would_not_pay_holds_nothing(harness: Harness) -> None:
    harness.edit(CREDITS, 504, ExpireDate="2026-11-02T00:00:00Z")
    job = printed(harness, RICH, 80)
    run(harness, 31)
    assert (job in held(harness), paid(harness, RICH)) == (False, (80, 5_030))


# --- retry ----------------------------------------------------------------------------------------------------------


def test_credits_that_were_given_since_pay_for_a_job_that_is_retried(harness: Harness) -> None:
    job = overdrawn(harness)
    harness.edit(CREDITS, 501, RemainingUses=100)
    run(harness)
    assert job in held(harness), "nothing is decided again before a person asks"
    retry(harness, job)
    run(harness)
    assert paid(harness, HOLDER) == (0, 40)
    assert job not in held(harness)


def test_without_such_credits_a_retried_job_is_charged_as_the_person_asks(harness: Harness) -> None:
    job = overdrawn(harness)
    retry(harness, job)
    run(harness)
    assert (paid(harness, HOLDER), job in held(harness)) == ((60, 10), False)


def test_asked_for_as_money_it_is_money_although_credits_would_pay(harness: Harness) -> None:
    job = overdrawn(harness)
    harness.edit(CREDITS, 501, RemainingUses=100)
    retry(harness, job, as_money=True)
    run(harness)
    assert paid(harness, HOLDER) == (60, 100)


@pytest.mark.parametrize(("cost", "rule", "cents"), [("12.5", "fractional_cost", 13), (600, "above_max_charge", 600)])
@pytest.mark.parametrize("credits_given", [True, False])
def test_what_a_rule_held_is_let_through_by_a_retry_and_credits_pay_first(
    harness: Harness, cost: float | str, rule: str, cents: int, credits_given: bool
) -> None:
    job = printed(harness, NOBODY, cost)
    run(harness, 31)
    assert held(harness)[job]["rule"] == rule
    if credits_given:
        harness.add(CREDITS, credit(520, NOBODY, 700))
    retry(harness, job)
    run(harness)
    assert paid(harness, NOBODY) == ((0, 700 - cents) if credits_given else (cents, 0))
    run(harness)
    assert job not in held(harness)


def test_two_reasons_to_hold_a_job_are_two_questions_and_each_is_asked_once(harness: Harness) -> None:
    harness.edit(CREDITS, 501, RemainingUses=700, TotalUses=700)
    assert harness.sync().ok
    job = printed(harness, HOLDER, 600)
    harness.edit(CREDITS, 501, RemainingUses=10)
    run(harness, 31)
    asked = []
    while job in held(harness):
        asked.append(held(harness)[job]["rule"])
        retry(harness, job)
        run(harness)
    assert asked == ["above_max_charge", "overdrawn"]
    assert paid(harness, HOLDER) == (600, 10)


def test_a_person_overrules_a_rule_for_what_the_job_cost_then(harness: Harness) -> None:
    job = printed(harness, PAYER, 600)
    run(harness, 31)
    retry(harness, job)
    harness.print_job(mail(PAYER), 900, job_id=int(job))
    run(harness)
    assert (held(harness)[job]["rule"], paid(harness, PAYER)[0]) == ("above_max_charge", 0)


def test_a_sale_that_nexudus_refused_is_paid_with_credits_that_are_there_when_it_is_retried(harness: Harness) -> None:
    jobs = [printed(harness, number, 40) for number in (PAYER, NOBODY)]
    refused(harness, PAYER, NOBODY)
    assert sorted(held(harness)) == sorted(jobs)
    harness.add(CREDITS, credit(521, NOBODY, 100))
    for job in jobs:
        retry(harness, job)
    run(harness)
    assert [paid(harness, number) for number in (PAYER, NOBODY)] == [(40, 0), (0, 60)]
    assert held(harness) == {}


def test_a_customer_who_is_gone_is_held_again_until_back(harness: Harness) -> None:
    job = printed(harness, PAYER, 40)
    harness.edit("coworkers", PAYER, Archived=True)
    run(harness, 31)
    assert held(harness)[job]["rule"] == "customer_gone"
    retry(harness, job)
    run(harness)
    assert held(harness)[job]["rule"] == "customer_gone"
    harness.edit("coworkers", PAYER, Archived=False)
    retry(harness, job)
    run(harness)
    assert (paid(harness, PAYER)[0], job in held(harness)) == (40, False)


def test_a_job_that_was_voided_costs_something_else_and_is_retried(harness: Harness) -> None:
    job = printed(harness, PAYER, 600)
    run(harness, 31)
    decide(harness.sites, [held(harness)[job]["ref"]], "void", reason="a gift", operator="test")
    harness.print_job(mail(PAYER), 80, job_id=int(job))
    run(harness)
    assert held(harness)[job]["rule"] == "voided_before"
    retry(harness, job)
    for _ in range(2):
        run(harness)
    assert (paid(harness, PAYER)[0], job in held(harness)) == (80, False)


def test_a_voided_retry_stays_void(harness: Harness) -> None:
    job = printed(harness, PAYER, 600)
    run(harness, 31)
    retry(harness, job)
    refused(harness, PAYER)
    decide(harness.sites, [held(harness)[job]["ref"]], "void", reason="never mind", operator="test")
    for _ in range(2):
        run(harness)
    assert (paid(harness, PAYER)[0], job in held(harness)) == (0, False)


def test_a_retried_line_is_held_no_longer_and_cannot_be_decided_twice(harness: Harness) -> None:
    job = overdrawn(harness)
    ref = held(harness)[job]["ref"]
    retry(harness, job)
    with pytest.raises(UnsafeError, match="is void, not held"):
        decide(harness.sites, [ref], "priced", reason="again", operator="test")
