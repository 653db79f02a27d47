"""Rest: once servers behave again, two runs do all that waits for nobody, and a third has nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.campaign import runs
from tests.campaign.crashes import HOLDER, PAYER, Crashes, crashing
from tests.campaign.states import EVERYTHING
from tests.campaign.witness import RestlessError, Witness


@pytest.fixture
def crashes(folder: Path) -> Generator[Crashes, None, None]:
    with crashing(folder) as given:
        yield given


def changed(crashes: Crashes, job: int, cost: int) -> None:
    crashes.harness.control.post("print", json={"site": "london", "job_id": job, "cost": cost}).raise_for_status()


def two_runs(crashes: Crashes) -> None:
    for _ in range(2):
        crashes.pass_time()
        assert not runs.run(crashes.order()).failures


def test_a_charge_goes_in_the_run_that_finds_the_one_before_it_gone(crashes: Crashes) -> None:
    """The run that deletes a sale is killed; nothing else is to be sent, so no list of sales would be asked for."""
    crashes.prepare()
    runs.run(crashes.order())
    changed(crashes, 1, 5)
    assert runs.run(crashes.order(kill="sent, unanswered, DELETE coworkerproducts 1")).killed
    two_runs(crashes)
    assert [sale["Quantity"] for sale in crashes.harness.sales()] == [5], "what the job costs now waits for a third run"
    assert not crashes.settled()


def test_a_credit_use_that_was_never_made_is_made_in_the_run_that_looks_it_up(crashes: Crashes) -> None:
    crashes.prepare()
    assert runs.run(crashes.order(kill="before sending PUT coworkerextraservices 1")).killed
    two_runs(crashes)
    Witness(crashes.harness, EVERYTHING).at_rest()
    assert not crashes.settled()


def test_a_witness_tells_what_does_not_come_to_rest(crashes: Crashes) -> None:
    witness = Witness(crashes.harness, EVERYTHING)
    before = witness.written()
    for name in (PAYER, HOLDER):
        crashes.harness.print_job(name, 7)
    crashes.harness.advance(minutes=31)
    assert runs.run(crashes.order(kill="before sending POST coworkerproducts 1")).killed
    with pytest.raises(RestlessError, match=r"the last fault 2 lines are under way, .*> sending \(sent\)"):
        witness.at_rest()
    with pytest.raises(RestlessError, match=r"a run that had nothing to do wrote: .*'charge_event': 3"):
        witness.unmoved(before)
    two_runs(crashes)
    witness.at_rest()
    witness.look(Counter())
    assert "sale sending when killed, and Nexudus had it not" in witness.visits
    assert not witness.strange
