"""A credit that people change in Nexudus without a line of ours: found, told, and ended in both ways that it names."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pipeline.errors import MissingError
from pipeline.operations.causes import causes
from pipeline.operations.held import accept, decide
from pipeline.store.lines import lines_in
from pipeline.store.stops import stopped
from tests.campaign.runs import CHARGES
from tests.harness import Harness, telling
from tests.worlds import LEEDS, credit, customer, mail, world

CREDITS = "coworkerextraservices"
STEPS = ("nexudus_customers", "nexudus_credits", *CHARGES[:2], "print_accounts", *CHARGES[2:])


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    """Two sites that count one printing credit, and three customers with a credit each."""
    people = [customer(101), customer(102), customer(103, InvoicingBusinessId=LEEDS)]
    granted = [credit(501, 101, 100), credit(502, 102, 100), credit(503, 103, 100, BusinessId=LEEDS)]
    with telling(world(people, granted, sites=("london", "leeds"))) as harness:
        for site in ("london", "leeds"):
            assert harness.sync(site).ok
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    """Nothing is wrong before and after."""
    for site in ("london", "leeds"):
        assert reconciled(whole, site) == 0
    assert told(whole) == {}
    yield whole
    assert told(whole) == {}
    for site in ("london", "leeds"):
        assert reconciled(whole, site) == 0


def told(harness: Harness) -> dict[str, str]:
    """The credits that need a person, by the title of the cause."""
    found = [cause for cause in causes(harness.sites, []) if cause.kind != "stale"]
    return {cause.title: " ".join(cause.facts) for cause in found}


def reconciled(harness: Harness, site: str = "london") -> int:
    return harness.reconcile(site=site).metadata["reconciliation"]["unexplained_cents"]


def printed(harness: Harness, number: int, cost: int) -> None:
    harness.print_job(mail(number), cost)
    run(harness, 31)


def run(harness: Harness, minutes: int = 1) -> None:
    harness.advance(minutes=minutes)
    outcome = harness.sync(only=STEPS)
    assert outcome.ok, outcome.failures


def test_a_used_credit_that_is_put_back_is_found_and_ends_when_it_is_set_right(harness: Harness) -> None:
    printed(harness, 101, 40)
    assert harness.credits()[501] == 60
    assert reconciled(harness) == 0
    harness.edit(CREDITS, 501, RemainingUses=100)
    assert reconciled(harness, "leeds") == 0, "it is told at one site"
    assert reconciled(harness) == 40
    (title,) = told(harness)
    assert title == "london: 1 credit changed in Nexudus without a line of ours (40 cents)"
    assert (
        "Credit 501 of customer 101: 100 are left in Nexudus, by its total and our uses it should be 60"
        in (told(harness)[title])
    )
    assert any(title in text for text in harness.findings()), "the checks of the UI say so too"
    printed(harness, 101, 10)
    with harness.sites.store.connect() as con:
        assert stopped(con, "london") == {}, "no charge is doubled by it, so none is stopped"
    assert (harness.credits()[501], reconciled(harness)) == (90, 40), "and it stays a finding of one day"
    harness.edit(CREDITS, 501, RemainingUses=50)
    run(harness)
    assert told(harness) == {}, "the next run sees that it is right again"


def test_what_was_done_on_purpose_is_accepted_and_later_changes_count_from_there(harness: Harness) -> None:
    harness.edit(CREDITS, 502, RemainingUses=70)
    assert reconciled(harness) == 30
    with pytest.raises(MissingError, match="Credit 501 is none of those"):
        accept(harness.sites, [502, 501], reason="a goodwill", operator="test")
    assert len(told(harness)) == 1, "all or none"
    accept(harness.sites, [502], reason="it was used for a poster", operator="test")
    assert told(harness) == {}
    printed(harness, 102, 20)
    assert (harness.credits()[502], reconciled(harness)) == (50, 0)
    harness.edit(CREDITS, 502, RemainingUses=55)
    assert reconciled(harness) == 5
    harness.edit(CREDITS, 502, RemainingUses=50)
    run(harness)


def test_top_ups_renewals_and_new_credits_are_no_finding(harness: Harness) -> None:
    left = harness.credits()[502]
    total = {each["Id"]: each["TotalUses"] for each in harness.state()["nexudus"][CREDITS]}[502]
    harness.edit(CREDITS, 502, RemainingUses=left + 30, TotalUses=total + 30)
    printed(harness, 102, 25)
    assert (harness.credits()[502], reconciled(harness)) == (left + 5, 0)
    harness.edit(CREDITS, 502, RemainingUses=total + 30, ExpireDate="2027-01-01T00:00:00Z")
    printed(harness, 102, 15)
    assert (harness.credits()[502], reconciled(harness)) == (total + 15, 0)
    harness.add(CREDITS, credit(520, 102, 500))
    run(harness)
    harness.delete(CREDITS, 520)
    run(harness, 61)


def test_it_is_told_at_the_site_of_its_location(harness: Harness) -> None:
    harness.edit(CREDITS, 503, RemainingUses=95)
    assert (reconciled(harness), reconciled(harness, "leeds")) == (0, 5)
    assert list(told(harness)) == ["leeds: 1 credit changed in Nexudus without a line of ours (5 cents)"]
    harness.edit(CREDITS, 503, RemainingUses=100)
    run(harness)


def test_a_use_that_is_under_way_or_held_is_judged_once_it_is_decided(harness: Harness) -> None:
    left = harness.credits()[502]
    harness.print_job(mail(102), 10)
    harness.fault("nexudus", "PUT coworkerextraservices", "drop_after")
    harness.advance(minutes=31)
    harness.sync(only=STEPS)
    assert (harness.credits()[502], reconciled(harness)) == (left - 10, 0)
    harness.edit(CREDITS, 502, RemainingUses=left - 4)
    run(harness, 16)
    with harness.sites.store.connect() as con:
        (line,) = lines_in(con, "london", "held").to_dicts()
    assert reconciled(harness) == 0, "the held line tells of it"
    assert "change what is left by -6" in line["reason"]
    harness.edit(CREDITS, 502, RemainingUses=left - 10)
    decide(harness.sites, [line["ref"]], "confirmed", reason="put right", operator="test")
    run(harness)


def test_where_nexudus_ignores_our_writes_the_ledger_alone_has_the_uses(harness: Harness) -> None:
    left = harness.credits()[502]
    harness.switch(credit_put_remaining="ignore")
    printed(harness, 102, 5)
    harness.switch(credit_put_remaining="honour")
    assert (harness.credits()[502], reconciled(harness)) == (left, 0)
    harness.edit(CREDITS, 502, RemainingUses=left - 5)
    assert reconciled(harness) == 5, "taken there by hand as well, it would be used twice"
    harness.edit(CREDITS, 502, RemainingUses=left)
    run(harness)
