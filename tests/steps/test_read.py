"""What is looked at again in PaperCut where no database is configured: names always, of users only as much as need be.

What belongs here: `pipeline.steps.read.read_users` of a site with print logs. What does not: reading the logs
(`tests/services/job_files`), and what becomes of the users (`test_sync.py`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from pipeline.dagster.runs import SYNC
from pipeline.store import ownership
from tests.harness import Harness, during, running
from tests.worlds import credit, customer, mail, world

PEOPLE = range(101, 125)
USERS = len(PEOPLE) + 1
"""With the member of staff."""

SLICE = 3
"""A twelfth of them, rounded up."""

PROPERTIES = "api.getUserProperties"
LISTING = {"api.getTotalUsers": 1, "api.listUserAccounts": 1, "api.getConfigValue": 1}
"""The list of names with its count, and the length to which the plan pads passwords."""


@pytest.fixture
def site(tmp_path: Path) -> Generator[Harness, None, None]:
    """A site whose users are as they should be."""
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in PEOPLE]
    credits_ = [credit(300 + number, number, 100) for number in PEOPLE]
    with running(tmp_path, world(people, credits_), jobs="print_log") as harness:
        for _ in range(2):
            sync(harness)
            harness.advance(minutes=1)
        yield harness


def sync(harness: Harness, only: Iterable[str] = SYNC) -> None:
    outcome = harness.sync(only=only)
    assert outcome.ok, outcome.failures


def asked(harness: Harness) -> dict[str, int]:
    """The calls to PaperCut that one more run makes."""
    harness.forget_calls()
    sync(harness)
    assert harness.writes() == {}, "a run that finds nothing must write nothing"
    return harness.calls()["sites"]["london"]


LISTS = ("GET coworkers", "GET coworkerextraservices")


@pytest.mark.parametrize(("late", "other"), [LISTS, LISTS[::-1]])
def test_customers_and_credits_are_read_at_the_same_time(folder: Path, late: str, other: str) -> None:
    with running(folder, world([customer(101), customer(102)], [credit(401, 102, 100)])) as harness:

        def asked() -> None:
            end = time.monotonic() + 1  # the answer is late by more than that
            while not (seen := harness.calls()["nexudus"].get(other)) and time.monotonic() < end:
                time.sleep(0.02)
            assert seen, f"there was no {other} while the answer to {late} was on its way"

        assert during(harness, "nexudus", late, harness.run, asked).ok


def test_a_run_that_finds_nothing_asks_for_a_twelfth_of_the_users(site: Harness) -> None:
    site.print_job(mail(101), 5)
    site.advance(minutes=31)
    for _ in range(2):  # the job is seen; what it left is looked at once more
        sync(site)
        site.advance(minutes=61)
    for run in range(3):
        assert asked(site) == {**LISTING, PROPERTIES: SLICE}, f"run {run}, with a print of this week in the folder"
        site.advance(minutes=61)


@pytest.mark.parametrize("minutes", [1, 2, 60, 61])
def test_every_user_is_looked_at_again_within_twelve_runs(site: Harness, minutes: int) -> None:
    for number in PEOPLE:
        site.papercut("adjustUserAccountBalance", mail(number), 7.0, "by hand")
    for _ in range(12):
        sync(site)
        site.advance(minutes=minutes)
    balances = {name: user["balance"] for name, user in site.users().items() if name != "staff"}
    assert set(balances.values()) == {100}, f"with a run every {minutes} minutes, changed by hand and not seen"


def test_a_balance_that_a_print_lowered_is_seen_in_the_same_run(site: Harness) -> None:
    site.print_job(mail(124), 30)
    calls = asked(site)
    assert calls[PROPERTIES] in {SLICE, SLICE + 1}, "the user who printed, and the slice"
    assert site.users()[mail(124)]["balance"] == 70


def test_a_print_between_the_two_readings_of_a_run_that_died_is_seen_in_the_next(site: Harness) -> None:
    jobs_are_read = SYNC.index("print_jobs")
    sync(site, SYNC[:jobs_are_read])
    site.print_job(mail(124), 30)
    sync(site, SYNC[jobs_are_read : jobs_are_read + 1])
    site.advance(minutes=1)
    asked(site)
    assert site.users()[mail(124)]["balance"] == 70, "the balance before the print and the print were taken together"


def test_a_user_who_is_gone_is_ours_no_longer_although_others_were_seen_long_ago(site: Harness) -> None:
    site.papercut("deleteExistingUser", mail(101))
    site.edit("coworkers", 101, Active=False)
    site.advance(minutes=1)
    sync(site)
    with site.sites.store.connect() as con:
        assert mail(101) not in set(ownership.owned(con, "london")["username"])
