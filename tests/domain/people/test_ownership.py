"""Ownership: whose user it is, who leaves on which evidence, and who is followed."""

from __future__ import annotations

import random

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.ownership import followed, under_current_names
from pipeline.domain.people.plan import missing, without_credit
from tests.domain.people.frames import accounts, gone, owned, planned, steps, unsettled, users
from tests.frames import NOW, mapping, rules, shuffled

# --- whose user it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "owner", "why"),
    [
        ("username internal marked\na n n", "username", "not an internal user"),
        ("username marked\na n", "username", "does not carry our mark"),
        ("username marked_coworker_id\na 77", "username", "mark of customer 77 but no ownership record"),
        ("username marked_coworker_id\na -", "username", "it has our mark but no ownership record here"),
        ("username internal\na n", "username\na", "not an internal user"),
        ("username marked\na n", "username\na", "does not carry our mark"),
        ("username marked_coworker_id\na 77", "username\na", "mark of another customer, 77"),
        ("username marked_coworker_id\na 77", "username state\na creating", "mark of another customer, 77"),
    ],
)
def test_a_user_that_is_not_provably_ours_is_only_held(user: str, owner: str, why: str) -> None:
    wanted = planned(accounts("username credits\na 99"), users(user), owned(owner))
    assert wanted["action"].to_list() == ["hold"]
    assert why in wanted["reason"][0]
    adoptable = (
        "does not carry our mark" in why or "no ownership record" in why or "\na" not in owner or "creating" in owner
    )
    assert ("printbridge adopt" in wanted["reason"][0]) == adoptable, "only a remedy that works is named"
    leaving = planned(accounts("username reason\na suspended"), users(user), owned(owner))
    assert set(leaving["action"]) <= {"hold"}, "no removal without the three proofs"


def test_a_user_that_was_never_made_for_sure_and_has_the_mark_of_another_is_nobody_that_we_lost() -> None:
    seen = users("username marked_coworker_id\na 77")
    assert steps(planned(accounts(), seen, owned("username state\na creating"))) == []
    assert planned(accounts(), seen, owned("username\na"))["code"].to_list() == ["lost"]


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("suspended", "lost_leaver", "not removed: the preferred customer is suspended in Nexudus; it does not"),
        ("no_credit", "lost_leaver", "without credit, but not restricted: it does not carry our mark"),
        ("no_pin", "lost", "the user was ours, but it does not carry our mark"),
        ("-", "lost", "the user was ours, but it does not carry our mark"),
    ],
)
def test_a_lost_user_that_should_lose_its_access_is_told_from_one_that_may_stay(
    reason: str, code: str, words: str
) -> None:
    plan = planned(accounts(f"username reason\na {reason}"), users("username marked\na n"), owned("username\na"))
    assert plan.select("action", "code").rows() == [("hold", code)]
    assert plan["reason"][0].startswith(words)


def test_strangers_never_appear() -> None:
    plan = planned(accounts("username reason\nb suspended"), users("username marked\na n\nb n"), owned())
    assert plan.height == 0


def test_a_user_that_is_not_ours_any_more_is_told_as_lost_and_one_that_never_was_as_foreign() -> None:
    plan = planned(accounts("username credits\na 99\nb 99"), users("username marked\na n\nb n"), owned("username\na"))
    assert dict(plan.select("username", "code").iter_rows()) == {"a": "lost", "b": "foreign"}


# --- who leaves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "last_access", "expected"),
    [
        ("suspended", "credits", "remove"),
        ("archived", "pay", "remove"),
        ("other_location", "free", "remove"),
        ("printing_off", "pay", "remove"),
        ("printing_off", "credits", "remove"),
        ("no_access", "pay", "remove"),
        ("no_access", "free", "remove"),
        ("no_access", "credits", "adjust"),
        ("no_access", "-", "adjust"),
        ("no_credit", "credits", "adjust"),
        ("no_credit", "pay", "adjust"),
        ("no_pin", "credits", "hold"),
        ("no_flag", "credits", "hold"),
        ("plus_alias", "credits", "hold"),
        ("bad_email", "credits", "hold"),
        ("no_email", "credits", "hold"),
        ("pin_clash", "credits", "hold"),
        ("name_clash", "credits", "hold"),
    ],
)
def test_each_reason_has_its_consequence(reason: str, last_access: str, expected: str) -> None:
    plan = planned(
        accounts(f"username reason access\na {reason} none"),
        users("username\na"),
        owned(f"username access\na {last_access}"),
    )
    assert plan["action"].to_list() == [expected]
    assert plan["code"].to_list() == ["stays" if expected == "hold" else None]
    assert plan["coworker_id"].to_list() == [1]


def test_who_left_is_known_by_the_e_mail_although_another_customer_is_preferred_for_it_now() -> None:
    """Customer 9 made the user; the account of its e-mail is that of customer 1, and is suspended."""
    plan = planned(
        accounts("username reason\na suspended"), users("username marked_coworker_id\na 9"),
        owned("username coworker_id\na 9"),
    )  # fmt: skip
    assert plan["action"].to_list() == ["remove"]


def test_every_reason_is_covered() -> None:
    named = {"no_access", "no_credit"} | {"suspended", "archived", "other_location", "printing_off"}
    named |= {"no_flag", "no_pin", "plus_alias", "bad_email", "no_email", "pin_clash", "name_clash"}
    assert named == set(tables.REASONS), "a new reason needs a consequence in ownership.py and a row above"


def test_without_credit_the_user_stays_restricted_with_what_is_open() -> None:
    plan = planned(
        accounts("username reason access\na no_credit none"),
        users("username restricted balance\na n 45"),
        owned("username\na"),
        open_jobs=unsettled("username unsettled\na 10"),
    )
    assert steps(plan) == ["update a restricted -10", "adjust a balance -10"]
    assert plan["restricted"][0] is True


@pytest.mark.parametrize(
    ("since", "days", "action"),
    [
        ("10-21T12:00", 30, "adjust"),
        ("10-21T11:59", 30, "remove"),
        ("11-20T11:59", 0, "remove"),
        ("-", 0, "adjust"),
    ],
)
def test_long_without_credit_is_removed(since: str, days: int, action: str) -> None:
    plan = planned(
        accounts("username reason\na no_credit"),
        users("username\na"),
        owned(f"username without_credit_since\na {since}"),
        site=rules(keep_without_credit_days=days),
    )
    assert plan["action"].to_list() == [action]


def test_without_credit_names_only_rows_that_change() -> None:
    changed = without_credit(
        accounts("username reason\na no_credit\nb no_credit\nc -\nd -\ne no_pin\nf suspended"),
        owned(
            "username without_credit_since\na -\nb 11-01T00:00\nc 11-01T00:00\nd -\ne 11-01T00:00\nf 11-01T00:00\n"
            "g 11-01T00:00"
        ),
        NOW,
    )
    assert changed.rows() == [("a", NOW), ("c", None)]


def test_a_user_under_a_former_e_mail_whose_customer_has_access_again_is_without_credit_no_longer() -> None:
    ours = owned("username coworker_id without_credit_since\na 1 11-01T00:00\nb 2 11-01T00:00")
    back = accounts("username coworker_id reason\nnew 1 -\nother 2 no_credit")
    assert without_credit(back, ours, NOW).rows() == [("a", None)]


def test_a_customer_in_no_account_is_reported_and_left_alone_until_proven_gone() -> None:
    world = (accounts("username\na"), users("username\na\nb\nc"), owned("username\na\nb\nc"))
    assert steps(planned(*world)) == []
    assert missing(world[0], world[2])["coworker_id"].to_list() == [2, 3]
    assert missing(world[0], world[2], pl.DataFrame({"coworker_id": [3]}))["coworker_id"].to_list() == [2]
    plan = planned(*world, gone_=gone(2))
    assert steps(plan) == ["remove b deleted"]
    assert plan["reason"][0] == "customer 2 does not exist in Nexudus any more"


def test_an_extract_without_anyone_removes_nobody() -> None:
    assert steps(planned(accounts(), users("username\na\nb"), owned("username\na\nb"))) == []


def test_a_disabled_leaver_is_left_alone_by_a_site_that_disables() -> None:
    text = accounts("username reason\na suspended\nb no_credit\nc suspended")
    seen = users("username disabled\na y\nb y\nc n")
    plan = planned(text, seen, owned("username\na\nb\nc"), site=rules(removal="disable"))
    assert steps(plan) == ["remove c disabled"]
    deleted = planned(text, seen, owned("username\na\nb\nc"))
    assert deleted.filter(action="remove")["username"].to_list() == ["a", "c"]


def test_a_disabled_user_that_nobody_asks_to_leave_is_held_for_its_reason() -> None:
    text = accounts("username coworker_id reason\nnew 1 -\nb 2 no_pin")
    seen = users("username disabled marked marked_coworker_id\na y y 1\nb y y 2\nc y n -\nnew n y 1")
    plan = planned(text, seen, owned("username\na\nb\nc"), site=rules(removal="disable"))
    assert dict(plan.filter(action="hold").select("username", "code").iter_rows()) == {
        "a": "moved", "b": "stays", "c": "lost", "new": "foreign",
    }  # fmt: skip


def test_without_credit_and_without_open_jobs_the_balance_goes_to_nothing() -> None:
    plan = planned(accounts("username reason\na no_credit"), users("username\na"), owned("username\na"))
    assert steps(plan) == ["adjust a balance 0"]
    assert plan["access"].to_list() == ["credits"]
    assert plan["reason"].to_list() == ["the balance is 45, wanted is 0: 0 credits less 0 not yet settled"]


# --- under which name jobs count --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_is_open_under_a_former_name_counts_for_the_user_that_its_last_owner_has_now(seed: int) -> None:
    names = mapping(
        "username owned_from coworker_id\nold 01-02T00:00 1\npassed 01-02T00:00 1\npassed 02-02T00:00 2\n"
        "b 01-02T00:00 1\nb 03-02T00:00 2\ne 01-02T00:00 3"
    )
    ours = owned("username coworker_id owned_from\na 1 02-02T00:00\nb 2 03-02T00:00\nc 3 04-02T00:00\nd 3 05-02T00:00")
    open_ = unsettled("username unsettled\nold 5\na 7\npassed 1\nb 2\ne 4\nstranger 3")
    found = under_current_names(*(shuffled(frame, seed) for frame in (open_, names, ours)))
    assert found.rows() == [("a", 12), ("b", 3), ("d", 4), ("stranger", 3)]


# --- who is followed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "now"),
    [
        ("x a y 1 y", ["x"]),
        ("x A y 1 y", ["x"]),
        ("x a n - y", []),
        ("x a y 1 n", []),
        ("x a y 2 y", []),
        ("x z y 1 y", []),
        ("x - y 1 y", []),
        ("x a y 1 y\ny a y 1 y", []),
        ("a a y 1 y\nx a y 1 y", []),
        ("a a n - y\nx a y 1 y", ["x"]),
    ],
    ids=["renamed", "case", "no mark", "not internal", "another's mark", "another e-mail", "no e-mail", "two", "both",
         "and a stranger took the name"],
)  # fmt: skip
def test_a_user_is_followed_only_where_it_can_be_told_for_sure(there: str, now: list[str]) -> None:
    listed = users(f"username email marked marked_coworker_id internal\n{there}")
    for seed in range(3):
        found = followed(shuffled(listed, seed), owned("username\na"))
        assert found.rows() == [("a", name, 1) for name in now]


def test_a_user_that_was_never_made_for_sure_is_not_followed() -> None:
    renamed = users("username email marked marked_coworker_id\nx a y 1")
    assert followed(renamed, owned("username state\na creating")).is_empty()
    assert followed(renamed, owned("username state\na owned")).height == 1


@pytest.mark.parametrize("seed", range(20))
def test_everybody_who_is_renamed_is_followed_and_nobody_else(seed: int) -> None:
    chance, letters = random.Random(seed), [chr(97 + place) for place in range(24)]
    renamed = set(chance.sample(letters, chance.randrange(24)))
    listed = [f"{f'{each}-now' if each in renamed else each} {each}" for each in letters]
    found = followed(users("\n".join(["username email", *listed])), owned("\n".join(["username", *letters])))
    assert [(former, name) for former, name, _ in found.rows()] == [(each, f"{each}-now") for each in sorted(renamed)]


def test_one_that_cannot_be_followed_is_no_reason_for_a_second_user() -> None:
    listed = users("username email marked marked_coworker_id\nx z y 1")
    plan = planned(accounts("username\na\nb"), listed, owned("username\na"), site=rules(licence_users=2))
    assert steps(plan) == ["create b mark,full_name,email,restricted,pin,balance 45", "hold a 45"]
    assert plan.filter(username="a")["code"].to_list() == ["lost"], "and it takes no seat"
    assert "user x has our mark for customer 1" in plan.filter(username="a")["reason"][0]
