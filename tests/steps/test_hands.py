"""What people do in PaperCut and in Nexudus by hand, and what a run makes of it, against real servers.

What belongs here: removals that drip, permissions that a person gives, users that staff rename, unmark or adjust, and
settings of PaperCut that make a write void. What does not: the ordinary course (`test_sync.py`), the rules alone
(`tests/domain/people/test_hands.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from pipeline.domain.people import writes
from pipeline.errors import UnsafeError
from pipeline.operations import resume
from pipeline.operations.causes import causes
from pipeline.operations.explain import stories
from pipeline.store import jobs, stops
from tests.harness import Harness, running
from tests.worlds import PIN_LENGTH, credit, customer, world

PAYS = {"PaperCutPayAsYouPrint": True}


def mail(number: int) -> str:
    return f"c{number}@example.com"


def people(count: int) -> list[dict[str, object]]:
    return [customer(number, **PAYS) for number in range(101, 101 + count)]


def suspend(harness: Harness, first: int, count: int) -> None:
    for number in range(first, first + count):
        harness.edit("coworkers", number, Active=False)


# Removals that drip ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "drop_after", "late_commit"])
def test_removals_that_drip_stop_before_the_eleventh_whether_they_are_answered_or_not(
    folder: Path, fault: str | None
) -> None:
    """A lost answer is a removal that may have happened, so it counts against the cap of a day."""
    with running(folder, world(people(40))) as harness:
        outcome = harness.sync()
        assert outcome.ok
        for first in range(101, 117, 4):
            suspend(harness, first, 4)
            if fault:
                harness.fault("london", "api.deleteExistingUser", fault, times=4, seconds=1)
            outcome = harness.sync()
            harness.advance(minutes=5)
        assert len(harness.users()) == 1 + 40 - 8, "a third four would have made twelve of the ten that may go in a day"
        assert "12 removals in 24 hours with this run" in str(outcome.failures)


def test_a_removal_that_papercut_refuses_does_not_count(folder: Path) -> None:
    with running(folder, world(people(40))) as harness:
        assert harness.sync().ok
        suspend(harness, 101, 5)
        for _ in range(4):
            harness.fault("london", "api.getUserProperties", "status", code=401, times=99)
            harness.sync()
            harness.heal()
        assert len(harness.users()) == 41
        assert harness.sync().ok
        assert len(harness.users()) == 36


# What a person allows -------------------------------------------------------------------------------------------------


def restore(harness: Harness, first: int, count: int) -> None:
    for number in range(first, first + count):
        harness.edit("coworkers", number, Active=True)


def stop_events(harness: Harness, phase: str) -> list[tuple[str, str]]:
    with harness.sites.store.connect() as con:
        return con.execute("SELECT state, reason FROM stop_event WHERE phase = ? ORDER BY n", [phase]).fetchall()


@pytest.fixture
def forty(folder: Path) -> Generator[Harness, None, None]:
    """Forty users of ours, of which six are to go at once: one more than the cap."""
    with running(folder, world(people(40))) as harness:
        assert harness.sync().ok
        suspend(harness, 101, 6)
        assert "6 removals in this run" in str(harness.sync().failures)
        yield harness


def test_a_resumption_that_was_not_needed_does_not_stay_armed(forty: Harness) -> None:
    restore(forty, 101, 6)
    forty.resume("london", "remove")
    assert forty.sync().ok
    assert stop_events(forty, "remove")[-1][0] == "open", "a quiet run uses it up"
    forty.advance(days=6)
    suspend(forty, 101, 30)
    assert "30 removals in this run" in str(forty.sync().failures)
    assert len(forty.users()) == 41, "nobody has looked at these thirty"


def test_a_resumption_lets_through_the_plan_that_was_shown_and_no_other(forty: Harness) -> None:
    allowed = resume.stopped(forty.sites["london"], "remove")
    assert (
        "To resume allows 6 removals for one day, and no other: 6 customers (101, 102, 103, 104, 105, ...)"
        in (allowed["remove"])
    )
    forty.resume("london", "remove")
    suspend(forty, 107, 1)
    text = str(forty.sync().failures)
    assert "The plan has changed since the site was resumed: 6 rows were allowed then, and these are 7 others" in text
    assert len(forty.users()) == 41
    forty.resume("london", "remove")
    assert forty.sync().ok
    assert len(forty.users()) == 34
    assert [state for state, _ in stop_events(forty, "remove")] == ["stopped", "resumed", "stopped", "resumed", "open"]


def test_other_changes_in_the_plan_do_not_void_a_resumption(forty: Harness) -> None:
    forty.resume("london", "remove")
    forty.add("coworkers", customer(301, **PAYS))
    forty.print_job(mail(120), 30)
    assert forty.sync().ok
    assert len(forty.users()) == 36


def test_a_resumption_holds_for_a_day(forty: Harness) -> None:
    forty.resume("london", "remove")
    forty.advance(hours=25)
    assert "was not used" in str(forty.sync().failures)
    assert len(forty.users()) == 41


def test_nothing_is_resumed_where_the_plan_has_changed_since_it_was_shown(forty: Harness) -> None:
    site = forty.sites["london"]
    shown = resume.stopped(site)
    suspend(forty, 107, 1)
    forty.sync()
    with pytest.raises(UnsafeError, match="has changed since it was shown"):
        resume.resume(site, shown, "a test")
    resume.resume(site, resume.stopped(site), "a test")
    assert forty.sync().ok


def test_a_resumption_of_charges_is_used_up_by_the_first_run_and_lapses_after_a_day(folder: Path) -> None:
    with running(folder, world(people(2))) as harness:
        assert harness.sync().ok
        stop = partial(stops.record, site="london", phase="charges", state="stopped", reason="7 cents of a day")
        harness.sites.store.commit(lambda con: stop(con, at=harness.sites.clock()))
        assert "To resume lets the next run charge" in resume.stopped(harness.sites["london"])["charges"]
        harness.resume("london", "charges")
        harness.print_job(mail(101), 30)
        harness.advance(hours=25)
        text = str(harness.sync().failures)
        assert "holds for one day and was not used" in text
        assert harness.sales() == []
        harness.resume("london", "charges")
        assert harness.sync().ok
        assert [sale["Quantity"] for sale in harness.sales()] == [30]
        assert stop_events(harness, "charges")[-1][0] == "open"


# Access before decoration ---------------------------------------------------------------------------------------------


def test_a_restriction_and_a_pin_do_not_wait_for_a_name_that_papercut_refuses(folder: Path) -> None:
    """Every second call that sets properties is refused: the one for the name, behind the ones for access."""
    with running(folder, world([customer(101, **PAYS)], [credit(401, 101, 50)])) as harness:
        assert harness.sync().ok
        harness.edit("coworkers", 101, FullName="Other", PaperCutPayAsYouPrint=False, AccessPincode="77777")
        harness.fault("london", "api.setUserProperties", "status", code=401, times=99, after=2)
        harness.sync()
        user = harness.users()[mail(101)]
        assert (user["restricted"], user["pin"], user["full_name"]) == (True, "77777", "Customer 101")


def test_an_email_change_over_its_cap_does_not_delay_a_restriction(folder: Path) -> None:
    numbers = range(101, 109)
    credits_ = [credit(number + 300, number, 50) for number in numbers]
    with running(folder, world(people(8), credits_)) as harness:
        assert harness.sync().ok
        for number in numbers:
            harness.edit("coworkers", number, Email=f"new{number}@example.com", PaperCutPayAsYouPrint=False)
        assert "8 renames and e-mail changes" in str(harness.sync().failures)
        users = harness.users()
        assert all(users[mail(number)]["restricted"] for number in numbers)
        harness.resume("london", "rename")
        assert harness.sync().ok, "what was set before the rename is no part of what was allowed"
        assert all(f"new{number}@example.com" in harness.users() for number in numbers)


def test_a_name_with_control_characters_is_cleaned_and_settles(folder: Path) -> None:
    with running(folder, world([customer(101, **PAYS, FullName=" Ann\u000bLee\u0085 " + "x" * 300)])) as harness:
        assert harness.sync().ok
        name = harness.users()[mail(101)]["full_name"]
        assert name == ("Ann Lee  " + "x" * 300)[:254]
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}


# Users that staff rename or copy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["database", "print_log"])
def test_a_user_that_staff_rename_stays_ours_and_is_charged_once(folder: Path, source: str) -> None:
    with running(folder, world(people(2)), jobs=source) as harness:
        assert harness.sync().ok
        harness.papercut("renameUserAccount", mail(101), "ann")
        harness.print_job("ann", 30)
        harness.advance(minutes=31)
        assert harness.sync().ok
        assert set(harness.users()) == {mail(101), mail(102), "staff"}, "nobody gets a second user"
        assert list(harness.events().values()) == [["sale 30 confirmed"]]
        assert [(sale["CoworkerId"], sale["Quantity"]) for sale in harness.sales()] == [(101, 30)]
        (story,) = stories([harness.sites["london"]], "101")
        assert any(f"rename done: renamed to {mail(101)}" in told for told in story.sentences), story.sentences
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}


def test_a_user_that_staff_rename_leaves_with_its_customer(folder: Path) -> None:
    with running(folder, world(people(2))) as harness:
        assert harness.sync().ok
        harness.papercut("renameUserAccount", mail(101), "ann")
        suspend(harness, 101, 1)
        assert harness.sync().ok
        assert set(harness.users()) == {mail(102), "staff"}


def test_nobody_gets_a_second_user_beside_one_with_the_mark_that_cannot_be_told_for_sure(folder: Path) -> None:
    with running(folder, world(people(1))) as harness:
        assert harness.sync().ok
        harness.papercut("renameUserAccount", mail(101), "ann")
        harness.papercut("setUserProperty", "ann", "email", "ann@elsewhere.example")
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}
        plan = harness.sites.store.read("user_sync_plan", "london")
        assert plan.select("action", "code").rows() == [("hold", "lost")]
        assert "user ann has our mark for customer 101" in plan["reason"][0]
        harness.papercut("renameUserAccount", "ann", mail(101))
        assert harness.sync().ok
        assert harness.users()[mail(101)]["email"] == mail(101), "ours again, by its name and its mark"


# The length of passwords ----------------------------------------------------------------------------------------------


def test_a_longer_minimum_password_writes_every_password_again_once(folder: Path) -> None:
    with running(folder, world(people(3))) as harness:
        assert harness.sync().ok
        harness.papercut("setConfigValue", PIN_LENGTH, "10")
        harness.forget_calls()
        assert harness.sync().ok
        assert {user["password"] for name, user in harness.users().items() if name != "staff"} == {
            "0000010101", "0000010102", "0000010103",
        }  # fmt: skip
        assert harness.calls()["sites"]["london"]["api.getConfigValue"] <= 2, "one call for a run, not one for a user"
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}


def test_a_password_whose_answer_was_lost_is_written_again(folder: Path) -> None:
    with running(folder, world(people(1))) as harness:
        assert harness.sync().ok
        harness.papercut("setConfigValue", PIN_LENGTH, "10")
        harness.fault("london", "api.setUserProperties", "drop_before", times=1)
        assert not harness.sync().ok
        assert harness.sync().ok
        assert harness.users()[mail(101)]["password"] == "0000010101"


# Balances that fall, and changes without effect -----------------------------------------------------------------------


def plan_of(harness: Harness) -> list[tuple[str, str]]:
    return harness.sites.store.read("user_sync_plan", "london").select("action", "code").rows()


def test_a_balance_that_staff_lower_is_held_and_told_until_a_person_lets_it_go(folder: Path) -> None:
    with running(folder, world([customer(101)], [credit(1, 101, 100)])) as harness:
        assert harness.sync().ok
        assert harness.sync().ok
        harness.papercut("adjustUserAccountBalance", mail(101), -30.0, "by hand", "")
        harness.add("coworkers", customer(102, **PAYS))
        harness.forget_calls()
        assert harness.sync().ok, "nobody else waits for it"
        assert harness.users()[mail(101)]["balance"] == 70
        assert plan_of(harness) == [("create", None), ("hold", "unlogged")], "its job may still come into the log"
        harness.advance(hours=2)
        assert harness.sync().ok
        assert plan_of(harness) == [("hold", "fell")]
        [cause] = [each for each in causes(harness.sites, []) if each.kind == "user held: balance fell"]
        assert "the balance is 70, 30 lower than the jobs of the log" in cause.facts[0]
        assert "`printbridge resume london balances`" in cause.remedy
        shown = resume.stopped(harness.sites["london"])
        assert "1 balance that fell for one day" in shown["balances"]
        harness.resume("london", "balances")
        assert harness.sync().ok
        assert harness.users()[mail(101)]["balance"] == 100
        assert harness.sync().ok
        assert plan_of(harness) == []
        harness.papercut("adjustUserAccountBalance", mail(101), -5.0, "by hand", "")
        assert harness.sync().ok
        assert harness.users()[mail(101)]["balance"] == 95, "what was let go once is not let go for ever"


def test_a_job_made_anonymous_before_it_is_paid_is_not_given_back(folder: Path) -> None:
    with running(folder, world([customer(101)], [credit(1, 101, 100)])) as harness:
        assert harness.sync().ok
        assert harness.sync().ok
        job = harness.print_job(mail(101), 30)
        harness.advance(minutes=1)
        assert harness.sync().ok
        with harness.sites.store.connect() as con:  # as the log has it after Options > Advanced > Anonymize jobs
            stored = con.table("print_jobs").pl()
        again = stored.with_columns(username=pl.lit("anonymous"), revision=pl.col("revision") + 1).with_columns(
            first_seen_at=pl.lit(harness.sites.clock(), stored.schema["first_seen_at"])
        )
        assert again["job_id"].to_list() == [str(job["job_id"])]
        harness.sites.store.commit(lambda con: jobs.append(con, again))
        assert harness.sync(only=["print_users", "print_accounts", "user_sync_plan", "print_user_sync"]).ok
        assert harness.users()[mail(101)]["balance"] == 70


def test_members_who_print_are_never_held(folder: Path) -> None:
    with running(folder, world(people(3), [credit(1, 101, 100)])) as harness:
        assert harness.sync().ok
        for minutes in (1, 31, 61, 1, 1):
            harness.print_job(mail(101), 7)
            harness.print_job(mail(102), 9)
            harness.advance(minutes=minutes)
            assert harness.sync().ok
            assert "hold" not in [action for action, _ in plan_of(harness)]
        harness.refund(1)
        harness.advance(minutes=1)
        assert harness.sync().ok
        assert harness.sync().ok
        assert plan_of(harness) == []


def test_a_change_that_papercut_takes_and_does_not_carry_out_is_held_after_three_times(folder: Path) -> None:
    with running(folder, world(people(1))) as harness:
        assert harness.sync().ok

        def undo() -> None:
            harness.papercut("setUserProperty", mail(101), "full-name", "Somebody Else")

        for _ in range(writes.TRIES):
            undo()
            assert harness.sync().ok
            assert harness.users()[mail(101)]["full_name"] != "Somebody Else"
        undo()
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}
        assert plan_of(harness) == [("hold", "no_effect")]
        [cause] = [each for each in causes(harness.sites, []) if each.kind == "user held: no effect"]
        assert "said yes 3 times" in cause.facts[0]
        assert "(full_name)" in cause.facts[0]
        harness.resume("london", "writes")
        assert harness.sync().ok
        assert harness.users()[mail(101)]["full_name"] != "Somebody Else"
        assert harness.sync().ok
        assert plan_of(harness) == []
