"""The graph as Dagster runs it: the steps in their order, their numbers with the assets, nothing left to do afterwards.

What belongs here: one whole run. What does not: what each step does (`tests/steps`), and what the catalogue says
(`test_catalogue.py`).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.dagster.runs import SYNC
from tests.harness import running
from tests.worlds import credit, customer, mail, world


def test_a_run_of_dagster_does_what_the_steps_do_and_shows_their_numbers(folder: Path) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    with running(folder, world(people, [credit(401, 102, 100)])) as harness:
        first = harness.run()
        assert first.ok, first.failures
        users = harness.users()
        assert [(users[mail(each)]["restricted"], users[mail(each)]["balance"]) for each in (101, 102)] == [
            (False, 0), (True, 100),
        ]  # fmt: skip
        assert users[mail(101)]["password"] == "00010101"
        harness.print_job(mail(101), 30)
        harness.print_job(mail(102), 40)
        harness.advance(minutes=31)
        second = harness.run()
        assert second.ok, second.failures
        assert [(sale["CoworkerId"], sale["Quantity"]) for sale in harness.sales()] == [(101, 30)]
        assert (harness.credits(), harness.users()[mail(102)]["balance"]) == ({401: 60}, 60)
        assert harness.users()[mail(101)]["balance"] == 0
        harness.forget_calls()
        third = harness.run()
        assert third.ok, third.failures
        assert harness.writes() == {}, "a run right after another must change nothing"
        assert set(third.metadata) == set(SYNC), "every asset of a run shows itself"
        stepwise = harness.sync()
        for name, numbers in stepwise.metadata.items():
            shown = third.metadata[name]
            assert numbers.keys() <= shown.keys(), f"{name} lacks numbers of its step"
        assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 0
