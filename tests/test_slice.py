"""The thinnest whole slice: a customer, a job, from REST to invoice and back, through Dagster."""

from __future__ import annotations

from pathlib import Path

from tests.harness import credit, customer, running, world


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
