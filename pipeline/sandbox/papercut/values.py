"""What callers send to a PaperCut server, as its tables keep it, or refused.

What belongs here: amounts, truth values and the refusal itself. What does not: the words of a refusal (`server.py`) and
the rows (`records.py`).
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation


class RefusedError(Exception):
    """PaperCut refuses a request. `kind` names the switch `fault_text_<kind>` that holds the words."""

    def __init__(self, kind: str, name: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"{kind} {name}".strip())


def flag(value: object) -> str:
    """A truth value as the tables keep it."""
    return "Y" if value else "N"


def money(text: object) -> Decimal:
    """An exact amount from what a caller sent: a number or its text.

    Raises:
        RefusedError: not a number, or one that no Java double holds.
    """
    try:
        amount = Decimal(str(text))
    except InvalidOperation as error:
        raise RefusedError("bad_number", str(text)[:100]) from error
    if not amount.is_finite() or not math.isfinite(float(amount)):
        raise RefusedError("bad_number", str(text)[:100])
    return amount
