"""What becomes of a planned change of a person when the servers are not as they were when it was planned.

What belongs here: users and marks that somebody else changed, took or removed in between, and writes that fail. What
does not: flags (`test_flags.py`), the plan (`test_plan.py`), the commands (`test_access.py`, `test_adopt.py`) and the
ordinary course.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.dagster.outcomes import Outcome
from pipeline.dagster.runs import SYNC
from pipeline.effects.users import mark_user
from pipeline.services.papercut.records import mark
from pipeline.services.printing import Setup
from pipeline.store import ownership
from tests.harness import Harness, during, running
from tests.worlds import PIN_LENGTH, customer, mail, world

PLANNED, APPLIED = SYNC[:-1], SYNC[-1:]
PAYS = {"PaperCutPayAsYouPrint": True}
FREE = {"PaperCutFreePrinting": True}
PLACE = {"CountryId": 1220, "SimpleTimeZoneId": 2023}  # without them Nexudus takes no edit
STAFF = "kept by staff"


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    people = [customer(101, **PAYS, AccessCardId="CARD-1"), customer(102, **PAYS, **PLACE), customer(103, **FREE)]
    with running(folder, world(people), card_number="access_card") as begun:
        assert begun.sync().ok
        yield begun


def apply(harness: Harness) -> Outcome:
    return harness.sync(only=APPLIED)


def planned(harness: Harness, number: int, **edit: object) -> None:
    """A change of a customer, planned and not yet applied."""
    harness.edit("coworkers", number, **edit)
    assert harness.sync(only=PLANNED).ok


def said(harness: Harness) -> list[tuple[str, str, str]]:
    """What became of the rows of the last plan: action, outcome, detail."""
    with harness.sites.store.connect() as con:
        return con.execute(
            "SELECT action, outcome, detail FROM print_user_sync"
            " WHERE plan_id = (SELECT arg_max(plan_id, happened_at) FROM print_user_sync)"
            " ORDER BY happened_at DESC, action"
        ).fetchall()


# Users in PaperCut ----------------------------------------------------------------------------------------------------


def test_a_customer_whose_pin_went_away_since_the_plan_is_not_created(harness: Harness) -> None:
    harness.add("coworkers", customer(104, **PAYS))
    assert harness.sync(only=PLANNED).ok
    harness.edit("coworkers", 104, AccessPincode="")
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("create", "held")
    assert mail(104) not in harness.users()


@pytest.mark.parametrize("begun", [False, True])
def test_a_name_that_staff_took_since_the_plan_is_left_to_them(harness: Harness, begun: bool) -> None:
    harness.add("coworkers", customer(104, **PAYS))
    if begun:
        harness.fault("london", "api.addNewInternalUser", "drop_before")
        assert not harness.sync().ok, "the outcome of the create is not known"
    assert harness.sync(only=PLANNED).ok
    harness.papercut("addNewUser", mail(104))
    harness.papercut("setUserProperty", mail(104), "notes", STAFF)
    before = harness.users()[mail(104)]
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("create", "failed")
    assert "PaperCut at" in said(harness)[0][2]
    assert harness.sync().ok
    assert harness.users()[mail(104)] == before


def test_a_new_name_that_staff_took_since_the_plan_is_left_to_them(harness: Harness) -> None:
    planned(harness, 101, Email="new@example.com")
    harness.papercut("addNewUser", "new@example.com")
    before = harness.users()
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("rename", "failed")
    assert harness.users() == before


def test_a_free_user_is_renamed_with_whatever_balance_it_has(harness: Harness) -> None:
    harness.papercut("adjustUserAccountBalance", mail(103), 7.5, "by hand")
    planned(harness, 103, Email="new@example.com")
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("rename", "done")
    assert harness.users()["new@example.com"]["balance"] == 7.5


def test_another_way_in_alone_changes_nothing_in_papercut(harness: Harness) -> None:
    planned(harness, 103, PaperCutFreePrinting=False, PaperCutPayAsYouPrint=True)
    harness.forget_calls()
    assert apply(harness).ok
    assert ("update", "done", "changed access") in said(harness)
    assert harness.writes() == {}


def test_a_user_deleted_since_the_plan_ends_the_run_and_the_next_one_makes_it_again(harness: Harness) -> None:
    planned(harness, 102, FullName="New Name")
    harness.papercut("deleteExistingUser", mail(102))
    kind, text = apply(harness).failures["print_user_sync"]
    assert kind == "MissingError"
    assert "PaperCut has no such user" in text
    assert said(harness)[0][:2] == ("update", "failed")
    assert harness.sync().ok
    assert harness.users()[mail(102)]["full_name"] == "New Name"


def test_a_user_made_again_has_the_pin_of_now_although_the_answer_was_lost(harness: Harness) -> None:
    before = harness.users()[mail(102)]["pin"]
    harness.edit("coworkers", 102, Active=False)
    assert harness.sync().ok
    harness.edit("coworkers", 102, Active=True, AccessPincode="77777")
    assert mail(102) not in harness.users()
    harness.fault("london", "api.addNewInternalUser", "drop_after")
    assert not harness.sync().ok
    assert harness.users()[mail(102)]["pin"] == "77777"
    harness.edit("coworkers", 102, AccessPincode=before)
    harness.sync()
    assert harness.users()[mail(102)]["pin"] == before, "the removed user's PIN passed for the new one's"


def test_after_an_error_that_ends_the_run_nobody_else_is_tried_or_ours(harness: Harness) -> None:
    """A name that was about to be made, and was not, may be made by staff: it is theirs."""
    connections = harness.settings.site("london").papercut.connections
    new = range(104, 104 + connections + 3)
    for number in new:
        harness.add("coworkers", customer(number, **PAYS))
    harness.fault("london", "api.addNewInternalUser", "throttle", times=99, seconds=3600)
    outcome = harness.sync()
    assert outcome.failures["print_user_sync"][0] == "TransientError"
    failed = [detail for _, result, detail in said(harness) if result == "failed"]
    assert len(failed) == len(new)
    left = [detail for detail in failed if detail.startswith("not tried any more, after: addNewInternalUser")]
    assert len(left) >= len(new) - connections, failed
    with harness.sites.store.connect() as con:
        begun = set(ownership.owned(con, "london").filter(state="creating")["username"])
    assert len(begun) == len(new) - len(left)
    harness.heal()
    staff = next(mail(number) for number in new if mail(number) not in begun)
    harness.switch(set_internal="honour")
    harness.papercut("addNewUser", staff)
    harness.papercut("setUserProperty", staff, "internal", "TRUE")
    harness.sync()
    users = harness.users()
    assert users[staff]["notes"] == "", "a user that staff made was taken for ours"
    assert all(mail(number) in users for number in new)


def test_a_change_that_papercut_refuses_is_reported_and_tried_by_the_next_run(harness: Harness) -> None:
    harness.switch(duplicate_card="fault")
    planned(harness, 102, AccessCardId="CARD-1")
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("update", "failed")
    harness.edit("coworkers", 102, AccessCardId="CARD-2")
    harness.advance(minutes=1)
    assert harness.sync().ok
    assert harness.users()[mail(102)]["card_number"] == "CARD-2"


def test_a_user_whose_settings_are_refused_after_it_was_made_is_completed_by_the_next_run(harness: Harness) -> None:
    harness.add("coworkers", customer(104, **PAYS))
    harness.fault("london", "api.setUserProperties", "was_successful_false", style="fault")
    assert harness.sync().ok
    assert said(harness)[0][:2] == ("create", "failed")
    assert "The change could not be saved" in said(harness)[0][2]
    made = harness.users()[mail(104)]
    assert made["notes"] == "", "it is there, without our mark"
    assert harness.sync().ok
    completed = harness.users()[mail(104)]
    assert (completed["notes"], completed["pin"]) == (mark("london", 104), made["pin"])
    assert completed["restricted"] is False, "who pays as they print is never stopped at 0"


def test_a_renamed_user_whose_new_fields_are_refused_keeps_the_new_name_and_gets_them_by_the_next_run(
    harness: Harness,
) -> None:
    planned(harness, 101, Email="new@example.com", FullName="New Name")
    harness.fault("london", "api.setUserProperties", "was_successful_false", style="fault")
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("rename", "failed")
    assert "The change could not be saved" in said(harness)[0][2]
    assert harness.users()["new@example.com"]["full_name"] == "Customer 101"
    with harness.sites.store.connect() as con:
        assert "new@example.com" in ownership.owned(con, "london")["username"], "it was made, so it is ours"
    assert mail(101) not in harness.users()
    assert harness.sync().ok
    assert harness.users()["new@example.com"]["full_name"] == "New Name"
    assert mail(101) not in harness.users(), "the rename was taken for one that was not made"


def test_a_user_that_is_gone_when_it_is_to_be_removed_is_removed(harness: Harness) -> None:
    planned(harness, 102, Active=False)
    harness.papercut("deleteExistingUser", mail(102))
    harness.forget_calls()
    assert apply(harness).ok
    assert said(harness)[0] == ("remove", "done", "the user was gone already")
    assert harness.writes() == {}
    with harness.sites.store.connect() as con:
        assert mail(102) not in ownership.owned(con, "london")["username"].to_list()


def test_a_password_whose_answer_was_lost_is_written_again(harness: Harness) -> None:
    """Nobody can read a password: one that may have been written, or not, counts as one that is not known."""
    before = harness.users()[mail(102)]["password"]
    harness.papercut("setConfigValue", PIN_LENGTH, "12")
    harness.fault("london", "api.setUserProperties", "drop_before", times=99)
    assert not harness.sync().ok
    assert harness.users()[mail(102)]["password"] == before
    with harness.sites.store.connect() as con:
        known = ownership.owned(con, "london").filter(username=mail(102))
    assert known["password_length"].to_list() == [None]
    harness.heal()
    assert harness.sync().ok
    assert len(harness.users()[mail(102)]["password"]) == 12
    with harness.sites.store.connect() as con:
        known = ownership.owned(con, "london").filter(username=mail(102))
    assert known["password_length"].to_list() == [12]


@pytest.mark.parametrize(("field", "value"), [("notes", STAFF), ("internal", "FALSE")])
def test_a_user_that_staff_took_since_the_plan_is_not_removed(harness: Harness, field: str, value: str) -> None:
    harness.switch(set_internal="honour")
    planned(harness, 102, Active=False)
    harness.papercut("setUserProperty", mail(102), field, value)
    assert apply(harness).ok
    assert said(harness)[0][:2] == ("remove", "held")
    assert mail(102) in harness.users()


def test_a_stop_that_stands_is_not_written_again(folder: Path) -> None:
    people = [customer(number, **PAYS) for number in range(101, 110)]
    with running(folder, world(people)) as harness:
        assert harness.sync().ok
        for number in range(101, 107):
            harness.edit("coworkers", number, Active=False)
        reasons = [harness.sync().failures["print_user_sync"] for _ in range(2)]
        assert reasons[1][1].startswith("Site london is stopped for remove: 6 removals in this run")
        with harness.sites.store.connect() as con:
            stops = con.execute("SELECT count(*) FROM stop_event WHERE state = 'stopped'").fetchone()
        assert stops == (1,)
        assert len(harness.users()) == 10


def test_a_cap_that_a_person_let_go_of_holds_again_afterwards(folder: Path) -> None:
    people = [customer(number, **PAYS) for number in range(101, 117)]
    with running(folder, world(people)) as harness:
        assert harness.sync().ok
        for number in range(101, 107):
            harness.edit("coworkers", number, Active=False)
        assert not harness.sync().ok
        harness.resume("london", "remove")
        assert harness.sync().ok
        assert len(harness.users()) == 11, "six were removed, and staff stays"
        harness.advance(hours=25)
        for number in range(107, 113):
            harness.edit("coworkers", number, Active=False)
        assert "6 removals in this run" in str(harness.sync().failures), "to let go once is not to let go for ever"
        assert len(harness.users()) == 11


def test_a_short_password_minimum_stops_before_anybody_is_changed(harness: Harness) -> None:
    harness.papercut("setConfigValue", PIN_LENGTH, "6")
    harness.add("coworkers", customer(104, **PAYS))
    harness.forget_calls()
    kind, text = harness.sync().failures["print_user_sync"]
    assert kind == "ConfigError"
    assert "has a minimum password length of '6'; at least 8 is needed" in text
    assert harness.writes() == {}


def test_a_server_is_asked_whether_it_is_ready_for_its_users(harness: Harness) -> None:
    """The first question is the door; a minimum that would refuse our passwords is found before anybody is written."""

    def found() -> dict[str, list[str]]:
        setup = Setup("email", 0, lambda: 3, lambda: 3)
        asked = harness.sites["london"].printing.questions(setup)
        assert asked[0][0] == "C6"
        return {check: [finding.status for finding in ask()] for check, ask in asked}

    before = found()
    assert before["C6"] == ["pass"]
    harness.papercut("setConfigValue", PIN_LENGTH, "6")
    after = found()
    assert [check for check in before if before[check] != after[check]] == ["C8"]


@pytest.mark.parametrize("way", ["mode", "tag"])
def test_a_dry_run_plans_and_writes_nothing(harness: Harness, way: str) -> None:
    harness.add("coworkers", customer(104, **PAYS))
    harness.print_job(mail(101), 30)
    harness.advance(minutes=31)
    if way == "mode":
        harness.reconfigure({"[nexudus]\n": 'mode = "dry_run"\n[nexudus]\n'})
    harness.forget_calls()
    outcome = harness.sync(**({"printbridge/dry_run": "true"} if way == "tag" else {}))
    assert outcome.ok
    assert outcome.metadata["user_sync_plan"]["creates"] == 1
    assert outcome.metadata["nexudus_print_charges"]["dry_run"] is True
    assert harness.writes() == {}


# Our mark -------------------------------------------------------------------------------------------------------------

HAND = "by.hand@example.com"


def by_hand(harness: Harness, notes: str) -> None:
    harness.switch(set_internal="honour")
    harness.papercut("addNewUser", HAND)
    harness.papercut("setUserProperty", HAND, "internal", "TRUE")
    harness.papercut("setUserProperty", HAND, "notes", notes)


@pytest.mark.parametrize(
    ("notes", "lost", "expected", "left"),
    [
        ("desk 4", None, ("done", False), f"desk 4 {mark('london', 7)}"),
        (mark("london", 7), None, ("done", False), mark("london", 7)),
        (mark("london", 8), None, ("held", False), mark("london", 8)),
        ("", "api.setUserProperties", ("unknown", False), ""),
        ("", "api.getUserProperties", ("undone", True), ""),
    ],
    ids=["marked", "marked before", "of another", "lost", "no answer"],
)  # fmt: skip
def test_a_mark_stands_or_it_is_said_why_not(
    harness: Harness, notes: str, lost: str | None, expected: tuple[str, bool], left: str
) -> None:
    by_hand(harness, notes)
    if lost:
        harness.fault("london", lost, "drop_before", times=99)
    result = mark_user(harness.sites["london"], HAND, 7)
    assert (result.kind, result.halt is not None) == expected, result
    assert harness.users()[HAND]["notes"] == left


def test_notes_that_staff_write_at_the_same_moment_are_left_and_reported(harness: Harness) -> None:
    by_hand(harness, "")
    result = during(
        harness, "london", "api.setUserProperties", lambda: mark_user(harness.sites["london"], HAND, 7),
        lambda: harness.papercut("setUserProperty", HAND, "notes", STAFF),
    )  # fmt: skip
    assert (result.kind, result.halt) == ("unsure", None)
    assert harness.users()[HAND]["notes"] == STAFF


def test_a_user_that_is_gone_is_not_marked(harness: Harness) -> None:
    result = mark_user(harness.sites["london"], "nobody@example.com", 7)
    assert (result.kind, result.halt) == ("refused", None)
