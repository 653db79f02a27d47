"""Users that are there already become ours: which ones, what is written, and what the next run makes of them.

The oracle is PaperCut's own state before and after, every field of every user.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from pipeline.errors import ConfigError
from pipeline.operations import adopt
from pipeline.operations.adopt import Result
from pipeline.store import ownership
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world

DRY = {"printbridge/dry_run": "true"}
ADOPTED = {"c101@example.com": 101, "ann": 102, "c103@example.com": 103}
OTHERS = ("c104@example.com", "c105@example.com", "eve", "c106@example.com", "c113@example.com", "nobody@example.com")


def user(username: str, **fields: Any) -> dict[str, Any]:
    return {
        "username": username, "full_name": username.title(), "email": username if "@" in username else "",
        "internal": True, "restricted": False, "balance": 0, "password": "secret12", "pin": "4711", **fields,
    }  # fmt: skip


def given() -> dict[str, Any]:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 113) if number != 103]
    made = world([*people, customer(103), customer(113)], [credit(401, 103, 500)])
    made["sites"]["london"]["users"] += [
        user("c101@example.com", notes="VIP, met at the fair", balance=12.5, card_number="CARD-1"),
        user("ann", email="C102@example.com", notes="from the old list", balance=7),
        user("c103@example.com", restricted=True, balance=480),
        user("c104@example.com", internal=False),
        user("c105@example.com"),
        user("eve", email="c105@example.com"),
        user("c106@example.com", email="somebody@else.example"),
        user("admin", email="c108@example.com"),
        user("c113@example.com"),
        user("nobody@example.com"),
    ]
    return made


def planned(harness: Harness) -> pl.DataFrame:
    """What could be taken over, after a plan."""
    outcome = harness.sync(**DRY)
    assert outcome.ok, outcome.failures
    return adopt.survey(harness.sites["london"])


def take_over(harness: Harness, found: pl.DataFrame) -> dict[str, Result]:
    rows = found.filter(pl.col("refusal").is_null()).to_dicts()
    return {each.username: each for each in adopt.carry_out(harness.sites["london"], rows)}


def refusals(found: pl.DataFrame) -> dict[str, str]:
    return {row["username"]: (row["refusal"] or "").split(":")[0] for row in found.to_dicts()}


# --- before anything is taken over -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def before() -> Generator[Harness, None, None]:
    """A site with users of every kind; nothing that a test here does may change one of them."""
    with telling(given()) as harness:
        users = harness.users()
        yield harness
        assert harness.users() == users


def test_only_users_that_are_surely_a_customers_are_offered(before: Harness) -> None:
    found = planned(before)
    assert refusals(found) == {
        "c101@example.com": "", "ann": "", "c103@example.com": "",
        "c104@example.com": "it comes from a directory and is no internal user",
        "c105@example.com": "several users match the customer (c105@example.com, eve)",
        "eve": "several users match the customer (c105@example.com, eve)",
        "c106@example.com": "its user name is that of the customer, but its e-mail is another",
        "admin": "a built-in user is never taken over",
    }  # fmt: skip
    matched = dict(found.select("username", "matched").iter_rows())
    assert (matched["c101@example.com"], matched["ann"]) == ("user name", "e-mail")
    assert before.writes() == {}, "looking must change nothing"


def test_a_user_with_the_mark_of_another_customer_is_refused(before: Harness) -> None:
    planned(before)
    tables = before.sites.store
    marked = pl.when(username="c101@example.com").then(pl.lit(999)).otherwise("marked_coworker_id")
    users = tables.read("print_users", "london").with_columns(marked_coworker_id=marked, marked=marked.is_not_null())
    with tables.connect() as con:
        owned = ownership.owned(con, "london")
    found = adopt.matches(tables.read("print_accounts", "london"), users, owned)
    assert refusals(found)["c101@example.com"] == "its notes hold the mark of customer 999"


def test_dry_run_mode_takes_nothing_over(before: Harness) -> None:
    before.reconfigure({"[nexudus]": 'mode = "dry_run"\n[nexudus]'})
    try:
        with pytest.raises(ConfigError, match='mode is "dry_run"'):
            take_over(before, planned(before))
        assert before.writes() == {}
    finally:
        before.reconfigure({'mode = "dry_run"\n': ""})


def test_a_refused_call_leaves_the_user_as_it_was_and_not_ours(before: Harness) -> None:
    rows = planned(before).filter(username="ann").with_columns(username=pl.lit("ann2"))
    (result,) = take_over(before, rows).values()
    assert (result.outcome, "no such user" in result.detail) == ("failed", True)
    with before.sites.store.connect() as con:
        assert ownership.owned(con, "london").height == 0


def test_the_command_shows_what_it_would_do_and_how_to_switch_off_the_old_agent(before: Harness) -> None:
    shown = printbridge("adopt").out
    for needed in (
        "3 users can be taken over, 5 cannot.",
        "They printed 0 jobs (0 credits) since charge_from (2026-11-01 00:00 UTC)",
        "nothing from before it ever is",
        "folder Nexudus_spaces, and disable every task there. Disable, do not delete",
        "The same command with --apply takes the users over.",
    ):
        assert needed in shown, f"the command must say {needed!r}:\n{shown}"
    document = printbridge("adopt", "--json").document
    assert (document["dry_run"], len(document["sites"]["london"]["users_found"])) == (True, 8)
    assert before.writes() == {}


# --- the story of an adoption ----------------------------------------------------------------------------------------

State = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Story:
    """PaperCut's users before, right after the adoption, and after the next run; and what was said on the way."""

    harness: Harness
    first: State
    results: dict[str, Result]
    waiting: tuple[int, float]
    adopted: State
    owned: dict[str, int]
    offered: dict[str, str]
    run: State


@pytest.fixture(scope="module")
def story() -> Generator[Story, None, None]:
    with telling(given()) as harness:
        for at in ("2026-10-31T12:00:00Z", "2026-11-02T08:00:00Z"):
            harness.print_job("ann", 30, at=at)
        found = planned(harness)
        first = harness.users()
        waiting = adopt.printed_since(harness.sites["london"], ["ann"])
        results = take_over(harness, found)
        adopted = harness.users()
        with harness.sites.store.connect() as con:
            owned = {row["username"]: row["coworker_id"] for row in ownership.owned(con, "london").to_dicts()}
        offered = refusals(planned(harness))
        outcome = harness.run()
        assert outcome.ok, outcome.failures
        yield Story(harness, first, results, waiting, adopted, owned, offered, harness.users())


def test_taking_over_writes_the_mark_and_nothing_else(story: Story) -> None:
    assert {name: each.outcome for name, each in story.results.items()} == dict.fromkeys(ADOPTED, "done")
    notes = {
        "c101@example.com": "VIP, met at the fair printbridge:london:101",
        "ann": "from the old list printbridge:london:102",
        "c103@example.com": "printbridge:london:103",
    }
    expected = {name: {**one, "notes": notes.get(name, one["notes"])} for name, one in story.first.items()}
    assert story.adopted == expected, "balance, card, password and every other user must stay as they were"
    assert story.owned == ADOPTED
    assert not story.offered.keys() & ADOPTED.keys(), "what is ours must not be offered again"


def test_the_next_run_keeps_password_card_and_notes(story: Story) -> None:
    kept = ("password", "pin", "card_number", "notes")
    for name in ADOPTED:
        now = story.run["c102@example.com" if name == "ann" else name]
        assert [now[each] for each in kept] == [story.adopted[name][each] for each in kept], name
    assert "ann" not in story.run, "the user found by e-mail gets the user name of the site"
    assert story.run["c103@example.com"]["balance"] == 500, "credits are what the balance shows from now on"
    for name in OTHERS:
        assert story.run[name] == story.first[name], f"{name} is not ours, so it must not be written to"


def test_jobs_since_charge_from_are_charged_and_earlier_ones_are_not(story: Story) -> None:
    assert story.waiting == (1, 30.0), "what adoption will charge must be said before it is done"
    assert [(sale["CoworkerId"], sale["Quantity"]) for sale in story.harness.sales()] == [(102, 30)]


def test_a_new_preferred_customer_keeps_the_other_text_of_the_notes(story: Story) -> None:
    older = {"Email": "c101@example.com", "RegistrationDate": "2020-01-01T00:00:00Z", "AccessPincode": "55555"}
    story.harness.add("coworkers", customer(99, PaperCutPayAsYouPrint=True, **older))
    story.harness.advance(hours=2)
    assert story.harness.sync().ok
    assert story.harness.users()["c101@example.com"]["notes"] == "VIP, met at the fair printbridge:london:99"


def test_the_command_does_it_and_a_lost_answer_is_looked_at_by_the_next_run() -> None:
    with telling(given()) as harness:
        found = planned(harness)
        harness.fault("london", "api.setUserProperties", "drop_before", times=1)
        assert found.height == 8
        done = printbridge("adopt", "--apply", "--json", code=1).document["sites"]["london"]
        assert sorted(each["outcome"] for each in done["results"]) == ["done", "done", "unknown"]
        assert harness.sync().ok
        users = harness.users()
        for number in (101, 102, 103):
            assert f"printbridge:london:{number}" in users[f"c{number}@example.com"]["notes"]
