"""What a write means in the Nexudus sandbox: defaults, copies, validation and commands (`nexudus-api.md` 3 to 6).

What belongs here: the rules of records, each unknown as a switch (10.1 and 10.3). What does not: HTTP and envelopes
(`service.py`), lists (`lists.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pipeline.sandbox.core import Core
from pipeline.sandbox.nexudus.answers import FailureError, GenericError, InvalidError, RefusedError, error
from pipeline.sandbox.nexudus.entities import CREDITS
from pipeline.sandbox.nexudus.records import ENUMS, Entity, Record, stamp
from pipeline.sandbox.nexudus.switches import choice
from pipeline.sandbox.nexudus.tables import Table
from pipeline.sandbox.nexudus.teams import Teams


@dataclass(frozen=True)
class Rules:
    """The rules over all tables."""

    core: Core
    tables: Mapping[str, Table]

    # Create and replace -------------------------------------------------------------------------------------------

    def create(self, entity: Entity, body: Record, by: str) -> Record:
        """Make a record from the body of a POST.

        Raises:
            InvalidError: a required field is missing or a value breaks a rule.
        """
        values = self._parse(entity, body, {})
        self._require(entity, values, entity.required)
        values |= self._lists(entity, {}, body)
        self.complete(entity, values)
        self._check(entity, values, body, {})
        record = self.tables[entity.path].insert(values, self.core.clock.now(), by)
        self._touch(entity, record, by)
        self._settle(entity, record, by, new=True)
        return self.tables[entity.path].rows[record["Id"]].values

    def replace(self, entity: Entity, old: Record, body: Record, by: str) -> Record:
        """Replace a whole record with the body of a PUT: what is left out is cleared or false (`nexudus-api.md` 3.4).

        Raises:
            InvalidError: as for `create`.
        """
        values = self._parse(entity, body, old)
        self._require(entity, values, (*entity.required, *entity.required_on_update), sent=body)
        if entity.path == "coworkerextraservices":
            values |= self._credit_uses(old, body)
        values |= self._lists(entity, old, body)
        self._check(entity, values, body, old)
        kept = {name: old[name] for name in old if name in entity.read_only or name not in entity.fields}
        flags = (name for name, item in entity.fields.items() if item.kind == "flag" and name not in entity.read_only)
        off = dict.fromkeys(flags, False)
        return self.write(entity, old["Id"], off | kept | values, by)

    def write(self, entity: Entity, number: int, values: Record, by: str) -> Record:
        """Keep the values of an existing record, with the copies that hang on it."""
        before = self.tables[entity.path].rows[number].values
        self.copy(entity, values)
        record = self.tables[entity.path].replace(number, values, self.core.clock.now(), by)
        if record.get("RemainingUses") != before.get("RemainingUses"):
            self._touch(entity, record, by)
        if entity.path == "coworkerinvoices":
            self._spread_payment(record, by)
        self._settle(entity, record, by, new=False)
        return self.tables[entity.path].rows[number].values

    def found(self, entity: Entity, values: Record, created: datetime) -> Record:
        """Keep a record of a world file, or of the screens, as it is, with defaults for what it leaves out."""
        self.complete(entity, values, given=True)
        record = self.tables[entity.path].insert(values, created, values["UpdatedBy"])
        self._settle(entity, record, str(values["UpdatedBy"]), new=True)
        return self.tables[entity.path].rows[record["Id"]].values

    def _settle(self, entity: Entity, record: Record, by: str, *, new: bool) -> None:
        """Let both sides of a team know who is in it."""
        if entity.path == "teams":
            self.teams.settle_team(record, by, new=new)
        elif entity.path == "coworkers" and self.tables["teams"].rows:
            self.teams.settle_coworker(record, by)

    @property
    def teams(self) -> Teams:
        """Who is in which team."""
        return Teams(self.core, self.tables)

    def teams_of(self, coworker_id: object) -> list[Record]:
        """The teams of a customer."""
        return self.teams.of(coworker_id)

    def complete(self, entity: Entity, values: Record, *, given: bool = False) -> None:
        """Give a new record what the service adds: names, PIN, location, remaining uses, copies.

        Args:
            entity: what it is.
            values: what the record says; changed in place.
            given: it comes from a world file or the screens, where an explicit null stays null.
        """
        nulls = [name for name, value in values.items() if value is None] if given else []
        table = self.tables[entity.path]
        number = int(values.get("Id") or max(table.newest_id + 1, entity.first_id))
        values["Id"] = number
        if entity.path == "coworkers":
            first, *rest = str(values.get("FullName") or "").split() or [""]
            # A location left out falls back silently to another one (`nexudus-api.md` 4.2).
            home = values.get("InvoicingBusinessId") or next(iter(self.tables["businesses"].rows), 0)
            moment = self.core.clock.now() + timedelta(seconds=0.234972)
            made = {
                "InvoicingBusinessId": home,
                "Businesses": [home],
                "AccessPincode": f"{table.seed(number).randrange(100_000):05d}",
                "RegistrationDate": values.get("CreatedOn") or stamp(moment),
                "GuessedFirstName": first,
                "GuessedLastName": " ".join(rest) or None,
                "Salutation": first,
            }
            values |= {name: value for name, value in made.items() if values.get(name) in (None, [])}
        elif entity.path == "coworkerextraservices" and values.get("RemainingUses") is None:
            values["RemainingUses"] = values.get("TotalUses") or 0
        self.copy(entity, values)
        values |= dict.fromkeys(nulls)

    # Copies -------------------------------------------------------------------------------------------------------

    def copy(self, entity: Entity, values: Record) -> None:
        """Fill the read-only fields that repeat what other records say."""
        business = self.related("businesses", values.get("BusinessId") or values.get("InvoicingBusinessId"))
        match entity.path:
            case "coworkers":
                values["InvoicingBusinessName"] = business.get("Name")
                values["ToStringText"] = f"{values.get('FullName')} - {values.get('Email')}"
                self.teams.copy_to_coworker(values)
            case "teams":
                self.teams.copy_to_team(values)
            case "coworkerextraservices":
                rate = self.related("extraservices", values.get("ExtraServiceId"))
                values["ExtraServiceName"] = rate.get("Name")
                values["ExtraServiceCurrencyCode"] = rate.get("CurrencyCode")
                values["ExtraServiceIsPrintingCredit"] = rate.get("IsPrintingCredit", False)
                values["ToStringText"] = f"#{values['Id']}"
            case "coworkerproducts":
                self._copy_sale(values)
            case "extraservices" | "products":
                values["CurrencyCode"] = values.get("CurrencyCode") or business.get("CurrencyCode", "EUR")
                values["CurrencyId"] = values.get("CurrencyId") or business.get("CurrencyId", 3003)
                if entity.path == "products":
                    values["BusinessName"] = business.get("Name")
                values["ToStringText"] = values.get("Name")
            case "coworkerinvoicelines":
                values["ToStringText"] = values.get("Description")
            case _:
                values["ToStringText"] = values.get("Name") or f"#{values['Id']}"

    def _copy_sale(self, values: Record) -> None:
        coworker = self.related("coworkers", values.get("CoworkerId"))
        product = self.related("products", values.get("ProductId"))
        listed = product.get("Price", Decimal("0.00000")) or Decimal("0.00000")
        price, quantity = values.get("Price"), values.get("Quantity") or 0
        quantity = quantity if isinstance(quantity, int) else 0
        unit = listed if price is None else price
        total = unit * quantity
        if price is not None and quantity and choice(self.core, "sale_price_meaning") == "total":
            unit, total = price / quantity, price
        values |= {
            "CoworkerCoworkerType": ENUMS["eCoworkerType"].get(coworker.get("CoworkerType", 1) or 1, "Individual"),
            "CoworkerFullName": coworker.get("FullName"),
            "CoworkerCompanyName": coworker.get("CompanyName"),
            "CoworkerBillingName": coworker.get("BillingName") or coworker.get("FullName"),
            "CoworkerEmail": coworker.get("Email"),
            "ProductName": product.get("Name"),
            "ProductPrice": listed,
            "ProductApplyProRating": product.get("ApplyProRating", False),
            "ProductCurrencyCode": product.get("CurrencyCode"),
            "UnitPrice": unit,
            "TotalPrice": total,
            "ToStringText": f"#{values['Id']}",
        }

    def _spread_payment(self, invoice: Record, by: str) -> None:
        """Repeat on sales and lines whether their invoice is paid."""
        paid = invoice.get("Paid", False)
        for path in ("coworkerproducts", "coworkerinvoicelines"):
            table = self.tables[path]
            for row in [row for row in table.current() if row.get("CoworkerInvoiceId") == invoice["Id"]]:
                if row.get("CoworkerInvoicePaid", False) != paid:
                    table.replace(row["Id"], row | {"CoworkerInvoicePaid": paid}, self.core.clock.now(), by)

    def _touch(self, entity: Entity, credit: Record, by: str) -> None:
        """Renew the customer's `UpdatedOn` when a credit changed, if the switch says that the service does."""
        if entity.path == "coworkerextraservices" and choice(self.core, "credit_touches_coworker") == "yes":
            table = self.tables["coworkers"]
            coworker = table.get(credit.get("CoworkerId"))
            if coworker is not None:
                table.replace(coworker["Id"], coworker, self.core.clock.now(), by)

    # Validation ---------------------------------------------------------------------------------------------------

    def _parse(self, entity: Entity, body: Record, old: Record) -> Record:
        """The writable fields of a body as they are kept; keys that are no fields are accepted and ignored."""
        errors: list[Record] = []
        values: Record = {}
        writable_id = choice(self.core, "system_id_write") == "accept"
        words = choice(self.core, "enum_words") == "accept"
        for sent, value in body.items():
            name = entity.keys.get(sent.casefold(), "")
            if not name or (name in entity.read_only and not (name == "SystemId" and writable_id)):
                continue
            item = entity.fields[name]
            try:
                values[name] = item.parse(value)
                understood = words or not (item.enum and isinstance(value, str))
            except (ValueError, TypeError, ArithmeticError):
                understood = False
            if not understood:
                errors.append(error(name, "is not valid", str(value)))
        if errors:
            raise InvalidError(*errors)
        if old:
            values["Id"] = old["Id"]
        return values

    def _require(
        self, entity: Entity, values: Record, names: Iterable[str], sent: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse a record without its required fields; the words differ by kind (`nexudus-api.md` 3.3, sample 07)."""
        errors: list[Record] = []
        present = {name.casefold() for name, value in (sent or {}).items() if value is not None}
        for name in names:
            item = entity.fields[name]
            missing = values.get(name) in (None, "") or (item.kind == "ref" and not values.get(name))
            if sent is not None:
                missing = missing or name.casefold() not in present
            if not missing:
                continue
            if entity.path == "coworkers" and sent is None:
                message = "may not be null or empty" if item.kind == "text" else "may not be null"
            else:
                message = "is a required field"
            errors.append(error(name, message))
        if errors:
            raise InvalidError(*errors)

    def _check(self, entity: Entity, values: Record, body: Record, old: Record) -> None:
        errors: list[Record] = []
        for reference, path in _CHECKED_REFERENCES.items():
            if entity.path in _OWNED and reference in entity.fields:
                number = values.get(reference)
                if self.tables[path].get(number or 0) is None:
                    errors.append(error(reference, "is a required field", number))
        if entity.path == "coworkers" and len(str(values.get("FullName") or "")) > 254:
            errors.append(error("FullName", "length must be between 0 and 254"))
        if entity.path == "coworkerextraservices":
            errors += self._credit_errors(values)
        if entity.path == "coworkerproducts":
            errors += self._sale_errors(values)
        if old and choice(self.core, "put_race") == "reject_409":
            self._check_race(body, old)
        if errors:
            raise InvalidError(*errors)

    def _check_race(self, body: Record, old: Record) -> None:
        read = body.get("UpdatedOn")
        if read is not None and str(read)[:19] != str(old.get("UpdatedOn"))[:19]:
            raise FailureError(409, {"Message": "The record was changed by somebody else."})

    def _credit_errors(self, values: Record) -> Iterable[Record]:
        rate = self.related("extraservices", values.get("ExtraServiceId"))
        if rate.get("IsPrintingCredit") and values.get("ChargePeriod", 5) != 5:
            yield error("ChargePeriod", "must be Uses for a printing credit", values.get("ChargePeriod"))
        if values.get("TotalUses", 0) < (values.get("RemainingUses") or 0):
            yield error("RemainingUses", "must not be greater than TotalUses", values.get("RemainingUses"))
        start, end = values.get("ValidFrom"), values.get("ExpireDate")
        if start and end and end <= start:
            yield error("ExpireDate", "must be after ValidFrom", end)

    def _sale_errors(self, values: Record) -> Iterable[Record]:
        product = self.related("products", values.get("ProductId"))
        if product.get("Archived"):
            yield error("Product", "is archived", values.get("ProductId"))
        if choice(self.core, "negative_sale") == "refuse_400":
            if values.get("Quantity", 0) < 0:
                yield error("Quantity", "must be greater than or equal to 0", values["Quantity"])
            if (values.get("Price") or 0) < 0:
                yield error("Price", "must be greater than or equal to 0", str(values["Price"]))
        for name, switch in (("Notes", "notes_max"), ("PurchaseOrder", "purchase_order_max")):
            longest, text = choice(self.core, switch), values.get(name)
            if longest is not None and text is not None and len(text) > int(longest):
                if choice(self.core, "text_over") == "reject_400":
                    yield error(name, f"length must be between 0 and {longest}")
                values[name] = text[: int(longest)]

    def _credit_uses(self, old: Record, body: Record) -> Record:
        """`TotalUses` and `RemainingUses` after a PUT, as the two switches say (`nexudus-api.md` 5.4)."""
        result: Record = {"BusinessId": old.get("BusinessId", 0)}
        for name, switch in (("TotalUses", "credit_put_total"), ("RemainingUses", "credit_put_remaining")):
            result[name] = old.get(name, 0)
            try:
                sent = CREDITS.fields[name].parse(body.get(name, result[name]))
            except (ValueError, TypeError, ArithmeticError):
                raise InvalidError(error(name, "is not valid", str(body.get(name)))) from None
            rule = choice(self.core, switch)
            if sent != result[name] and rule == "reject_400":
                raise InvalidError(error(name, "can not be changed", sent))
            if rule == "honour":
                result[name] = sent
        return result

    @staticmethod
    def _lists(entity: Entity, old: Record, body: Record) -> Record:
        """Lists after a write: `X` replaces the list, `AddedX` and `RemovedX` change it, nothing of these clears it."""
        result: Record = {}
        for name in entity.lists:
            item = entity.fields[name]
            try:
                changes: list[list[int]] = [
                    item.parse(body.get(f"{change}{name}")) or [] for change in ("Added", "Removed")
                ]
            except (ValueError, TypeError, ArithmeticError):
                raise InvalidError(error(name, "is not valid")) from None
            if name.startswith(("Added", "Removed")):
                result[name] = None
            elif body.get(name) is not None or not any(changes):
                result[name] = item.parse(body.get(name))
            else:
                added, removed = changes
                members: list[int] = [member for member in old.get(name) or () if member not in removed]
                result[name] = members + [member for member in added if member not in members]
        return result

    def related(self, path: str, number: int | None) -> Record:
        """The record with that id, or an empty one."""
        return self.tables[path].get(number or 0) or {}

    # Delete -------------------------------------------------------------------------------------------------------

    def delete(self, entity: Entity, record: Record) -> None:
        """Delete a record.

        Raises:
            InvalidError, RefusedError, GenericError: the ways in which the switches refuse it.
        """
        from_plan = entity.path == "coworkerextraservices" and record.get("IsFromTariff")
        if from_plan and choice(self.core, "credit_delete") == "refuse_from_plan":
            raise InvalidError(error("IsFromTariff", "the credit comes from a plan and can not be deleted"))
        if entity.path == "coworkerproducts" and record.get("Invoiced"):
            match choice(self.core, "delete_invoiced_sale"):
                case "refuse_400":
                    raise InvalidError(error("Invoiced", "this sale has already been charged"))
                case "refuse_200_false":
                    raise RefusedError("This sale has already been charged.")
                case "refuse_500":
                    raise GenericError
                case _:
                    pass
        self.tables[entity.path].delete(record["Id"], self.core.clock.now())


_CHECKED_REFERENCES = {
    "CoworkerId": "coworkers",
    "BusinessId": "businesses",
    "ProductId": "products",
    "ExtraServiceId": "extraservices",
}
_OWNED = frozenset({"coworkerproducts", "coworkerextraservices"})
