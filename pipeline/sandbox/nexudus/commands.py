"""Commands of the Nexudus sandbox (`POST .../runcommand`; `nexudus-api.md` 3.1, 4.10, 5.4, 6.2).

What belongs here: from a command's key and ids to what it does, customers and credits. What does not: how the call
arrives (`service.py`), invoices (`invoices.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pipeline.sandbox.nexudus.answers import GenericError, InvalidError, error
from pipeline.sandbox.nexudus.entities import CREDITS
from pipeline.sandbox.nexudus.invoices import Invoices
from pipeline.sandbox.nexudus.records import Entity, Record, is_date, stamp
from pipeline.sandbox.nexudus.rules import Rules
from pipeline.sandbox.nexudus.switches import choice

CUSTOMER_COMMANDS = ("COWORKER_BILL_RUN", "COWORKER_DELETE")
SHARING = ("ShareExtraServices", "TransferCreditsToPayingMember")
"""Either lets the members of a team use the printing credits of its payer."""


@dataclass(frozen=True)
class Commands:
    """The commands over all tables."""

    rules: Rules

    @property
    def invoices(self) -> Invoices:
        """What happens to invoices."""
        return Invoices(self.rules)

    def keys(self, entity: Entity) -> list[str]:
        """The command keys that an entity shows; those of invoices work without being shown, as they were seen to."""
        if entity.path == "coworkers":
            return list(CUSTOMER_COMMANDS)
        adjust = self._adjust()
        return [adjust["key"]] if entity.path == "coworkerextraservices" and adjust else []

    def run(self, entity: Entity, body: Record, by: str) -> tuple[str, list[Record]]:
        """Run the command that the body names on its `Ids`; the message of the answer and the records made.

        Raises:
            GenericError: an id or key is unknown, or a customer to delete still has sales or invoices.
            FailureError: an invoice is not in a state for the command.
        """
        key = str(body.get("Key"))
        known = {*self.keys(entity), *(self.invoices.commands if entity.path == "coworkerinvoices" else ())}
        records = [self.rules.tables[entity.path].get(number) for number in _ids(body.get("Ids"))]
        if key not in known or not records or None in records:
            raise GenericError
        made: list[Record] = []
        for record in cast("list[Record]", records):
            made += self._run(key, record, body, by)
        return f"{len(records)} record(s) were processed successfully.", made

    def _run(self, key: str, record: Record, body: Record, by: str) -> list[Record]:
        if key in self.invoices.commands:
            return self.invoices.commands[key](record, _parameters(body.get("Parameters")), by)
        if key == "COWORKER_BILL_RUN":
            if choice(self.rules.core, "bill_run") == "invoice":
                self.invoices.bill(record, by)
        elif key == "COWORKER_DELETE":
            self._delete_customer(record)
        else:
            self._adjust_credit(record, body.get("Parameters"), by)
        return []

    # Customers ----------------------------------------------------------------------------------------------------

    def _delete_customer(self, coworker: Record) -> None:
        """The customer vanishes with its credits, unless sales or invoices hang on it (`nexudus-api.md` 4.10)."""
        tables, now = self.rules.tables, self.rules.core.clock.now()
        for path in ("coworkerproducts", "coworkerinvoices"):
            if any(row.get("CoworkerId") == coworker["Id"] for row in tables[path].current()):
                raise GenericError
        credits_ = tables["coworkerextraservices"]
        for number in [row["Id"] for row in credits_.current() if row.get("CoworkerId") == coworker["Id"]]:
            credits_.delete(number, now)
        tables["coworkers"].delete(coworker["Id"], now)

    # Credits ------------------------------------------------------------------------------------------------------

    def _adjust(self) -> Mapping[str, str] | None:
        """The switch `credit_command`: `none`, or `{"key": ..., "effect": "set" | "use"}`."""
        value = choice(self.rules.core, "credit_command")
        return cast("dict[str, str]", value) if isinstance(value, dict) and "key" in value else None

    def _adjust_credit(self, credit: Record, parameters: Any, by: str) -> None:
        adjust = self._adjust() or {}
        try:
            amount = CREDITS.fields["TotalUses"].parse(parameters[0]["Value"])
            left, total = int(credit.get("RemainingUses", 0)), int(credit.get("TotalUses", 0))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise GenericError from None
        remaining = left - amount if adjust.get("effect", "use") == "use" else amount
        if not 0 <= remaining <= total:
            raise InvalidError(error("RemainingUses", "is out of range", remaining))
        self.rules.write(CREDITS, credit["Id"], credit | {"RemainingUses": remaining}, by)

    def use_credits(self, coworker_id: int, amount: int) -> int:
        """Use printing credits up as the service itself would, in the order of `credit_order`.

        The customer's own credits come first, then those of the payer of a team that shares them.

        Returns:
            How many uses were taken; fewer than `amount` when there are not so many.
        """
        payers = [
            team["PayingMemberId"]
            for team in self.rules.teams_of(coworker_id)
            if team.get("PayingMemberId") and any(team.get(name) for name in SHARING)
        ]
        open_ = amount
        for owner in dict.fromkeys([coworker_id, *payers]):
            for row in self._usable(owner):
                used = min(open_, row["RemainingUses"])
                if used:
                    values = row | {"RemainingUses": row["RemainingUses"] - used}
                    self.rules.write(CREDITS, row["Id"], values, "admin@example.com")
                    open_ -= used
        return amount - open_

    def _usable(self, owner: int) -> list[Record]:
        """The printing credits of a customer that can be used now, in their order."""
        now = stamp(self.rules.core.clock.now())
        own = [
            row
            for row in self.rules.tables["coworkerextraservices"].current()
            if row.get("CoworkerId") == owner
            and row.get("ExtraServiceIsPrintingCredit")
            and isinstance(row.get("RemainingUses"), int)
            and not (is_date(row.get("ExpireDate")) and row["ExpireDate"] <= now)
            and not (is_date(row.get("ValidFrom")) and row["ValidFrom"] > now)
        ]
        own.sort(key=lambda row: row["Id"])
        if choice(self.rules.core, "credit_order") == "earliest_expiry":
            own.sort(key=lambda row: row["ExpireDate"] if is_date(row.get("ExpireDate")) else "9999")
        return own


def _ids(given: Any) -> list[int]:
    """The ids of a command; what is no id is one that nothing has."""
    numbers = cast("list[object]", given) if isinstance(given, list) else []
    return [int(text) if (text := str(number).strip()).isdecimal() and len(text) < 20 else 0 for number in numbers]


def _parameters(given: Any) -> dict[str, Any]:
    """The parameters of a command by name."""
    rows = cast("list[object]", given) if isinstance(given, list) else []
    records = [cast("Record", row) for row in rows if isinstance(row, dict)]
    return {str(row.get("Name")): row.get("Value") for row in records}
