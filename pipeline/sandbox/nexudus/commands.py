"""Commands of the Nexudus sandbox (`POST .../runcommand`; `nexudus-api.md` 3.1, 4.10, 5.4, 6.2).

What belongs here: what each command does to records. What does not: how the call arrives (`service.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from pipeline.sandbox.nexudus.answers import GenericError, InvalidError, error
from pipeline.sandbox.nexudus.entities import CREDITS, INVOICE_LINES, INVOICES, SALES
from pipeline.sandbox.nexudus.records import Entity, Record, stamp
from pipeline.sandbox.nexudus.rules import Rules
from pipeline.sandbox.nexudus.switches import choice

CUSTOMER_COMMANDS = ("COWORKER_BILL_RUN", "COWORKER_DELETE")


@dataclass(frozen=True)
class Commands:
    """The commands over all tables."""

    rules: Rules

    def keys(self, entity: Entity) -> list[str]:
        """The command keys of an entity."""
        if entity.path == "coworkers":
            return list(CUSTOMER_COMMANDS)
        adjust = self._adjust()
        return [adjust["key"]] if entity.path == "coworkerextraservices" and adjust else []

    def run(self, entity: Entity, body: Record, by: str) -> str:
        """Run the command that the body names on its `Ids`; the message of the answer.

        Raises:
            GenericError: an id or key is unknown, or a customer to delete still has sales or invoices.
        """
        key, numbers = body.get("Key"), cast("list[int]", body.get("Ids") or [])
        records = [self.rules.tables[entity.path].get(int(number)) for number in numbers]
        if key not in self.keys(entity) or not records:
            raise GenericError
        for record in records:
            if record is None:
                raise GenericError
            if key == "COWORKER_BILL_RUN":
                self._bill(record, by)
            elif key == "COWORKER_DELETE":
                self._delete_customer(record)
            else:
                self._adjust_credit(record, body.get("Parameters") or [], by)
        return f"{len(records)} record(s) were processed successfully."

    # Customers ----------------------------------------------------------------------------------------------------

    def _bill(self, coworker: Record, by: str) -> None:
        """One invoice with a line for every sale that is open and due."""
        now = stamp(self.rules.core.clock.now())
        sales = [
            sale
            for sale in self.rules.tables["coworkerproducts"].current()
            if sale["CoworkerId"] == coworker["Id"]
            and not sale.get("Invoiced")
            and max(sale.get("DueDate") or now, sale.get("InvoiceOn") or now) <= now
        ]
        if not sales:
            return
        full = [SALES.full(sale) for sale in sorted(sales, key=lambda sale: sale["Id"])]
        invoice = self._invoice(coworker, full, by)
        for position, sale in enumerate(full, start=1):
            self._line(invoice, sale, position, by)
            billed = {"Invoiced": True, "InvoicedOn": now}
            billed |= {"CoworkerInvoiceId": invoice["Id"], "CoworkerInvoiceNumber": invoice["InvoiceNumber"]}
            self.rules.write(SALES, sale["Id"], sale | billed, by)

    def _invoice(self, coworker: Record, sales: list[Record], by: str) -> Record:
        table = self.rules.tables["coworkerinvoices"]
        business = self.rules.related("businesses", sales[0]["BusinessId"])
        values: Record = {
            "CoworkerId": coworker["Id"],
            "CoworkerFullName": coworker.get("FullName"),
            "BillToName": coworker.get("BillingName") or coworker.get("FullName"),
            "BusinessId": sales[0]["BusinessId"],
            "BusinessName": business.get("Name"),
            "CurrencyCode": sales[0]["ProductCurrencyCode"],
            "InvoiceNumber": f"INV-{len(table.rows) + 1:04d}",
            "TotalAmount": sum((sale["TotalPrice"] for sale in sales), Decimal("0.00")),
            "DueDate": stamp(self.rules.core.clock.now()),
        }
        self.rules.complete(INVOICES, values)
        return table.insert(values, self.rules.core.clock.now(), by)

    def _line(self, invoice: Record, sale: Record, position: int, by: str) -> None:
        product = self.rules.related("products", sale["ProductId"])
        business = self.rules.related("businesses", sale["BusinessId"])
        shows_notes = choice(self.rules.core, "notes_on_invoice") == "yes"
        values: Record = {
            "CoworkerInvoiceId": invoice["Id"],
            "CoworkerInvoiceInvoiceNumber": invoice["InvoiceNumber"],
            "CoworkerInvoiceCurrencyCode": sale["ProductCurrencyCode"],
            "CoworkerInvoiceDueDate": invoice["DueDate"],
            "CoworkerProductName": sale["ProductName"],
            "CoworkerProductUniqueId": sale["UniqueId"],
            "Description": sale["ProductName"],
            "DisplayAs": sale["Notes"] if shows_notes else product.get("InvoiceLineDisplayAs"),
            "IssuedByUniqueId": business.get("UniqueId"),
            "Position": position,
            "PurchaseOrder": sale["PurchaseOrder"],
            "Quantity": sale["Quantity"],
            "SaleDate": sale["SaleDate"],
            "SubTotal": sale["TotalPrice"],
            "TaxCategoryName": "[No Tax]",
            "UnitPrice": sale["UnitPrice"],
        }
        self.rules.complete(INVOICE_LINES, values)
        self.rules.tables["coworkerinvoicelines"].insert(values, self.rules.core.clock.now(), by)

    def _delete_customer(self, coworker: Record) -> None:
        """The customer vanishes with its credits, unless sales or invoices hang on it (`nexudus-api.md` 4.10)."""
        tables, now = self.rules.tables, self.rules.core.clock.now()
        for path in ("coworkerproducts", "coworkerinvoices"):
            if any(row["CoworkerId"] == coworker["Id"] for row in tables[path].current()):
                raise GenericError
        credits_ = tables["coworkerextraservices"]
        for number in [row["Id"] for row in credits_.current() if row["CoworkerId"] == coworker["Id"]]:
            credits_.delete(number, now)
        tables["coworkers"].delete(coworker["Id"], now)

    # Credits ------------------------------------------------------------------------------------------------------

    def _adjust(self) -> Mapping[str, str] | None:
        """The switch `credit_command`: `none`, or `{"key": ..., "effect": "set" | "use"}`."""
        value = choice(self.rules.core, "credit_command")
        return cast("dict[str, str]", value) if isinstance(value, dict) else None

    def _adjust_credit(self, credit: Record, parameters: list[Record], by: str) -> None:
        adjust = self._adjust() or {}
        try:
            amount = int(parameters[0]["Value"])
        except (IndexError, KeyError, TypeError, ValueError):
            raise GenericError from None
        left = credit.get("RemainingUses", 0)
        remaining = left - amount if adjust.get("effect", "use") == "use" else amount
        if not 0 <= remaining <= credit.get("TotalUses", 0):
            raise InvalidError(error("RemainingUses", "is out of range", remaining))
        self.rules.write(CREDITS, credit["Id"], credit | {"RemainingUses": remaining}, by)

    def use_credits(self, coworker_id: int, amount: int) -> int:
        """Use a customer's printing credits up as the service itself would, in the order of `credit_order`.

        Returns:
            How many uses were taken; fewer than `amount` when there are not so many.
        """
        rows = self.rules.tables["coworkerextraservices"].current()
        own = [row for row in rows if row["CoworkerId"] == coworker_id and row.get("ExtraServiceIsPrintingCredit")]
        own.sort(key=lambda row: row["Id"])
        if choice(self.rules.core, "credit_order") == "earliest_expiry":
            own.sort(key=lambda row: row.get("ExpireDate") or "9999")
        open_ = amount
        for row in own:
            used = min(open_, row.get("RemainingUses", 0))
            if used:
                values = row | {"RemainingUses": row["RemainingUses"] - used}
                self.rules.write(CREDITS, row["Id"], values, "admin@example.com")
                open_ -= used
        return amount - open_
