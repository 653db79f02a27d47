"""What is looked at again in PaperCut where no database is configured: names always, of users only as much as need be.

What belongs here: `assets.extract.papercut_users` of a site with print logs. What does not: reading the logs
(`test_joblogs_files.py`), and what becomes of the users (`test_sync.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from pipeline import ownership
from pipeline.runs import SYNC
from tests.harness import Harness, credit, customer, running, world

PEOPLE = range(101, 125)
USERS = len(PEOPLE) + 1
"""With the member of staff."""

SLICE = 3
"""A twelfth of them, rounded up."""

PROPERTIES = "api.getUserProperties"
LISTING = {"api.getTotalUsers": 1, "api.listUserAccounts": 1}


@pytest.fixture
def site(tmp_path: Path) -> Generator[Harness, None, None]:
    """A site whose users are as they should be."""
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in PEOPLE]
    credits_ = [credit(300 + number, number, 100) for number in PEOPLE]
    with running(tmp_path, world(people, credits_), jobs="print_log") as bridge:
        for _ in range(2):
            sync(bridge)
            bridge.advance(minutes=1)
        yield bridge


def mail(number: int) -> str:
    return f"c{number}@example.com"


def sync(bridge: Harness, only: Iterable[str] = SYNC) -> None:
    outcome = bridge.sync(only=only)
    assert outcome.ok, outcome.failures


def asked(bridge: Harness) -> dict[str, int]:
    """The calls to PaperCut that one more run makes."""
    bridge.forget_calls()
    sync(bridge)
    assert bridge.writes() == {}, "a run that finds nothing must write nothing"
    return bridge.calls()["sites"]["london"]


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
    jobs_are_read = SYNC.index("papercut_print_jobs")
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
    with site.bridge.warehouse.connect() as con:
        assert mail(101) not in set(ownership.owned(con, "london")["username"])
