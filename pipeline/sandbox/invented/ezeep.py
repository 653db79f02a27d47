"""An invented space that prints with ezeep: its organisation, and the flags of its customers.

What belongs here: what differs from a space on PaperCut (`world.py`). What does not: who the people are, and what they
print (`prints.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

Json = dict[str, Any]


def organisation(business_id: int, printers: Iterable[str]) -> Json:
    """The organisation of a space before printbridge: its administrator and its printers."""
    admin = {"email": "office@example.com", "first_name": "Front", "last_name": "Desk", "is_verified": True}
    return {"system": "ezeep", "business_id": business_id, "printers": list(printers), "users": [admin]}


def flag(accounts: Iterable[Json], businesses: Collection[int]) -> None:
    """Give the customers of spaces on ezeep its flags: who may print with PaperCut elsewhere may with ezeep here."""
    for account in accounts:
        here = account["InvoicingBusinessId"] in businesses
        free = here and account["PaperCutFreePrinting"]
        account["EzeepBluePrintingEnabled"] = here and (free or account["PaperCutPayAsYouPrint"])
        account["EzeepBlueFreePrinting"] = free
