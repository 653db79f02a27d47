"""Decisions of a person on held lines, proved against real servers before they are stored.

What belongs here: `pipeline/operations/held.py` but for jobs of nobody (`test_assign.py`) and prices that are decided
again (`tests/steps/test_retries.py`). What does not: why a line is held (`tests/effects`, `tests/domain/money`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import polars as pl
import pytest

from pipeline.domain.money.references import reference
from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.operations.held import accept_jobs, decide, waiting
from pipeline.store import days, ledger
from tests.domain.money.books import DAY, compared, lines
from tests.domain.money.books import sales as sold
from tests.effects.charging import (
    CREDIT,
    charge,
    charging,
    decided,
    line,
    refused,
    send,
)
from tests.frames import jobs
from tests.harness import Harness, running
from tests.stores import charge as charge_of
from tests.stores import charges, mover, transaction
from tests.worlds import PRODUCTS, mail, world


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    with charging(folder) as begun:
        yield begun


def held_sale(harness: Harness, number: int, cost: int) -> str:
    job = decided(harness, number, cost)
    refused(harness, number)
    assert line(harness, job)["state"] == "held"
    return reference("london", str(job), "sale", 0)


def test_a_decision_is_proved_before_it_is_stored(harness: Harness) -> None:
    first, second = held_sale(harness, 101, 30), held_sale(harness, 102, 40)
    harness.add("coworkerproducts", {
        "Id": 9001, "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30,
    })  # fmt: skip

    def choose(*refs: str, state: str = "confirmed", sale: int | None = None) -> list[dict[str, object]]:
        return decide(harness.sites, list(refs), state, reason="seen", operator="test", sale=sale)

    with pytest.raises(MissingError, match="has no line NO-SUCH"):
        choose(first, "NO-SUCH")
    with pytest.raises(MissingError):
        choose(first, sale=1)
    with pytest.raises(UnsafeError, match=r"is 30 cents for customer 101, but line .* is 40 cents for customer 102"):
        choose(second, sale=9001)
    assert [each["ref"] for each in choose(first, first, sale=9001)] == [first], "named twice is one line"
    with pytest.raises(UnsafeError, match="is confirmed, not held"):
        choose(second, first, state="void")
    assert "sale 40 held" in str(harness.events()), "all or none"
    choose(second, state="priced")
    assert charge(harness).ok
    assert sorted(each["Quantity"] for each in harness.sales()) == [30, 40]


def test_what_waits_for_a_person_is_shown_for_every_site_that_has_any(harness: Harness) -> None:
    ref = held_sale(harness, 101, 30)
    ours, (site,) = [("london", ref, "held")], harness.sites
    for shown in (waiting(harness.sites), waiting(harness.sites, [site])):
        assert [(line["site"], line["ref"], line["state"]) for line in shown] == ours
    assert waiting(harness.sites, []) == []
    with transaction(harness.sites.store) as con:  # a line of a site that left bridge.toml, whose name is not known
        ledger.enter(con, charges(charge_of("7", state="held", site="york")), mover())
    assert [line["site"] for line in waiting(harness.sites)] == ["london", "york"]
    assert [line["site"] for line in waiting(harness.sites, [site])] == ["london"]


def test_a_held_credit_has_no_sale_and_a_line_without_customer_cannot_be_sent(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    harness.edit(CREDIT, 501, RemainingUses=5)
    assert send(harness).ok
    ref = reference("london", str(job), "credit", 0)
    with pytest.raises(ConfigError, match="is of kind credit, which has no sale"):
        decide(harness.sites, [ref], "confirmed", reason="seen", operator="test", sale=1)
    decide(harness.sites, [ref], "confirmed", reason="lowered by hand", operator="test")
    assert '"mode": "nexudus"' in str(line(harness, job, "credit")["detail"])
    odd = harness.print_job(mail(102), -5)["job_id"]
    harness.advance(minutes=31)
    assert charge(harness).ok
    assert line(harness, odd)["state"] == "held"
    with pytest.raises(UnsafeError, match="has no customer or no amount"):
        decide(harness.sites, [reference("london", str(odd), "sale", 0)], "priced", reason="try", operator="test")


def test_a_difference_that_two_sites_have_under_one_job_id_is_accepted_for_the_site_that_is_named(folder: Path) -> None:
    wrong = compared(jobs("job_id first_seen_at\n1 11-20T09:01"), lines(), sold())
    with running(folder, world([], sites=("london", "leeds"))) as harness:
        with transaction(harness.sites.store) as con:
            for site in ("london", "leeds"):
                days.replace(con, site, DAY, wrong.with_columns(site=pl.lit(site)))
        with pytest.raises(ConfigError, match="The sites leeds, london each have a difference for a job 1"):
            accept_jobs(harness.sites, ["1"], reason="seen", operator="test")
        accepted = accept_jobs(harness.sites, ["1"], reason="seen", operator="test", only="leeds")
        assert [(row["site"], row["unexplained_cents"]) for row in accepted] == [("leeds", 50)]
        (left,) = accept_jobs(harness.sites, ["1"], reason="seen", operator="test")
        assert left["site"] == "london", "what is left is the difference of the other"
