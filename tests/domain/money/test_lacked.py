"""A print that a later report lacks: no money moves before a person decided, and no decision is asked for twice."""

from __future__ import annotations

import polars as pl
import pytest

from tests.frames import World, customers, jobs

PAYER = customers("coworker_id pay\n1 y")


def charged(text: str = "job_id\n1", **states: str) -> World:
    before = World(PAYER, jobs(text))
    return before.enter(before.charge(), **({"sale": "confirmed"} | states))


def lacked(before: World, text: str = "", revision: int = 1) -> World:
    """The world once a report lacks the job."""
    printed = jobs(f"job_id revision\n1 {revision}") if not text else jobs(text)
    return before.but(jobs=printed.with_columns(lacked_by=pl.lit("b.csv")))


def shown(lines: pl.DataFrame) -> list[tuple[str, str, int]]:
    return lines.select("kind", "state", "amount_cents").rows()


def test_a_charge_of_a_lacked_print_is_to_be_reversed_by_a_person_only() -> None:
    after = lacked(charged())
    lines = after.charge()
    assert shown(lines) == [("undo_sale", "held", 50)]
    assert lines["rule"].to_list() == ["row_missing"]
    assert "b.csv" in lines["reason"][0]
    assert after.enter(lines).charge().is_empty(), "nothing is asked twice"


@pytest.mark.parametrize("decision", ["void", "confirmed"])
def test_once_decided_nothing_more_is_asked_whatever_the_row_does(decision: str) -> None:
    after = lacked(charged())
    decided = after.enter(after.charge(), undo_sale=decision)
    for revision in (1, 2):
        assert lacked(decided, revision=revision).charge().is_empty()


def test_a_lacked_print_that_was_not_charged_is_held_once() -> None:
    world = lacked(World(PAYER, jobs("job_id\n1")), revision=0)
    lines = world.charge()
    assert shown(lines) == [("sale", "held", 50)]
    assert lines["rule"].to_list() == ["row_missing"]
    assert world.enter(lines).charge().is_empty()


def test_a_line_that_is_held_already_stays_the_persons_business() -> None:
    before = World(PAYER, jobs("job_id twin\n1 7"))
    held = before.enter(before.charge())
    assert lacked(held, "job_id revision twin\n1 1 7").charge().is_empty()


def test_a_waived_print_is_not_asked_about() -> None:
    free = World(customers("coworker_id free\n1 y"), jobs("job_id\n1"))
    assert lacked(free.enter(free.charge())).charge().is_empty()


def test_a_refund_that_is_sure_needs_no_person_although_a_report_lacks_the_print() -> None:
    after = lacked(charged(), "job_id revision refunded\n1 1 y")
    assert shown(after.charge()) == [("undo_sale", "priced", 50)]
