"""Users and customers, walked: what a cause says to do is done in Nexudus, in PaperCut or here, and then it ends.

What belongs here: remedies of the user sync and of the records behind it. What does not: money (`test_held.py`,
`test_books.py`), and stops of removals and renames (`tests/steps/test_hands.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import pytest

from pipeline.dagster.runs import SYNC
from pipeline.operations import adopt
from pipeline.operations.held import accept
from tests.harness import Harness, telling
from tests.operations.remedies import stories
from tests.operations.remedies.stories import sentences, unexplained
from tests.worlds import credit, customer, mail, world

CREDITS = "coworkerextraservices"
PAYS = {"PaperCutPayAsYouPrint": True}
run = partial(stories.run, only=SYNC)
walked = partial(stories.walked, only=SYNC)


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    people = [*(customer(number, **PAYS) for number in range(101, 107)), customer(201), customer(202)]
    with telling(world(people, [credit(501, 201, 100), credit(502, 202, 100)]), max_credits=1000) as harness:
        for _ in range(2):
            run(harness)
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    """Nothing needs a person, before and after."""
    assert sentences(whole) == []
    yield whole
    assert sentences(whole) == []


def plan(harness: Harness) -> list[str]:
    """What `printbridge plan` holds, in words."""
    rows = harness.sites.store.read("user_sync_plan", "london").filter(action="hold")
    return rows["reason"].to_list()


def adopted(harness: Harness) -> None:
    """What `printbridge adopt --site london --apply` does."""
    run(harness)
    found = adopt.survey(harness.sites["london"]).to_dicts()
    results = adopt.carry_out(harness.sites["london"], [row for row in found if row["refusal"] is None])
    assert [each.outcome for each in results] == ["done"], results


# --- records ----------------------------------------------------------------------------------------------------------


def test_records_that_cannot_be_read_and_customers_without_a_pin_are_put_right_in_nexudus(harness: Harness) -> None:
    harness.edit("coworkers", 101, Active=None)
    harness.add("coworkers", customer(121, AccessPincode="", **PAYS))
    run(harness)
    with walked(harness, "unreadable records") as odd, walked(harness, "customer left out") as faulty:
        assert "Customer 101: Active" in odd.facts[0]
        assert "Customer 121: the customer has no PIN; set one in Nexudus under Access" in faulty.facts[0]
        harness.edit("coworkers", 101, Active=True)
        harness.edit("coworkers", 121, AccessPincode="90121")
    assert {mail(101), mail(121)} <= set(harness.users())


def test_a_user_that_cannot_be_read_is_put_right_in_papercut(harness: Harness) -> None:
    balance = harness.users()[mail(102)]["balance"]
    harness.papercut("setUserAccountBalance", mail(102), 1e15, "a slip", "")
    run(harness)
    with walked(harness, "unreadable users") as cause:
        assert "balance" in cause.facts[0]
        harness.papercut("setUserAccountBalance", mail(102), float(balance), "put right", "")
    assert mail(102) in harness.users()


# --- users that wait --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["adopt", "rename"])
def test_a_user_of_a_name_that_is_not_ours_is_taken_over_or_gets_another_name(harness: Harness, way: str) -> None:
    number = 130 + len(way)
    harness.papercut("addNewInternalUser", mail(number), "word-12345", "Somebody", mail(number), "", "")
    harness.add("coworkers", customer(number, **PAYS))
    run(harness)
    with walked(harness, "user held: foreign name") as cause:
        assert "printbridge adopt --site london" in cause.remedy
        assert "`printbridge adopt` takes it over" in plan(harness)[0]
        if way == "adopt":
            adopted(harness)
        else:
            harness.papercut("renameUserAccount", mail(number), "somebody")
    assert f"printbridge:london:{number}" in harness.users()[mail(number)]["notes"]


@pytest.mark.parametrize("way", ["raise licence_users", "take access"])
def test_a_customer_without_a_seat_gets_one_or_gives_up_the_wish(harness: Harness, way: str) -> None:
    number, users = 140 + len(way), len(harness.users())
    harness.add("coworkers", customer(number, **PAYS))
    harness.reconfigure({"[sites.london]\n": f"[sites.london]\nlicence_users = {users}\n"})
    run(harness)
    with walked(harness, "user held: no seat") as cause, walked(harness, "seats") as seats:
        assert "then raise licence_users in bridge.toml" in cause.remedy
        assert "then raise licence_users in bridge.toml" in seats.remedy
        if way == "take access":
            harness.edit("coworkers", number, PaperCutPayAsYouPrint=False)
            run(harness)
            assert "user held: no seat" not in stories.standing(harness), "who wishes nothing waits for nothing"
        harness.reconfigure({f"licence_users = {users}\n": f"licence_users = {users + 20}\n"})
    assert (mail(number) in harness.users()) == (way != "take access")
    harness.reconfigure({f"licence_users = {users + 20}\n": ""})


@pytest.mark.parametrize("way", ["correct them", "raise max_credits"])
def test_a_balance_that_would_rise_too_far_waits_for_the_credits_or_the_limit(harness: Harness, way: str) -> None:
    numbers = (600 + len(way), 700 + len(way))
    for number in numbers:
        harness.add(CREDITS, credit(number, 202, 900))
    run(harness)
    before = harness.users()[mail(202)]["balance"]
    with walked(harness, "user held: too large a credit"):
        if way == "correct them":
            for number in numbers:
                harness.edit(CREDITS, number, RemainingUses=90, TotalUses=90)
        else:
            harness.reconfigure({"max_credits = 1000": "max_credits = 2500"})
    assert harness.users()[mail(202)]["balance"] == before + (180 if way == "correct them" else 1800)
    if way != "correct them":
        harness.reconfigure({"max_credits = 2500": "max_credits = 1000"})
    for number in numbers:
        harness.delete(CREDITS, number)
    run(harness, 61)


@pytest.mark.parametrize("way", ["enable it", "take the access"])
def test_a_disabled_user_is_enabled_or_the_customer_loses_the_access(harness: Harness, way: str) -> None:
    number = 103 if way == "enable it" else 104
    harness.papercut("setUserProperty", mail(number), "disabled-print", "true")
    run(harness)
    with walked(harness, "user held: disabled"):
        assert "the user was disabled in PaperCut by a person" in plan(harness)[0]
        if way == "enable it":
            harness.papercut("setUserProperty", mail(number), "disabled-print", "false")
        else:
            harness.edit("coworkers", number, PaperCutPayAsYouPrint=False)
    assert (mail(number) in harness.users()) == (way == "enable it")


def test_a_balance_that_fell_is_followed_in_nexudus_or_put_back_by_hand(harness: Harness) -> None:
    """The third way, to resume, is walked in `tests/steps/test_hands.py`."""
    for number in (201, 202):
        harness.papercut("adjustUserAccountBalance", mail(number), -30.0, "by hand", "")
    run(harness)
    run(harness, 61)
    with walked(harness, "user held: balance fell"):
        assert "30 lower than the jobs of the log" in plan(harness)[0]
        harness.papercut("adjustUserAccountBalance", mail(201), 30.0, "a slip", "")
        harness.edit(CREDITS, 502, RemainingUses=70)
    assert [harness.users()[mail(number)]["balance"] for number in (201, 202)] == [100, 70]
    if unexplained(harness):
        accept(harness.sites, [502], reason="it was meant", operator="test")
    assert unexplained(harness) == 0


def test_a_change_without_effect_is_made_by_hand(harness: Harness) -> None:
    """The other way, to resume, is walked in `tests/steps/test_hands.py`."""
    for _ in range(4):
        harness.papercut("setUserProperty", mail(105), "full-name", "Somebody Else")
        run(harness)
    with walked(harness, "user held: no effect"):
        assert "full_name" in plan(harness)[0]
        harness.papercut("setUserProperty", mail(105), "full-name", "Customer 105")


def test_a_second_user_with_our_mark_that_is_on_no_record_gets_its_name_back(harness: Harness) -> None:
    harness.papercut("renameUserAccount", mail(106), "ann")
    harness.papercut("setUserProperty", "ann", "email", "ann@elsewhere.example")
    run(harness)
    with walked(harness, "user held: other") as cause:
        assert f"rename it to {mail(106)}" in plan(harness)[0]
        assert "`printbridge plan --site london` shows each with its reason; do what it says" in cause.remedy
        harness.papercut("renameUserAccount", "ann", mail(106))


# --- marks ------------------------------------------------------------------------------------------------------------


def test_a_lost_mark_is_written_again_by_adopt_behind_the_text_that_is_there(harness: Harness) -> None:
    harness.papercut("setUserProperty", mail(105), "notes", "asked for a new card")
    run(harness)
    with walked(harness, "mark lost") as cause:
        assert "`printbridge adopt --site london`" in cause.remedy
        adopted(harness)
    assert harness.users()[mail(105)]["notes"] == "asked for a new card printbridge:london:105"


def test_a_site_that_stands_still_is_told_until_a_run_ends(harness: Harness) -> None:
    from pipeline.operations.causes import causes

    harness.advance(hours=4)
    [cause] = causes(harness.sites, [])
    assert (cause.kind, "`printbridge run --site london` does it once" in cause.remedy) == ("stale", True)
    run(harness)
    assert causes(harness.sites, []) == []
