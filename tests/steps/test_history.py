"""A job is decided by what held when it was printed: access, payer and rules of the site, whatever they are by now.

What belongs here: changes of flags, customers and bridge.toml between a print and its run, on real servers. What does
not: the rules case by case (`tests/domain/money`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.harness import Harness, running
from tests.worlds import customer, world

FREE = {"PaperCutFreePrinting": True, "PaperCutPayAsYouPrint": False}
PAY = {"PaperCutFreePrinting": False, "PaperCutPayAsYouPrint": True}
NONE = {"PaperCutFreePrinting": False, "PaperCutPayAsYouPrint": False}


@pytest.fixture
def harness(tmp_path: Path) -> Generator[Harness]:
    people = [customer(7, **PAY), customer(8, **FREE), customer(100, **PAY), customer(102, **PAY)]
    with running(tmp_path, world(people)) as harness:
        assert harness.sync().ok
        harness.advance(minutes=1)
        yield harness


def print_job(harness: Harness, number: int, cost: int) -> str:
    """A job of a customer; its id."""
    return str(harness.print_job(f"c{number}@example.com", cost)["job_id"])


def change(harness: Harness, number: int, flags: dict[str, bool]) -> None:
    """Five minutes later somebody changes the flags of a customer."""
    harness.advance(minutes=5)
    harness.edit("coworkers", number, **flags)


def mature(harness: Harness) -> None:
    """A run after the job is old enough."""
    harness.advance(minutes=36)
    outcome = harness.sync()
    assert outcome.ok, outcome.failures


def test_a_job_printed_for_free_is_waived_although_the_customer_pays_by_now(harness: Harness) -> None:
    job = print_job(harness, 8, 40)
    change(harness, 8, PAY)
    mature(harness)
    assert harness.events()[job] == ["waive 40 confirmed"]


def test_a_job_printed_under_another_model_is_decided_by_that_model(tmp_path: Path) -> None:
    with running(tmp_path, world([customer(7, **FREE)]), pricing_model="free_unlimited") as harness:
        assert harness.sync().ok
        harness.advance(minutes=1)
        job = print_job(harness, 7, 50)
        harness.reconfigure({'pricing_model = "free_unlimited"': 'pricing_model = "pay_per_print"'})
        harness.edit("coworkers", 7, **PAY)
        mature(harness)
        assert harness.events()[job] == ["waive 50 confirmed"]
        later = print_job(harness, 7, 50)
        mature(harness)
        assert harness.events()[later] == ["sale 50 confirmed"], "what is printed now goes by the rules of now"


def test_a_refund_makes_no_charge_of_a_job_that_was_free(harness: Harness) -> None:
    job = print_job(harness, 8, 60)
    mature(harness)
    assert harness.events()[job] == ["waive 60 confirmed"]
    change(harness, 8, PAY)
    harness.refund(int(job), amount=20)
    mature(harness)
    assert sorted(harness.events()[job]) == ["undo_waive 60 confirmed", "waive 40 confirmed", "waive 60 confirmed"]
    assert harness.sales() == []


def test_a_job_printed_to_be_paid_is_charged_although_the_customer_is_free_by_now(harness: Harness) -> None:
    job = print_job(harness, 7, 40)
    change(harness, 7, FREE)
    mature(harness)
    assert harness.events()[job] == ["sale 40 confirmed"]


def test_a_refund_leaves_the_rest_charged_although_the_customer_is_free_by_now(harness: Harness) -> None:
    job = print_job(harness, 7, 60)
    mature(harness)
    change(harness, 7, FREE)
    harness.refund(int(job), amount=20)
    mature(harness)
    assert [sale["Quantity"] for sale in harness.sales()] == [40]


def test_a_job_printed_to_be_paid_is_charged_although_the_flag_is_gone_by_now(harness: Harness) -> None:
    job = print_job(harness, 7, 40)
    change(harness, 7, NONE)
    mature(harness)
    assert harness.events()[job] == ["sale 40 confirmed"]


def test_somebody_who_takes_over_an_e_mail_does_not_pay_for_who_had_it(harness: Harness) -> None:
    job = print_job(harness, 100, 30)
    harness.advance(minutes=5)
    harness.edit("coworkers", 100, Archived=True)
    harness.edit("coworkers", 102, Email="c100@example.com")
    mature(harness)
    assert harness.events()[job] == ["sale 30 held"]
    assert harness.sales() == []


def test_an_account_made_anew_for_the_same_person_pays(harness: Harness) -> None:
    job = print_job(harness, 100, 30)
    harness.advance(minutes=5)
    harness.edit("coworkers", 100, Archived=True)
    harness.add("coworkers", customer(101, Email="c100@example.com", **PAY))
    mature(harness)
    assert harness.events()[job] == ["sale 30 confirmed"]
    assert [sale["CoworkerId"] for sale in harness.sales()] == [101]
