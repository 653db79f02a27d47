"""The thinnest whole slice: a customer, a job, from REST to invoice and back, through Dagster."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.harness import credit, customer, during, running, world


def test_a_customer_becomes_a_user_and_a_job_becomes_a_sale(folder: Path) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    with running(folder, world(people, [credit(401, 102, 100)])) as bridge:
        first = bridge.run()
        assert first.ok, first.failures
        users = bridge.users()
        assert (users["c101@example.com"]["restricted"], users["c101@example.com"]["balance"]) == (False, 0)
        assert (users["c102@example.com"]["restricted"], users["c102@example.com"]["balance"]) == (True, 100)
        assert users["c101@example.com"]["password"] == "00010101"

        bridge.print_job("c101@example.com", 30)
        bridge.print_job("c102@example.com", 40)
        bridge.advance(minutes=31)
        second = bridge.run()
        assert second.ok, second.failures
        assert [(sale["CoworkerId"], sale["Quantity"]) for sale in bridge.sales()] == [(101, 30)]
        assert bridge.credits() == {401: 60}
        assert bridge.users()["c101@example.com"]["balance"] == 0
        assert bridge.users()["c102@example.com"]["balance"] == 60

        bridge.forget_calls()
        third = bridge.run()
        assert third.ok, third.failures
        assert bridge.writes() == {}, "a run right after another must change nothing"

        assert bridge.reconcile("2026-11-02").metadata["reconciliation"]["unexplained_cents"] == 0


LISTS = ("GET coworkers", "GET coworkerextraservices")


@pytest.mark.parametrize(("late", "other"), [LISTS, LISTS[::-1]])
def test_customers_and_credits_are_read_at_the_same_time(folder: Path, late: str, other: str) -> None:
    with running(folder, world([customer(101), customer(102)], [credit(401, 102, 100)])) as bridge:

        def asked() -> None:
            end = time.monotonic() + 1  # the answer is late by more than that
            while not (seen := bridge.calls()["nexudus"].get(other)) and time.monotonic() < end:
                time.sleep(0.02)
            assert seen, f"there was no {other} while the answer to {late} was on its way"

        assert during(bridge, "nexudus", late, bridge.run, asked).ok
