"""Teams share printing credits as Nexudus does: the own credits first, then those of the customer who pays.

What belongs here: whole runs on real servers, from a team in Nexudus to the user's balance, the used credit and what
`explain` says. What does not: the rules case by case (`tests/domain/money/test_sharing.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pipeline.operations.explain import stories
from tests.harness import Harness, running
from tests.worlds import LONDON, credit, customer, mail, world

ANN, BEN, PAYER = 7, 8, 9
OWN, TEAMS = 401, 402
BLUE = 61


def team(number: int = BLUE, members: tuple[int, ...] = (ANN, BEN, PAYER), **fields: Any) -> dict[str, Any]:
    """A team that shares the credits of its payer."""
    return {
        "Id": number, "BusinessId": LONDON, "Name": f"Team {number}", "TeamMembers": list(members),
        "PayingMemberId": PAYER, "ShareExtraServices": True, **fields,
    }  # fmt: skip


def with_teams(given: dict[str, Any], *teams: dict[str, Any]) -> dict[str, Any]:
    """The world with teams in it."""
    return {**given, "nexudus": {**given["nexudus"], "teams": list(teams)}}


PEOPLE = [customer(ANN), customer(BEN), customer(PAYER)]
CREDITS = [credit(OWN, ANN, 10), credit(TEAMS, PAYER, 50)]


@pytest.fixture
def harness(tmp_path: Path) -> Generator[Harness]:
    given = with_teams(world(PEOPLE, CREDITS), team())
    with running(tmp_path, given, pricing_model="credits_only", charge_product_id=None) as harness:
        assert harness.sync().ok
        harness.advance(minutes=1)
        yield harness


def mature(harness: Harness) -> None:
    harness.advance(minutes=36)
    outcome = harness.sync()
    assert outcome.ok, outcome.failures


def balances(harness: Harness) -> dict[str, float]:
    return {name: user["balance"] for name, user in harness.users().items() if name != "staff"}


def told(harness: Harness, subject: str) -> str:
    return "\n".join(sentence for story in stories(list(harness.sites), subject) for sentence in story.sentences)


def test_a_member_uses_the_own_credits_and_then_the_team_s(harness: Harness) -> None:
    assert balances(harness) == {mail(ANN): 60, mail(BEN): 50, mail(PAYER): 50}
    job = str(harness.print_job(mail(ANN), 30)["job_id"])
    mature(harness)
    assert harness.events()[job] == ["credit 10 confirmed", "credit 20 confirmed"]
    assert harness.credits() == {OWN: 0, TEAMS: 30}
    assert balances(harness) == {mail(ANN): 30, mail(BEN): 30, mail(PAYER): 30}
    assert "credit of 10 cents for customer 7 from credit 401" in told(harness, job)


def test_explain_says_whose_credit_paid_and_what_a_team_shares(harness: Harness) -> None:
    job = str(harness.print_job(mail(BEN), 20)["job_id"])
    mature(harness)
    assert "for customer 8 from credit 402 of customer 9; paid with printing credits of the customer who pays" in told(
        harness, job
    )
    assert harness.sync().ok
    said = told(harness, mail(BEN))
    assert "30 valid credits, 30 of them shared by a team" in said
    assert (
        f"Team {BLUE} (Team {BLUE}): its members use their own printing credits first, then those of customer 9" in said
    )
    harness.edit("teams", BLUE, PayingMemberId=None)
    assert harness.sync().ok
    assert "shares no printing credits: it has no paying customer" in told(harness, mail(BEN))


def test_a_refund_gives_the_credit_back_to_the_payer(harness: Harness) -> None:
    job = harness.print_job(mail(ANN), 30)["job_id"]
    mature(harness)
    harness.refund(job)
    mature(harness)
    assert harness.credits() == {OWN: 10, TEAMS: 50}
    assert balances(harness)[mail(ANN)] == 60


def test_a_team_that_changed_between_print_and_run_pays_as_it_was(harness: Harness) -> None:
    job = str(harness.print_job(mail(BEN), 20)["job_id"])
    harness.advance(minutes=5)
    harness.edit("teams", BLUE, TeamMembers=[ANN, PAYER])
    mature(harness)
    assert harness.events()[job] == ["credit 20 confirmed"]
    assert harness.credits()[TEAMS] == 30
    assert harness.users()[mail(BEN)]["balance"] == 0, "who left prints on nobody's credit"
    assert harness.users()[mail(BEN)]["restricted"]


def test_who_joins_after_the_print_does_not_make_the_team_pay_for_it(harness: Harness) -> None:
    harness.add("coworkers", customer(10))
    harness.add("coworkerextraservices", credit(403, 10, 20))
    assert harness.sync().ok
    harness.advance(minutes=1)
    harness.edit("coworkerextraservices", 403, RemainingUses=5)
    job = str(harness.print_job(mail(10), 20)["job_id"])
    harness.advance(minutes=5)
    harness.edit("teams", BLUE, TeamMembers=[ANN, BEN, PAYER, 10])
    mature(harness)
    assert harness.events()[job] == ["sale 20 held"]
    assert harness.credits()[TEAMS] == 50


@pytest.mark.parametrize(
    "odd",
    [{"ShareExtraServices": None}, {"PayingMemberId": "nobody"}, {"TransferCreditsToPayingMember": "perhaps"}],
)
def test_an_odd_team_is_told_keeps_what_was_known_and_harms_no_other(harness: Harness, odd: dict[str, Any]) -> None:
    harness.add("coworkers", customer(10))
    harness.add("teams", team(62, (10,)))
    harness.edit("teams", BLUE, **odd)
    assert harness.sync().ok
    assert balances(harness) == {mail(ANN): 60, mail(BEN): 50, mail(PAYER): 50, mail(10): 50}
    assert any("nexudus_teams.records_are_readable" in each for each in harness.findings())


def test_a_site_that_goes_by_own_credits_asks_for_no_team(harness: Harness) -> None:
    harness.reconfigure({"credit_ids = [31]": 'credit_ids = [31]\nteam_credits = "own"'})
    harness.forget_calls()
    assert harness.sync().ok
    assert "GET teams" not in harness.calls()["nexudus"]
    assert balances(harness)[mail(ANN)] == 10
    assert "Credits of a team are not used here" in told(harness, mail(ANN))


@pytest.mark.parametrize("listed", ["stay", "vanish"])
def test_an_expired_credit_of_the_payer_never_pays_whether_it_is_listed_or_not(harness: Harness, listed: str) -> None:
    harness.switch(expired_credits=listed)
    harness.edit("coworkerextraservices", TEAMS, ExpireDate="2026-11-02T09:02:00Z")
    assert harness.sync().ok
    harness.advance(minutes=2)
    job = str(harness.print_job(mail(ANN), 30)["job_id"])
    mature(harness)
    assert harness.events()[job] == ["sale 30 held"]
    assert harness.users()[mail(BEN)]["balance"] == 0
