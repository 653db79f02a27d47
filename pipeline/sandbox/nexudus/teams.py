"""Teams of the Nexudus sandbox: who is in which, kept the same on both sides, with the names that repeat it.

What belongs here: `Team.TeamMembers` and `Coworker.Teams`, `TeamIds`, `TeamNames`. What does not: what a team shares
(`commands.py` for credits, `invoices.py` for its payer). Source: the corrections of 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pipeline.sandbox.core import Core
from pipeline.sandbox.nexudus.records import ENUMS, Record
from pipeline.sandbox.nexudus.switches import choice
from pipeline.sandbox.nexudus.tables import Table


@dataclass(frozen=True)
class Teams:
    """The teams over all tables."""

    core: Core
    tables: Mapping[str, Table]

    def of(self, coworker_id: Any) -> list[Record]:
        """The teams of a customer."""
        coworker = self.tables["coworkers"].get(coworker_id) or {}
        return self._known(_numbers(coworker.get("Teams")))

    def _known(self, numbers: list[int]) -> list[Record]:
        table = self.tables["teams"]
        return [team for number in numbers if (team := table.get(number)) is not None]

    # Copies -------------------------------------------------------------------------------------------------------

    def copy_to_team(self, values: Record) -> None:
        """Fill what a team repeats of its location, its payer and its members."""
        business = self.tables["businesses"].get(values.get("BusinessId")) or {}
        payer = self.tables["coworkers"].get(values.get("PayingMemberId")) or {}
        kind = ENUMS["eCoworkerType"].get(payer.get("CoworkerType", 1)) if payer else None
        found = (self.tables["coworkers"].get(number) for number in _numbers(values.get("TeamMembers")))
        members = [member for member in found if member is not None]
        values |= {
            "BusinessName": business.get("Name"),
            "PayingMemberFullName": payer.get("FullName"),
            "PayingMemberBillingName": payer.get("BillingName"),
            "PayingMemberCompanyName": payer.get("CompanyName"),
            "PayingMemberCoworkerType": kind,
            "CoworkerIds": ",".join(str(member["Id"]) for member in members) or None,
            "CoworkerFullNames": ",".join(str(member.get("FullName")) for member in members) or None,
            "ToStringText": values.get("Name"),
        }

    def copy_to_coworker(self, values: Record) -> None:
        """Fill the names of a customer's teams; names of teams that the sandbox does not have stay as they are."""
        teams = self._known(_numbers(values.get("Teams")))
        before = str(values.get("TeamIds") or "").split(",")
        if teams:
            names = [str(team.get("Name")) for team in teams]
            values |= {"TeamIds": ",".join(str(team["Id"]) for team in teams), "TeamNames": ",".join(names)}
            values |= {"TeamId": teams[0]["Id"], "TeamName": names[0]}
        elif self._known([int(text) for text in before if text.isdecimal() and len(text) < 20]):
            values |= dict.fromkeys(("TeamIds", "TeamNames", "TeamId", "TeamName"))

    # Both sides ---------------------------------------------------------------------------------------------------

    def settle_team(self, team: Record, by: str, *, new: bool) -> None:
        """Let the customers know who is in a team after it was written.

        Args:
            team: the team as it is kept now.
            by: who wrote it.
            new: it was not there before, so customers that already name it are members as well.
        """
        number, table = team["Id"], self.tables["coworkers"]
        members = set(_numbers(team.get("TeamMembers")))
        stamped = choice(self.core, "team_touches_coworker") == "yes"
        for row in list(table.rows.values()):
            teams = _numbers(row.values.get("Teams"))
            if new and number in teams:
                members.add(row.values["Id"])
            belongs = row.values["Id"] in members
            if row.deleted or not (belongs or number in teams):
                continue
            rest = [each for each in teams if belongs or each != number]
            values: Record = {**row.values, "Teams": rest if number in teams else [*rest, number]}
            self.copy_to_coworker(values)
            if stamped:
                table.replace(row.values["Id"], values, self.core.clock.now(), by)
            else:
                row.values = table.entity.sparse(values)
        kept = team | {"TeamMembers": sorted(members)}
        self.copy_to_team(kept)
        row = self.tables["teams"].rows[number]
        row.values = self.tables["teams"].entity.sparse(kept)

    def settle_coworker(self, coworker: Record, by: str) -> None:
        """Let the teams know whom they have after a customer was written."""
        table = self.tables["teams"]
        wanted = set(_numbers(coworker.get("Teams")))
        for team in list(table.current()):
            members = _numbers(team.get("TeamMembers"))
            if (team["Id"] in wanted) != (coworker["Id"] in members):
                rest = [member for member in members if member != coworker["Id"]]
                values = team | {"TeamMembers": [*rest, coworker["Id"]] if team["Id"] in wanted else rest}
                self.copy_to_team(values)
                table.replace(team["Id"], values, self.core.clock.now(), by)


def _numbers(given: Any) -> list[int]:
    """The ids of a list; nothing of what is no list."""
    numbers = cast("list[object]", given) if isinstance(given, list) else []
    return [number for number in numbers if isinstance(number, int)]
