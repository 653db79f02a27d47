"""Charges that a person decides: held lines become sent, waived or done.

What belongs here: the decision of an operator, with name and reason, and its proof where it names a sale in Nexudus.
What does not: why a line was held (`domain/charges.py`, `assets/load`), and the states themselves (`ledger.py`).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from pipeline import ledger
from pipeline.domain import records
from pipeline.errors import ConfigError, UnsafeError
from pipeline.resources import Bridge, site_lock

LOCK_SECONDS = 60.0

Line = dict[str, Any]


def decide(
    bridge: Bridge, refs: list[str], state: str, *, reason: str, operator: str, sale: int | None = None
) -> list[Line]:
    """Move held lines, all of them or none, each under the lock of its site.

    Args:
        bridge: the configured bridge.
        refs: references of held lines.
        state: priced (to be sent), void (waived) or confirmed (done).
        reason: why, in the words of the operator.
        operator: who decides.
        sale: for one line that is confirmed, the Nexudus id of its sale.

    Returns:
        The lines as they were.

    Raises:
        MissingError: there is no such line, or no such sale.
        UnsafeError: a line is not held, has nobody to be charged, or does not agree with the sale.
        TransientError: a run held the site for too long.
    """
    refs = list(dict.fromkeys(refs))
    with bridge.warehouse.connect() as con:
        sites = sorted({str(ledger.line(con, ref)["site"]) for ref in refs})
    with ExitStack() as locks:
        for site in sites:
            locks.enter_context(site_lock(bridge.home.locks, site, wait_seconds=LOCK_SECONDS))
        with bridge.warehouse.connect() as con:
            lines = [ledger.line(con, ref) for ref in refs]
        for line in lines:
            _check(bridge, line, state, sale)
        with bridge.warehouse.transaction() as con:
            moves = ledger.moves_of([(line["ref"], sale, _detail(line, state, reason)) for line in lines])
            ledger.move(con, moves, state, bridge.mover("command", operator))
    return lines


def _check(bridge: Bridge, line: Line, state: str, sale: int | None) -> None:
    """Refuse what would leave the ledger and Nexudus in disagreement."""
    if line["state"] != "held":
        raise UnsafeError(
            f"Line {line['ref']} is {line['state']}, not held; nothing was changed",
            f"`printbridge explain {line['ref']}` shows its history",
        )
    if state == "priced" and (line["coworker_id"] is None or not line["amount_cents"]):
        raise UnsafeError(
            f"Line {line['ref']} has no customer or no amount, so it cannot be sent; nothing was changed",
            "charge it by hand in Nexudus and confirm it, or void it",
        )
    if sale is not None:
        _check_sale(bridge, line, sale)


def _detail(line: Line, state: str, reason: str) -> str:
    """The reason; for a confirmed credit in the form that says since when the extract contains the use."""
    if state != "confirmed" or line["kind"] not in {"credit", "undo_credit"}:
        return reason
    return json.dumps({"mode": "nexudus", "updated_on": line["printed_at"].isoformat(), "reason": reason})


def _check_sale(bridge: Bridge, line: Line, sale: int) -> None:
    if line["kind"] != "sale":
        raise ConfigError(f"Line {line['ref']} is of kind {line['kind']}, which has no sale", "leave out --sale")
    found = records.sales([bridge.nexudus.record("coworkerproducts", sale)]).row(0, named=True)
    if (found["coworker_id"], found["quantity"]) != (line["coworker_id"], line["amount_cents"]):
        raise UnsafeError(
            f"Sale {sale} is {found['quantity']} cents for customer {found['coworker_id']}, but line {line['ref']} is"
            f" {line['amount_cents']} cents for customer {line['coworker_id']}; nothing was changed",
            "name the right sale, or confirm without --sale if this difference is wanted",
        )
