"""What becomes of a planned change of a person when the servers are not as they were when it was planned.

What belongs here: users, flags and marks that somebody else changed, took or removed in between, and writes that fail.
What does not: the plan (`test_plan.py`), the commands (`test_access.py`, `test_adopt.py`) and the ordinary course.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from assets.load.access import set_flags
from assets.load.adoption import mark_user
from pipeline import ownership
from pipeline.access import Change
from pipeline.domain.records import mark
from pipeline.outcomes import Outcome
from pipeline.runs import SYNC
from tests.harness import PIN_LENGTH, Harness, customer, during, running, world

PLANNED, APPLIED = SYNC[:-1], SYNC[-1:]
PAYS = {"PaperCutPayAsYouPrint": True}
FREE = {"PaperCutFreePrinting": True}
PLACE = {"CountryId": 1220, "SimpleTimeZoneId": 2023}  # without them Nexudus takes no edit
STAFF = "kept by staff"


def mail(number: int) -> str:
    return f"c{number}@example.com"


@pytest.fixture
def bridge(folder: Path) -> Generator[Harness, None, None]:
    people = [customer(101, **PAYS, AccessCardId="CARD-1"), customer(102, **PAYS, **PLACE), customer(103, **FREE)]
    with running(folder, world(people), card_number="access_card") as harness:
        assert harness.sync().ok
        yield harness


def apply(bridge: Harness) -> Outcome:
    return bridge.sync(only=APPLIED)


def planned(bridge: Harness, number: int, **edit: object) -> None:
    """A change of a customer, planned and not yet applied."""
    bridge.edit("coworkers", number, **edit)
    assert bridge.sync(only=PLANNED).ok


def said(bridge: Harness) -> list[tuple[str, str, str]]:
    """What became of the rows of the last plan: action, outcome, detail."""
    with bridge.bridge.warehouse.connect() as con:
        return con.execute(
            "SELECT action, outcome, detail FROM papercut_user_sync"
            " WHERE plan_id = (SELECT arg_max(plan_id, happened_at) FROM papercut_user_sync)"
            " ORDER BY happened_at DESC, action"
        ).fetchall()


# Users in PaperCut ----------------------------------------------------------------------------------------------------


def test_a_customer_whose_pin_went_away_since_the_plan_is_not_created(bridge: Harness) -> None:
    bridge.add("coworkers", customer(104, **PAYS))
    assert bridge.sync(only=PLANNED).ok
    bridge.edit("coworkers", 104, AccessPincode="")
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("create", "held")
    assert mail(104) not in bridge.users()


@pytest.mark.parametrize("begun", [False, True])
def test_a_name_that_staff_took_since_the_plan_is_left_to_them(bridge: Harness, begun: bool) -> None:
    bridge.add("coworkers", customer(104, **PAYS))
    if begun:
        bridge.fault("london", "api.addNewInternalUser", "drop_before")
        assert not bridge.sync().ok, "the outcome of the create is not known"
    assert bridge.sync(only=PLANNED).ok
    bridge.papercut("addNewUser", mail(104))
    bridge.papercut("setUserProperty", mail(104), "notes", STAFF)
    before = bridge.users()[mail(104)]
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("create", "failed")
    assert "PaperCut at" in said(bridge)[0][2]
    assert bridge.sync().ok
    assert bridge.users()[mail(104)] == before


def test_a_new_name_that_staff_took_since_the_plan_is_left_to_them(bridge: Harness) -> None:
    planned(bridge, 101, Email="new@example.com")
    bridge.papercut("addNewUser", "new@example.com")
    before = bridge.users()
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("rename", "failed")
    assert bridge.users() == before


def test_a_free_user_is_renamed_with_whatever_balance_it_has(bridge: Harness) -> None:
    bridge.papercut("adjustUserAccountBalance", mail(103), 7.5, "by hand")
    planned(bridge, 103, Email="new@example.com")
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("rename", "done")
    assert bridge.users()["new@example.com"]["balance"] == 7.5


def test_another_way_in_alone_changes_nothing_in_papercut(bridge: Harness) -> None:
    planned(bridge, 103, PaperCutFreePrinting=False, PaperCutPayAsYouPrint=True)
    bridge.forget_calls()
    assert apply(bridge).ok
    assert ("update", "done", "changed access") in said(bridge)
    assert bridge.writes() == {}


def test_a_user_deleted_since_the_plan_ends_the_run_and_the_next_one_makes_it_again(bridge: Harness) -> None:
    planned(bridge, 102, FullName="New Name")
    bridge.papercut("deleteExistingUser", mail(102))
    kind, text = apply(bridge).failures["papercut_user_sync"]
    assert kind == "MissingError"
    assert "PaperCut has no such user" in text
    assert said(bridge)[0][:2] == ("update", "failed")
    assert bridge.sync().ok
    assert bridge.users()[mail(102)]["full_name"] == "New Name"


def test_a_user_made_again_has_the_pin_of_now_although_the_answer_was_lost(bridge: Harness) -> None:
    before = bridge.users()[mail(102)]["pin"]
    bridge.edit("coworkers", 102, Active=False)
    assert bridge.sync().ok
    bridge.edit("coworkers", 102, Active=True, AccessPincode="77777")
    assert mail(102) not in bridge.users()
    bridge.fault("london", "api.addNewInternalUser", "drop_after")
    assert not bridge.sync().ok
    assert bridge.users()[mail(102)]["pin"] == "77777"
    bridge.edit("coworkers", 102, AccessPincode=before)
    bridge.sync()
    assert bridge.users()[mail(102)]["pin"] == before, "the removed user's PIN passed for the new one's"


def test_after_an_error_that_ends_the_run_nobody_else_is_tried_or_ours(bridge: Harness) -> None:
    """A name that was about to be made, and was not, may be made by staff: it is theirs."""
    connections = bridge.settings.site("london").papercut.connections
    new = range(104, 104 + connections + 3)
    for number in new:
        bridge.add("coworkers", customer(number, **PAYS))
    bridge.fault("london", "api.addNewInternalUser", "throttle", times=99, seconds=3600)
    outcome = bridge.sync()
    assert outcome.failures["papercut_user_sync"][0] == "TransientError"
    failed = [detail for _, result, detail in said(bridge) if result == "failed"]
    assert len(failed) == len(new)
    left = [detail for detail in failed if detail.startswith("not tried any more, after: addNewInternalUser")]
    assert len(left) >= len(new) - connections, failed
    with bridge.bridge.warehouse.connect() as con:
        begun = set(ownership.owned(con, "london").filter(state="creating")["username"])
    assert len(begun) == len(new) - len(left)
    bridge.heal()
    staff = next(mail(number) for number in new if mail(number) not in begun)
    bridge.switch(set_internal="honour")
    bridge.papercut("addNewUser", staff)
    bridge.papercut("setUserProperty", staff, "internal", "TRUE")
    bridge.sync()
    users = bridge.users()
    assert users[staff]["notes"] == "", "a user that staff made was taken for ours"
    assert all(mail(number) in users for number in new)


def test_a_change_that_papercut_refuses_is_reported_and_tried_by_the_next_run(bridge: Harness) -> None:
    bridge.switch(duplicate_card="fault")
    planned(bridge, 102, AccessCardId="CARD-1")
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("update", "failed")
    bridge.edit("coworkers", 102, AccessCardId="CARD-2")
    bridge.advance(minutes=1)
    assert bridge.sync().ok
    assert bridge.users()[mail(102)]["card_number"] == "CARD-2"


@pytest.mark.parametrize(("field", "value"), [("notes", STAFF), ("internal", "FALSE")])
def test_a_user_that_staff_took_since_the_plan_is_not_removed(bridge: Harness, field: str, value: str) -> None:
    bridge.switch(set_internal="honour")
    planned(bridge, 102, Active=False)
    bridge.papercut("setUserProperty", mail(102), field, value)
    assert apply(bridge).ok
    assert said(bridge)[0][:2] == ("remove", "held")
    assert mail(102) in bridge.users()


def test_a_stop_that_stands_is_not_written_again(folder: Path) -> None:
    people = [customer(number, **PAYS) for number in range(101, 110)]
    with running(folder, world(people)) as bridge:
        assert bridge.sync().ok
        for number in range(101, 107):
            bridge.edit("coworkers", number, Active=False)
        reasons = [bridge.sync().failures["papercut_user_sync"] for _ in range(2)]
        assert reasons[1][1].startswith("Site london is stopped for remove: 6 removals in this run")
        with bridge.bridge.warehouse.connect() as con:
            stops = con.execute("SELECT count(*) FROM safety_event WHERE state = 'stopped'").fetchone()
        assert stops == (1,)
        assert len(bridge.users()) == 10


def test_a_cap_that_a_person_let_go_of_holds_again_afterwards(folder: Path) -> None:
    people = [customer(number, **PAYS) for number in range(101, 117)]
    with running(folder, world(people)) as bridge:
        assert bridge.sync().ok
        for number in range(101, 107):
            bridge.edit("coworkers", number, Active=False)
        assert not bridge.sync().ok
        bridge.resume("london", "remove")
        assert bridge.sync().ok
        assert len(bridge.users()) == 11, "six were removed, and staff stays"
        bridge.advance(hours=25)
        for number in range(107, 113):
            bridge.edit("coworkers", number, Active=False)
        assert "6 removals in this run" in str(bridge.sync().failures), "to let go once is not to let go for ever"
        assert len(bridge.users()) == 11


def test_a_short_password_minimum_stops_before_anybody_is_changed(bridge: Harness) -> None:
    bridge.papercut("setConfigValue", PIN_LENGTH, "6")
    bridge.add("coworkers", customer(104, **PAYS))
    bridge.forget_calls()
    kind, text = bridge.sync().failures["papercut_user_sync"]
    assert kind == "ConfigError"
    assert "has a minimum password length of '6'; at least 8 is needed" in text
    assert bridge.writes() == {}


@pytest.mark.parametrize("way", ["mode", "tag"])
def test_a_dry_run_plans_and_writes_nothing(bridge: Harness, way: str) -> None:
    bridge.add("coworkers", customer(104, **PAYS))
    bridge.print_job(mail(101), 30)
    bridge.advance(minutes=31)
    if way == "mode":
        bridge.reconfigure({"[nexudus]\n": 'mode = "dry_run"\n[nexudus]\n'})
    bridge.forget_calls()
    outcome = bridge.sync(**({"printbridge/dry_run": "true"} if way == "tag" else {}))
    assert outcome.ok
    assert outcome.metadata["user_sync_plan"]["creates"] == 1
    assert outcome.metadata["nexudus_print_charges"]["dry_run"] is True
    assert bridge.writes() == {}


# Flags in Nexudus -----------------------------------------------------------------------------------------------------

GIVEN = Change(102, FREE)
READ = "GET coworkers"


@pytest.mark.parametrize(
    ("prepare", "outcome", "words", "halts"),
    [
        (lambda bridge: bridge.delete("coworkers", 102), "skipped", "no longer in Nexudus", False),
        (lambda bridge: bridge.edit("coworkers", 102, Archived=True), "skipped", "is archived now", False),
        (lambda bridge: bridge.edit("coworkers", 102, **FREE), "skipped", "has it already", False),
        (lambda bridge: bridge.edit("coworkers", 102, SimpleTimeZoneId=None), "failed", "PUT spaces/coworkers", False),
        (lambda bridge: bridge.fault("nexudus", "PUT coworkers", "drop_before"), "unknown", "is not set yet", False),
        (lambda bridge: bridge.fault("nexudus", "PUT coworkers", "drop_after"), "done", "", False),
        (lambda bridge: bridge.fault("nexudus", READ, "status", times=99, after=2), "unknown", "was done", False),
        (lambda bridge: bridge.fault("nexudus", READ, "status", times=99), "failed", "GET spaces", True),
        (lambda bridge: bridge.fault("nexudus", "PUT coworkers", "throttle", times=99), "failed", "PUT", True),
    ],
    ids=["deleted", "archived", "set already", "refused", "lost", "answer lost", "no proof", "no answer", "throttled"],
)  # fmt: skip
def test_a_flag_is_set_or_it_is_said_why_not(
    bridge: Harness, prepare: Callable[[Harness], None], outcome: str, words: str, halts: bool
) -> None:
    prepare(bridge)
    result = set_flags(bridge.bridge, GIVEN)
    assert (result.outcome, result.halt is not None) == (outcome, halts), result
    assert words in result.detail


def test_a_flag_that_somebody_takes_back_at_once_ends_the_command(bridge: Harness) -> None:
    result = during(
        bridge, "nexudus", "PUT coworkers", lambda: set_flags(bridge.bridge, GIVEN),
        lambda: bridge.edit("coworkers", 102, PaperCutFreePrinting=False),
    )  # fmt: skip
    assert (result.outcome, result.halt is not None) == ("failed", True)
    assert "was saved, but did not set PaperCutFreePrinting" in result.detail


# Our mark -------------------------------------------------------------------------------------------------------------

HAND = "by.hand@example.com"


def by_hand(bridge: Harness, notes: str) -> None:
    bridge.switch(set_internal="honour")
    bridge.papercut("addNewUser", HAND)
    bridge.papercut("setUserProperty", HAND, "internal", "TRUE")
    bridge.papercut("setUserProperty", HAND, "notes", notes)


@pytest.mark.parametrize(
    ("notes", "lost", "expected", "left"),
    [
        ("desk 4", None, ("done", False), f"desk 4 {mark('london', 7)}"),
        (mark("london", 7), None, ("done", False), mark("london", 7)),
        (mark("london", 8), None, ("held", False), mark("london", 8)),
        ("", "api.setUserProperties", ("unknown", False), ""),
        ("", "api.getUserProperties", ("failed", True), ""),
    ],
    ids=["marked", "marked before", "of another", "lost", "no answer"],
)  # fmt: skip
def test_a_mark_stands_or_it_is_said_why_not(
    bridge: Harness, notes: str, lost: str | None, expected: tuple[str, bool], left: str
) -> None:
    by_hand(bridge, notes)
    if lost:
        bridge.fault("london", lost, "drop_before", times=99)
    result = mark_user(bridge.bridge, "london", HAND, 7)
    assert (result.outcome, result.halt is not None) == expected, result
    assert bridge.users()[HAND]["notes"] == left


def test_notes_that_staff_write_at_the_same_moment_are_left_and_reported(bridge: Harness) -> None:
    by_hand(bridge, "")
    result = during(
        bridge, "london", "api.setUserProperties", lambda: mark_user(bridge.bridge, "london", HAND, 7),
        lambda: bridge.papercut("setUserProperty", HAND, "notes", STAFF),
    )  # fmt: skip
    assert (result.outcome, result.halt) == ("unknown", None)
    assert bridge.users()[HAND]["notes"] == STAFF


def test_a_user_that_is_gone_is_not_marked(bridge: Harness) -> None:
    result = mark_user(bridge.bridge, "london", "nobody@example.com", 7)
    assert (result.outcome, result.halt) == ("failed", None)
