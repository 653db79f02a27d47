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
