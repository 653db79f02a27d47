"""Invoices of the Nexudus sandbox: how sales get on one, and what staff does with it afterwards.

What belongs here: the bill run, and the commands pay, void, cancel (a credit note), refund and delete. What does not:
how commands arrive (`commands.py`). Source: `nexudus-api.md` 6.2 to 6.4 and its corrections of 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipeline.sandbox.nexudus.answers import FailureError, GenericError
from pipeline.sandbox.nexudus.entities import INVOICE_LINES, INVOICES, SALES
from pipeline.sandbox.nexudus.records import Record, is_date, stamp
from pipeline.sandbox.nexudus.rules import Rules
from pipeline.sandbox.nexudus.switches import choice

NOTHING = Decimal("0.00")
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Invoices:
    """Invoices over all tables."""

    rules: Rules

    @property
    def commands(self) -> dict[str, Callable[[Record, Parameters, str], list[Record]]]:
        """What each command does to one invoice; the answer is the records that it made."""
        return {
            "PAY_COWORKER_INVOICE_MANUAL": self._pay,
            "VOID_INVOICE": self._void,
            "COWORKER_INVOICE_CANCEL": self._cancel,
            "COWORKER_INVOICE_REFUND": self._refund,
            "COWORKER_INVOICE_DELETE": self._delete,
        }

    # The bill run -------------------------------------------------------------------------------------------------

    def bill(self, coworker: Record, by: str) -> list[Record]:
        """One invoice with a line for every sale that is open and due; a team's payer gets the members' sales, too."""
        now = stamp(self.rules.core.clock.now())
        sales = [
            sale
            for sale in self.rules.tables["coworkerproducts"].current()
            if not sale.get("Invoiced") and _due(sale, now) <= now and self._payer(sale) == coworker["Id"]
        ]
        if not sales:
            return []
        full = [SALES.full(sale) for sale in sorted(sales, key=lambda sale: sale["Id"])]
        invoice = self._invoice(coworker, full, by)
        for position, sale in enumerate(full, start=1):
            self._line(invoice, sale, position, by)
            billed = {"Invoiced": True, "InvoicedOn": now}
            billed |= {"CoworkerInvoiceId": invoice["Id"], "CoworkerInvoiceNumber": invoice["InvoiceNumber"]}
            self.rules.write(SALES, sale["Id"], sale | billed, by)
        return [invoice]

    def _payer(self, sale: Record) -> int | None:
        """Who pays for a sale: the customer, or the paying member of the team unless the sale says otherwise."""
        coworker = sale.get("CoworkerId")
        if not sale.get("InvoiceThisCoworker"):
            for team in self.rules.teams_of(coworker):
                if team.get("PayingMemberId"):
                    return team["PayingMemberId"]
        return coworker

    def _invoice(self, coworker: Record, sales: list[Record], by: str) -> Record:
        total = sum((_amount(sale["TotalPrice"]) for sale in sales), NOTHING)
        return self._insert(
            {
                "CoworkerId": coworker["Id"],
                "CoworkerFullName": coworker.get("FullName"),
                "BillToName": coworker.get("BillingName") or coworker.get("FullName"),
                "BusinessId": sales[0]["BusinessId"],
                "BusinessName": self.rules.related("businesses", sales[0]["BusinessId"]).get("Name"),
                "CurrencyCode": sales[0]["ProductCurrencyCode"],
                "TotalAmount": total,
                "DueAmount": total,
                "DueDate": stamp(self.rules.core.clock.now()),
            },
            "INV",
            by,
        )

    def _insert(self, values: Record, prefix: str, by: str) -> Record:
        table = self.rules.tables["coworkerinvoices"]
        values["InvoiceNumber"] = f"{prefix}-{len(table.rows) + 1:04d}"
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

    # What staff does ----------------------------------------------------------------------------------------------

    def _pay(self, invoice: Record, _parameters: Parameters, by: str) -> list[Record]:
        """Paid by hand; sales and lines repeat it."""
        _refuse_if(invoice, "Paid", "Void", "CreditNote")
        paid: Record = {"Paid": True, "PaidOn": stamp(self.rules.core.clock.now()), "DueAmount": NOTHING}
        self.rules.write(INVOICES, invoice["Id"], invoice | paid | {"PaidAmount": invoice.get("TotalAmount")}, by)
        return []

    def _void(self, invoice: Record, _parameters: Parameters, by: str) -> list[Record]:
        """Void, and still there; what becomes of its sales is the switch `dropped_invoice_sales`."""
        _refuse_if(invoice, "Paid", "Void", "CreditNote")
        self.rules.write(INVOICES, invoice["Id"], invoice | {"Void": True, "DueAmount": NOTHING}, by)
        self._release_sales(invoice, by)
        return []

    def _cancel(self, invoice: Record, parameters: Parameters, by: str) -> list[Record]:
        """A credit note: a new invoice of the amount `Amount{id}` below zero; the sales stay invoiced."""
        _refuse_if(invoice, "Paid", "Void", "CreditNote")
        total, before = _amount(invoice.get("TotalAmount")), _amount(invoice.get("CreditedAmount"))
        amount = _amount(parameters.get(f"Amount{invoice['Id']}", total - before))
        if not 0 < amount <= total - before:
            raise GenericError
        if str(parameters.get("Preview", "false")).casefold() == "true":
            return []
        kept = ("CoworkerId", "CoworkerFullName", "BillToName", "BusinessId", "BusinessName", "CurrencyCode")
        values: Record = {name: invoice.get(name) for name in kept}
        values |= {"CreditNote": True, "OriginalInvoiceGuid": invoice["UniqueId"], "TotalAmount": -amount}
        note = self._insert(values | {"DueDate": stamp(self.rules.core.clock.now())}, "CN", by)
        self._credit_lines(invoice, note, amount, by)
        left = {"CreditedAmount": before + amount, "DueAmount": total - before - amount}
        table = self.rules.tables["coworkerinvoices"]
        row = table.rows[invoice["Id"]]
        row.values = table.entity.sparse(invoice | left)  # UpdatedOn stands still, as it was seen to
        return [INVOICES.full(note)]

    def _credit_lines(self, invoice: Record, note: Record, amount: Decimal, by: str) -> None:
        for line in self._lines(invoice):
            part = min(amount, _amount(line.get("SubTotal")))
            if part > 0:
                shared = ("Description", "DisplayAs", "CoworkerProductName", "TaxCategoryName", "Position")
                values: Record = {name: line.get(name) for name in shared}
                values |= {
                    "CoworkerInvoiceId": note["Id"],
                    "CoworkerInvoiceInvoiceNumber": note["InvoiceNumber"],
                    "CoworkerInvoiceCreditNote": True,
                    "CancelledCoworkerInvoiceLineUniqueId": line["UniqueId"],
                    "SubTotal": -part,
                    "UnitPrice": -part,
                }
                self.rules.complete(INVOICE_LINES, values)
                self.rules.tables["coworkerinvoicelines"].insert(values, self.rules.core.clock.now(), by)
                amount -= part

    def _refund(self, invoice: Record, _parameters: Parameters, by: str) -> list[Record]:
        """Refunded: the same record stays paid, and `RefundedAmount` stays as it is, as it was seen to."""
        _refuse_if(invoice, "Void", "CreditNote", "Refunded")
        if not invoice.get("Paid"):
            raise _NotNowError
        refunded = {"Refunded": True, "RefundedOn": stamp(self.rules.core.clock.now())}
        self.rules.write(INVOICES, invoice["Id"], invoice | refunded, by)
        return []

    def _delete(self, invoice: Record, _parameters: Parameters, by: str) -> list[Record]:
        """The invoice and its lines are gone for good; the sales as with void."""
        _refuse_if(invoice, "Paid")
        self._release_sales(invoice, by)
        now = self.rules.core.clock.now()
        for line in list(self._lines(invoice)):
            self.rules.tables["coworkerinvoicelines"].delete(line["Id"], now)
        self.rules.tables["coworkerinvoices"].delete(invoice["Id"], now)
        return []

    def _lines(self, invoice: Record) -> Iterable[Record]:
        rows = self.rules.tables["coworkerinvoicelines"].current()
        return [line for line in rows if line.get("CoworkerInvoiceId") == invoice["Id"]]

    def _release_sales(self, invoice: Record, by: str) -> None:
        if choice(self.rules.core, "dropped_invoice_sales") == "release":
            free = {"Invoiced": False, "InvoicedOn": None, "CoworkerInvoiceId": None, "CoworkerInvoiceNumber": None}
            for sale in list(self.rules.tables["coworkerproducts"].current()):
                if sale.get("CoworkerInvoiceId") == invoice["Id"]:
                    self.rules.write(SALES, sale["Id"], sale | free, by)


class _NotNowError(FailureError):
    """The invoice is not in a state for this command (the words are real, the status is ours)."""

    def __init__(self) -> None:
        super().__init__(400, {"Message": "This command cannot be run for the CoworkerInvoice"})


def _refuse_if(invoice: Record, *states: str) -> None:
    if any(invoice.get(state) for state in states):
        raise _NotNowError


def _due(sale: Record, now: str) -> str:
    """From when a sale goes on the next invoice."""
    return max((sale[name] for name in ("DueDate", "InvoiceOn") if is_date(sale.get(name))), default=now)


def _amount(value: object) -> Decimal:
    """An amount of a record or a parameter.

    Raises:
        GenericError: no number.
    """
    try:
        amount = Decimal(str(value or 0))
    except ArithmeticError:
        raise GenericError from None
    if not amount.is_finite() or abs(amount.adjusted()) > 30:
        raise GenericError
    return amount
