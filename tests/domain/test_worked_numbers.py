"""The worked numbers of the vendor's own pages (rules.md section 6), one test each, named after them.

P1 to P8 stand in test_accounts.py. D7 (refuse a job that has printed) was not adopted.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.names import password
from pipeline.domain.people.accounts import print_accounts
from pipeline.domain.people.ownership import OWNED
from pipeline.domain.people.plan import user_sync_plan
from tests.frames import NOW, World, customers, grants, jobs, rules


def printing(
    model: str, *, balance: int = 0, cost: int = 50, pay: str = "n", free: str = "n", **choices: Any
) -> tuple[dict[str, Any], list[tuple[Any, ...]], int]:
    """One customer prints one job: the account, the lines (kind, cents, state) and the credits left afterwards."""
    world = World(
        customers(f"coworker_id pay free\n1 {pay} {free}"),
        jobs(f"job_id cost\n1 {cost}"),
        grants(f"credit_id remaining_uses\n1 {balance}"),
        rules=rules(model, **choices),
    )
    account = print_accounts(world.customers, world.grants, world.uses, world.rules, NOW).row(0, named=True)
    lines = world.charge()
    used = lines.filter(kind="credit")["amount_cents"].sum()
    return account, lines.select("kind", "amount_cents", "state").rows(), balance - used


def refused_by_papercut(account: dict[str, Any], cost: int) -> bool:
    """A restricted user cannot print past the balance that PaperCut shows."""
    return account["reason"] is not None or (account["restricted"] and account["credits"] < cost)


def test_w1_a_job_of_50_is_refused_with_45_credits() -> None:
    account, lines, left = printing("credits_only", balance=45, cost=10 * 5)
    assert refused_by_papercut(account, cost=50)
    assert (lines, left) == ([("sale", 50, "held")], 45), "had it printed all the same, a person decides"


@pytest.mark.parametrize(("model", "kind"), [("credits_only", "credit"), ("pay_per_print", "sale")])
def test_w2_a_page_of_5_credits_is_5_credits_or_5_cents(model: str, kind: str) -> None:
    _, lines, _ = printing(model, balance=45, cost=5, pay="y")
    assert lines == [(kind, 5, "priced")]


def test_w3_pay_per_print_invoices_5_times_one_cent() -> None:
    _, lines, left = printing("pay_per_print", balance=45, cost=5, pay="y")
    assert lines == [("sale", 5, "priced")], "the quantity of a product priced 0.01"
    assert left == 45, "printing credits are not available in this model"


@pytest.mark.parametrize("cost", [1, 7, 45])
def test_w4_one_credit_for_every_use(cost: int) -> None:
    _, lines, left = printing("credits_only", balance=45, cost=cost)
    assert (lines, left) == ([("credit", cost, "priced")], 45 - cost)


def test_w5_the_password_is_the_pin_with_zeros_in_front() -> None:
    assert password("12345", 8) == "00012345"


@pytest.mark.parametrize(("seats", "held"), [(100, 0), (99, 1)])
def test_w6_a_hundred_customers_need_a_hundred_seats(seats: int, held: int) -> None:
    people = customers("coworker_id pay\n" + "\n".join(f"{n} y" for n in range(1, 101)))
    site = rules("pay_per_print", licence_users=seats)
    accounts = print_accounts(people, grants(), World(people, jobs("job_id")).uses, site, NOW)
    unsettled = pl.DataFrame(schema={"username": pl.String, "unsettled": pl.Decimal(18, 6)})
    gone = pl.DataFrame(schema={"coworker_id": pl.Int64})
    plan = user_sync_plan(
        accounts,
        tables.empty("print_users"),
        owned=OWNED.to_frame(),
        unsettled=unsettled,
        gone=gone,
        rules=site,
        now=NOW,
    )
    assert plan.filter(action="create").height == seats
    assert plan.filter(action="hold").height == held


def assert_covers(grant: int, *, prints: int, price: int) -> None:
    """A grant of that size pays exactly that many prints; one more is charged as money."""
    printed = "job_id cost\n" + "\n".join(f"{n} {price}" for n in range(1, prints + 2))
    granted = grants(f"credit_id remaining_uses\n1 {grant}")
    lines = World(customers("coworker_id pay\n1 y"), jobs(printed), granted).charge()
    assert lines.filter(kind="credit").select("amount_cents").sum().item() == grant
    assert lines.filter(kind="credit").height == prints
    assert lines.filter(kind="sale")["amount_cents"].to_list() == [price]


def test_w7_thirty_prints_at_30_cents_are_a_grant_of_900() -> None:
    assert_covers(900, prints=30, price=30)


def test_w8_10_dollars_of_printing_are_a_grant_of_1000() -> None:
    assert_covers(1000, prints=1000, price=1)


def test_w9_20_dollars_of_printing_are_a_grant_of_2000() -> None:
    assert_covers(2000, prints=2000, price=1)


def test_w10_a_hundred_pages_at_15_cents_are_a_grant_of_1500() -> None:
    assert_covers(1500, prints=100, price=15)


def test_w11_a_page_of_20_with_5_credits_is_charged_whole() -> None:
    _, lines, left = printing("credits_and_pay_per_print", balance=5, cost=20, pay="y")
    assert (lines, left) == ([("sale", 20, "priced")], 5)


def test_d1_a_job_of_50_is_allowed_with_50_credits() -> None:
    account, lines, left = printing("credits_only", balance=50)
    assert not refused_by_papercut(account, cost=50)
    assert (lines, left) == ([("credit", 50, "priced")], 0)


def test_d2_a_refused_job_is_allowed_once_5_more_credits_are_granted() -> None:
    people, site = customers("coworker_id\n1"), rules("credits_only")
    more = grants("credit_id remaining_uses\n1 45\n2 5")
    account = print_accounts(people, more, World(people, jobs("job_id")).uses, site, NOW).row(0, named=True)
    assert not refused_by_papercut(account, cost=50)
    lines = World(people, jobs("job_id\n1"), more, rules=site).charge()
    assert lines.sort("seq").select("credit_id", "amount_cents").rows() == [(1, 45), (2, 5)]


def test_d3_pay_per_print_invoices_50_cents_and_touches_no_credit() -> None:
    _, lines, left = printing("pay_per_print", balance=45, pay="y")
    assert (lines, left) == ([("sale", 50, "priced")], 45)


def test_d4_free_unlimited_uses_no_credit_and_invoices_nothing() -> None:
    _, lines, left = printing("free_unlimited", balance=45, free="y")
    assert (lines, left) == ([("waive", 50, "confirmed")], 45)


def test_d5_policy_ignore_leaves_45_credits_and_invoices_50() -> None:
    _, lines, left = printing("credits_and_pay_per_print", balance=45, pay="y", partial_credits="ignore")
    assert (lines, left) == ([("sale", 50, "priced")], 45)


def test_d6_policy_use_leaves_no_credits_and_invoices_5() -> None:
    _, lines, left = printing("credits_and_pay_per_print", balance=45, pay="y", partial_credits="use")
    assert (sorted(lines), left) == ([("credit", 45, "priced"), ("sale", 5, "priced")], 0)


def test_d8_the_ezeep_reading_of_w1_charges_50_and_leaves_45_credits() -> None:
    assert printing("credits_and_pay_per_print", balance=45, pay="y")[1:] == ([("sale", 50, "priced")], 45)


def test_d9_a_longer_minimum_gets_more_zeros() -> None:
    assert password("12345", 10) == "0000012345"


@pytest.mark.parametrize(("pin", "minimum"), [("12345678", 8), ("1234567890", 10), ("123456789", 8)])
def test_d10_a_pin_that_is_long_enough_is_unchanged(pin: str, minimum: int) -> None:
    assert password(pin, minimum) == pin


def test_a_minimum_below_8_counts_as_8() -> None:
    assert password("12345", 0) == "00012345"
