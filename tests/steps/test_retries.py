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
from tests.harness import Harness, credit, customer, telling, world

STEPS = ("nexudus_customers", *CHARGES[:2], "print_accounts", *CHARGES[2:])
PAYER, HOLDER, NOBODY, RICH, POOR = 101, 102, 103, 104, 105
CREDITS = "coworkerextraservices"


def mail(number: int) -> str:
    return f"c{number}@example.com"


@pytest.fixture
def bridge() -> Generator[Harness, None, None]:
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


def printed(bridge: Harness, number: int, cost: float | str) -> str:
    return str(bridge.print_job(mail(number), cost)["job_id"])


def run(bridge: Harness, minutes: int = 1) -> None:
    bridge.advance(minutes=minutes)
    outcome = bridge.sync(only=STEPS)
    assert outcome.ok, outcome.failures


def refused(bridge: Harness, *numbers: int) -> None:
    """A run while Nexudus does not have some customers at the moment of the sale; they are back afterwards."""
    bridge.advance(minutes=31)
    assert bridge.sync(only=STEPS[:-1]).ok
    for number in numbers:
        bridge.delete("coworkers", number)
    assert bridge.sync(only=STEPS[-1:]).ok
    for number in numbers:
        bridge.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))


def held(bridge: Harness) -> dict[str, dict[str, Any]]:
    """The held line of each job."""
    with bridge.sites.store.connect() as con:
        return {line["job_id"]: line for line in lines_in(con, "london", "held").to_dicts()}


def retry(bridge: Harness, job: str, **how: Any) -> None:
    decide(bridge.sites, [held(bridge)[job]["ref"]], "priced", reason="asked", operator="test", **how)


def paid(bridge: Harness, number: int) -> tuple[int, int]:
    """What a customer was charged in sales, and what is left of the credits."""
    left = {record["Id"]: record for record in bridge.state()["nexudus"][CREDITS] if not record.get("Deleted")}
    return (
        sum(sale["Quantity"] for sale in bridge.sales() if sale["CoworkerId"] == number),
        sum(record["RemainingUses"] for record in left.values() if record["CoworkerId"] == number),
    )


def overdrawn(bridge: Harness) -> str:
    """A job of somebody whose credit was taken away after the print, held."""
    job = printed(bridge, HOLDER, 60)
    bridge.edit(CREDITS, 501, RemainingUses=10)
    run(bridge, 31)
    assert held(bridge)[job]["rule"] == "overdrawn"
    return job


# --- credits above max_credits ----------------------------------------------------------------------------------------


def test_a_credit_above_the_limit_holds_the_jobs_it_would_pay_and_never_makes_them_money(bridge: Harness) -> None:
    small, large = printed(bridge, RICH, 30), printed(bridge, RICH, 80)
    run(bridge, 31)
    assert paid(bridge, RICH)[0] == 0
    line = held(bridge)[large]
    assert line["rule"] == "credit_too_large"
    assert "above max_credits (1000) would pay for this job of 80 cents" in line["reason"]
    assert small in held(bridge), "the large credit expires no later, and has the lower id: it would have paid this too"


def test_a_held_job_is_paid_with_the_credit_once_it_is_corrected_and_only_asked_for_as_money_it_is_money(
    bridge: Harness,
) -> None:
    first, second = printed(bridge, RICH, 80), printed(bridge, RICH, 90)
    run(bridge, 31)
    retry(bridge, first)
    run(bridge)
    assert (held(bridge)[first]["rule"], paid(bridge, RICH)[0]) == ("credit_too_large", 0), "the limit still holds it"
    bridge.edit(CREDITS, 504, RemainingUses=500, TotalUses=500)
    retry(bridge, first)
    retry(bridge, second, as_money=True)
    run(bridge)
    assert paid(bridge, RICH) == (90, 450), "500 and 30 less 80"


def test_a_credit_that_would_not_pay_holds_nothing(bridge: Harness) -> None:
    bridge.edit(CREDITS, 504, ExpireDate="2026-11-02T00:00:00Z")
    job = printed(bridge, RICH, 80)
    run(bridge, 31)
    assert (job in held(bridge), paid(bridge, RICH)) == (False, (80, 5_030))


# --- retry ----------------------------------------------------------------------------------------------------------


def test_credits_that_were_given_since_pay_for_a_job_that_is_retried(bridge: Harness) -> None:
    job = overdrawn(bridge)
    bridge.edit(CREDITS, 501, RemainingUses=100)
    run(bridge)
    assert job in held(bridge), "nothing is decided again before a person asks"
    retry(bridge, job)
    run(bridge)
    assert paid(bridge, HOLDER) == (0, 40)
    assert job not in held(bridge)


def test_without_such_credits_a_retried_job_is_charged_as_the_person_asks(bridge: Harness) -> None:
    job = overdrawn(bridge)
    retry(bridge, job)
    run(bridge)
    assert (paid(bridge, HOLDER), job in held(bridge)) == ((60, 10), False)


def test_asked_for_as_money_it_is_money_although_credits_would_pay(bridge: Harness) -> None:
    job = overdrawn(bridge)
    bridge.edit(CREDITS, 501, RemainingUses=100)
    retry(bridge, job, as_money=True)
    run(bridge)
    assert paid(bridge, HOLDER) == (60, 100)


@pytest.mark.parametrize(("cost", "rule", "cents"), [("12.5", "fractional_cost", 13), (600, "above_max_charge", 600)])
@pytest.mark.parametrize("credits_given", [True, False])
def test_what_a_rule_held_is_let_through_by_a_retry_and_credits_pay_first(
    bridge: Harness, cost: float | str, rule: str, cents: int, credits_given: bool
) -> None:
    job = printed(bridge, NOBODY, cost)
    run(bridge, 31)
    assert held(bridge)[job]["rule"] == rule
    if credits_given:
        bridge.add(CREDITS, credit(520, NOBODY, 700))
    retry(bridge, job)
    run(bridge)
    assert paid(bridge, NOBODY) == ((0, 700 - cents) if credits_given else (cents, 0))
    run(bridge)
    assert job not in held(bridge)


def test_two_reasons_to_hold_a_job_are_two_questions_and_each_is_asked_once(bridge: Harness) -> None:
    bridge.edit(CREDITS, 501, RemainingUses=700, TotalUses=700)
    assert bridge.sync().ok
    job = printed(bridge, HOLDER, 600)
    bridge.edit(CREDITS, 501, RemainingUses=10)
    run(bridge, 31)
    asked = []
    while job in held(bridge):
        asked.append(held(bridge)[job]["rule"])
        retry(bridge, job)
        run(bridge)
    assert asked == ["above_max_charge", "overdrawn"]
    assert paid(bridge, HOLDER) == (600, 10)


def test_a_person_overrules_a_rule_for_what_the_job_cost_then(bridge: Harness) -> None:
    job = printed(bridge, PAYER, 600)
    run(bridge, 31)
    retry(bridge, job)
    bridge.print_job(mail(PAYER), 900, job_id=int(job))
    run(bridge)
    assert (held(bridge)[job]["rule"], paid(bridge, PAYER)[0]) == ("above_max_charge", 0)


def test_a_sale_that_nexudus_refused_is_paid_with_credits_that_are_there_when_it_is_retried(bridge: Harness) -> None:
    jobs = [printed(bridge, number, 40) for number in (PAYER, NOBODY)]
    refused(bridge, PAYER, NOBODY)
    assert sorted(held(bridge)) == sorted(jobs)
    bridge.add(CREDITS, credit(521, NOBODY, 100))
    for job in jobs:
        retry(bridge, job)
    run(bridge)
    assert [paid(bridge, number) for number in (PAYER, NOBODY)] == [(40, 0), (0, 60)]
    assert held(bridge) == {}


def test_a_customer_who_is_gone_is_held_again_until_back(bridge: Harness) -> None:
    job = printed(bridge, PAYER, 40)
    bridge.edit("coworkers", PAYER, Archived=True)
    run(bridge, 31)
    assert held(bridge)[job]["rule"] == "customer_gone"
    retry(bridge, job)
    run(bridge)
    assert held(bridge)[job]["rule"] == "customer_gone"
    bridge.edit("coworkers", PAYER, Archived=False)
    retry(bridge, job)
    run(bridge)
    assert (paid(bridge, PAYER)[0], job in held(bridge)) == (40, False)


def test_a_job_that_was_voided_costs_something_else_and_is_retried(bridge: Harness) -> None:
    job = printed(bridge, PAYER, 600)
    run(bridge, 31)
    decide(bridge.sites, [held(bridge)[job]["ref"]], "void", reason="a gift", operator="test")
    bridge.print_job(mail(PAYER), 80, job_id=int(job))
    run(bridge)
    assert held(bridge)[job]["rule"] == "voided_before"
    retry(bridge, job)
    for _ in range(2):
        run(bridge)
    assert (paid(bridge, PAYER)[0], job in held(bridge)) == (80, False)


def test_a_voided_retry_stays_void(bridge: Harness) -> None:
    job = printed(bridge, PAYER, 600)
    run(bridge, 31)
    retry(bridge, job)
    refused(bridge, PAYER)
    decide(bridge.sites, [held(bridge)[job]["ref"]], "void", reason="never mind", operator="test")
    for _ in range(2):
        run(bridge)
    assert (paid(bridge, PAYER)[0], job in held(bridge)) == (0, False)


def test_a_retried_line_is_held_no_longer_and_cannot_be_decided_twice(bridge: Harness) -> None:
    job = overdrawn(bridge)
    ref = held(bridge)[job]["ref"]
    retry(bridge, job)
    with pytest.raises(UnsafeError, match="is void, not held"):
        decide(bridge.sites, [ref], "priced", reason="again", operator="test")
