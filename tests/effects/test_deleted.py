"""A sale that somebody deleted in Nexudus after it was confirmed: found, held, and decided with the commands named.

What belongs here: what is proved before a line is held, and what each decision leads to in Nexudus and in the books.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import pytest

from pipeline.operations.causes import causes
from pipeline.operations.held import decide
from pipeline.store.lines import lines_in
from pipeline.store.stops import stopped
from tests.campaign.runs import CHARGES
from tests.harness import Harness, telling
from tests.worlds import TODAY, customer, mail, world

AGAIN = {"printbridge/reread_days": "45"}
STEPS = ("nexudus_customers", *CHARGES[:2], "print_accounts", *CHARGES[2:])


@pytest.fixture
def harness() -> Generator[Harness, None, None]:
    """A customer who pays, and one job of 40 that was sold."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True)])) as harness:
        assert harness.sync().ok
        harness.print_job(mail(101), 40)
        run(harness, 31)
        assert [sale["Quantity"] for sale in harness.sales()] == [40]
        yield harness


def run(harness: Harness, minutes: int = 1, **tags: str) -> None:
    harness.advance(minutes=minutes)
    outcome = harness.sync(only=STEPS, **tags)
    assert outcome.ok, outcome.failures


def deleted(harness: Harness) -> None:
    """Somebody deletes the sale, days later; the nightly run reads everything again."""
    harness.delete("coworkerproducts", harness.sales()[0]["Id"])
    harness.advance(days=5)
    run(harness, **AGAIN)


def held(harness: Harness) -> dict[str, Any]:
    with harness.sites.store.connect() as con:
        (line,) = lines_in(con, "london", "held").to_dicts()
    return line


def kinds(harness: Harness) -> set[str]:
    """What needs a person; these runs are no whole ones, so all of them look stale."""
    return {cause.kind for cause in causes(harness.sites, [])} - {"stale"}


def decided(harness: Harness, state: str) -> None:
    decide(harness.sites, [held(harness)["ref"]], state, reason="asked", operator="test")


def in_step(harness: Harness) -> None:
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 0
    assert kinds(harness) == set()


def test_the_nightly_run_finds_a_sale_that_was_deleted_days_later_and_stops_nobody(harness: Harness) -> None:
    deleted(harness)
    line = held(harness)
    assert (line["amount_cents"], kinds(harness)) == (40, {"sale deleted"})
    commands = re.findall(r"`printbridge held (\w+) (\S+)`", line["reason"])
    assert commands == [(word, line["ref"]) for word in ("retry", "void", "confirm")]
    harness.print_job(mail(101), 7)
    run(harness, 31)
    assert [sale["Quantity"] for sale in harness.sales()] == [7], "every other job is charged, and this one is not"
    harness.reconcile()
    with harness.sites.store.connect() as con:
        assert stopped(con, "london") == {}


@pytest.mark.parametrize(("state", "sales"), [("priced", [40]), ("void", []), ("confirmed", [])])
def test_each_decision_ends_it(harness: Harness, state: str, sales: list[int]) -> None:
    deleted(harness)
    decided(harness, state)
    run(harness)
    run(harness, 31)
    assert [sale["Quantity"] for sale in harness.sales()] == sales
    in_step(harness)
    run(harness, **AGAIN)
    in_step(harness)


@pytest.mark.parametrize("state", ["priced", "void"])
def test_a_reconciliation_that_finds_it_first_leads_to_the_same_line(harness: Harness, state: str) -> None:
    harness.delete("coworkerproducts", harness.sales()[0]["Id"])
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 40
    assert kinds(harness) == {"sale deleted"}
    decided(harness, state)
    run(harness)
    assert kinds(harness) == set(), "what was decided is not told any more, whatever that day says"
    in_step(harness)


def test_a_sale_that_was_deleted_again_is_held_again(harness: Harness) -> None:
    deleted(harness)
    decided(harness, "priced")
    run(harness)
    deleted(harness)
    assert held(harness)["amount_cents"] == 40
    decided(harness, "void")
    in_step(harness)


def test_a_refund_of_what_a_person_charged_by_hand_instead_waits_for_that_person(harness: Harness) -> None:
    deleted(harness)
    decided(harness, "confirmed")
    harness.refund(int(held_job(harness)))
    run(harness, **AGAIN)
    line = held(harness)
    assert (line["kind"], "without naming a sale" in line["reason"]) == ("undo_sale", True)


def held_job(harness: Harness) -> str:
    (job,) = harness.events()
    return job


def test_a_refund_after_the_deletion_leaves_nothing_whatever_is_decided(harness: Harness) -> None:
    deleted(harness)
    harness.refund(int(held_job(harness)))
    run(harness, **AGAIN)
    decided(harness, "priced")
    for _ in range(2):
        run(harness, 20)
    assert (harness.sales(), kinds(harness)) == ([], set())


def test_a_sale_that_a_list_lacks_and_nexudus_has_is_not_gone(harness: Harness) -> None:
    harness.switch(list_lag_seconds=10**6)
    run(harness, **AGAIN)
    harness.reconcile()
    assert harness.events() == {held_job(harness): ["sale 40 confirmed"]}


def test_a_sale_that_is_there_again_needs_nobody(harness: Harness) -> None:
    sale = harness.sales()[0]
    deleted(harness)
    harness.add("coworkerproducts", {name: value for name, value in sale.items() if name != "Deleted"})
    run(harness, **AGAIN)
    assert harness.events() == {held_job(harness): ["sale 40 confirmed"]}
    in_step(harness)


def test_an_invoiced_sale_that_is_gone_is_held_with_the_question_of_its_invoice(harness: Harness) -> None:
    harness.bill(101)
    harness.print_job(mail(101), 5)
    run(harness, 31)
    assert harness.events()[min(harness.events(), key=int)] == ["sale 40 invoiced"]
    harness.delete("coworkerproducts", min(sale["Id"] for sale in harness.sales()))
    run(harness, **AGAIN)
    assert "was on an invoice and is no longer in Nexudus" in held(harness)["reason"]
    decided(harness, "confirmed")
    assert harness.reconcile(TODAY).metadata["reconciliation"]["unexplained_cents"] == 0


def test_what_a_person_invoiced_by_hand_is_no_difference(harness: Harness) -> None:
    """The remedy of a customer who is gone: invoice by hand, then confirm the line without a sale."""
    harness.print_job(mail(101), 30)
    harness.edit("coworkers", 101, Archived=True)
    run(harness, 31)
    assert held(harness)["rule"] == "customer_gone"
    decided(harness, "confirmed")
    harness.advance(minutes=20)
    in_step(harness)
