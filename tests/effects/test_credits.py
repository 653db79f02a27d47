"""What becomes of the use of a credit when Nexudus is not as it was when it was decided.

What belongs here: credits that somebody else changed, removed or named in between, and credits that cannot be lowered.
What does not: sales (`test_sales.py`), and which credits pay (`tests/domain/money/test_credits.py`). Everything runs on
real servers; the oracle is what they hold, and the ledger's words.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.domain.money.references import reference
from pipeline.store.lines import moved_by
from tests.effects.charging import (
    CREDIT,
    DECIDED,
    HOLDERS,
    SENT,
    charge,
    charging,
    credit_of,
    decided,
    line,
    people,
    printed,
    send,
    sending,
)
from tests.harness import Harness, running
from tests.worlds import credit, customer, mail, world


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    with charging(folder) as begun:
        yield begun


@pytest.mark.parametrize("how", ["told so", "ignored"])
def test_a_credit_that_cannot_be_written_is_used_on_the_ledger(folder: Path, how: str) -> None:
    own = {"credit_writeback": "ledger"} if how == "told so" else {}
    with running(folder, people(credit_put_remaining="ignore"), **own) as harness:
        assert harness.sync().ok
        job = decided(harness, 201, 40)
        assert send(harness).metadata["nexudus_print_charges"]["kept_on_ledger"] == 1
        assert harness.credits()[credit_of(201)] == 100
        assert line(harness, job, "credit")["state"] == "confirmed"
        assert harness.sync().ok
        assert harness.users()[mail(201)]["balance"] == 60, "what is used on the ledger cannot be used again"
        harness.refund(job)
        harness.advance(minutes=1)
        assert harness.sync().ok
        assert harness.sync().ok
        assert (harness.users()[mail(201)]["balance"], harness.credits()[credit_of(201)]) == (100, 100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda harness: harness.delete(CREDIT, 501), "credit 501 no longer exists in Nexudus"),
        (lambda harness: harness.edit(CREDIT, 501, RemainingUses=5), "has 5 left, but 40 were allocated"),
    ],
    ids=["gone", "lowered"],
)
def test_a_credit_that_is_gone_or_lowered_since_it_was_allocated_is_held(harness: Harness, change, said: str) -> None:
    job = decided(harness, 201, 40)
    change(harness)
    harness.forget_calls()
    assert send(harness).ok
    held = line(harness, job, "credit")
    assert held["state"] == "held"
    assert said in str(held["detail"])
    assert harness.writes() == {}, "a credit that is not what it was is not written to"


def test_a_credit_that_changes_while_it_is_written_is_held(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    sending(harness, f"PUT {CREDIT}", lambda: harness.edit(CREDIT, 501, RemainingUses=77))
    held = line(harness, job, "credit")
    assert held["state"] == "held"
    assert "had 100 left, was to have 60" in str(held["detail"])
    assert "but has 77" in str(held["detail"])


def test_an_edit_between_the_two_reads_of_a_credit_is_seen_and_the_next_run_uses_what_is_left(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    sending(harness, f"GET {CREDIT}", lambda: harness.edit(CREDIT, 501, RemainingUses=90))
    assert (line(harness, job, "credit")["state"], harness.credits()[501]) == ("priced", 90)
    assert charge(harness).ok
    assert harness.credits()[501] == 50


def test_a_credit_that_names_one_of_the_lines_has_that_one_done_and_the_other_held(harness: Harness) -> None:
    first, second = printed(harness, 201, 40), decided(harness, 201, 30)
    harness.edit(CREDIT, 501, Notes=f"gift {reference('london', str(first), 'credit', 0)}", RemainingUses=60)
    assert send(harness).ok
    assert line(harness, first, "credit")["state"] == "confirmed"
    held = line(harness, second, "credit")
    assert held["state"] == "held"
    assert "perhaps with this line, before this ledger knew" in str(held["detail"])
    assert harness.credits()[501] == 60


def test_a_credit_whose_read_back_fails_is_looked_up_and_not_written_again(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    harness.fault("nexudus", f"GET {CREDIT}", "status", times=99, after=2)
    send(harness)
    assert line(harness, job, "credit")["state"] == "unknown"
    harness.heal()
    harness.advance(minutes=16)
    assert charge(harness).ok
    assert (line(harness, job, "credit")["state"], harness.credits()[501]) == ("confirmed", 60)


def test_a_pause_that_nexudus_asks_for_while_credits_are_used_ends_the_run_and_the_next_one_uses_them_once(
    harness: Harness,
) -> None:
    first, second = printed(harness, 201, 40), decided(harness, 202, 30)
    harness.fault("nexudus", f"PUT {CREDIT}", "throttle", times=99, style="429_retry_after", seconds=3600)
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert (kind, "HTTP 429" in text) == ("TransientError", True), text
    assert {line(harness, job, "credit")["state"] for job in (first, second)} == {"priced"}
    assert harness.credits() == dict.fromkeys(map(credit_of, HOLDERS), 100)
    harness.heal()
    harness.sites.close()  # the pause is the client's
    assert send(harness).ok
    assert {line(harness, job, "credit")["state"] for job in (first, second)} == {"confirmed"}
    assert harness.credits() == {credit_of(201): 60, credit_of(202): 70, credit_of(203): 100}


def test_a_credit_used_under_an_unknown_reference_stops_the_site(harness: Harness) -> None:
    decided(harness, 201, 40)
    foreign = reference("london", "99", "credit", 0)
    harness.edit(CREDIT, 501, Notes=f"gift {foreign}")
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert f"last used under {foreign}, which the ledger of site london does not know" in text
    assert harness.credits()[501] == 100


def test_two_sites_cannot_use_the_same_credits_twice(folder: Path) -> None:
    sites = ("london", "leeds")
    given = world([customer(201)], [credit(501, 201, 50)], sites=sites)
    with running(folder, given, customers="all") as harness:
        for site in sites:
            assert harness.sync(site).ok
            assert harness.print_job(mail(201), 40, site)["allowed"]
        harness.advance(minutes=31)
        for site in sites:
            assert harness.sync(site, only=DECIDED).ok
        assert harness.sync("london", only=SENT).ok
        kind, text = harness.sync("leeds", only=SENT).failures["nexudus_print_charges"]
        assert kind == "TransientError"
        assert "first credit 501 (40 cents wanted)" in text
        assert harness.credits() == {501: 10}


def test_a_recreated_credit_holds_what_is_left(folder: Path) -> None:
    with running(folder, people(), credit_writeback="recreate") as harness:
        assert harness.sync().ok
        part, whole = decided(harness, 201, 40), decided(harness, 202, 100)
        outcome = send(harness)
        with harness.sites.store.connect() as con:
            assert moved_by(con, outcome.run_id).rows() == [("credit", "confirmed", 2, 140)]
        left = harness.credits()
        assert sorted(left.values()) == [60, 100], "one credit of 60 for 201, none for 202, 203 as it was"
        assert not {501, 502} & set(left)
        harness.refund(part)
        harness.advance(minutes=1)
        assert charge(harness).ok
        assert "undo_credit 40 held" in harness.events()[str(part)], "the credit it was taken from is gone"
        assert harness.events()[str(whole)] == ["credit 100 confirmed"]


@pytest.mark.parametrize(("fault", "now"), [("drop_before", "there twice"), ("drop_after", "gone")])
def test_a_recreated_credit_whose_old_one_may_still_be_there_is_held(folder: Path, fault: str, now: str) -> None:
    with running(folder, people(), credit_writeback="recreate") as harness:
        assert harness.sync().ok
        job = decided(harness, 201, 40)
        harness.fault("nexudus", f"DELETE {CREDIT}", fault)
        send(harness)
        assert line(harness, job, "credit")["state"] == "unknown"
        harness.advance(minutes=16)
        assert send(harness).ok
        held = line(harness, job, "credit")
        assert held["state"] == "held"
        assert f"the credit now is {now}. What to do: compare it in Nexudus with 60 expected" in str(held["detail"])
