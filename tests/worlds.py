"""Small worlds for the sandbox: customers, credits, products and sites, by default with nothing wrong in them.

What belongs here: records as Nexudus and PaperCut have them. What does not: running anything (`harness.py`), random
worlds (`tests/campaign/worlds.py`), frames for the rules (`frames.py`).
"""

from __future__ import annotations

from typing import Any

NOW = "2026-11-02T09:00:00Z"
TODAY = "2026-11-02"
LONDON, LEEDS = 1, 2
PRINTING_CREDIT = 31
PRODUCTS = {LONDON: 51, LEEDS: 52}
PIN_LENGTH = "internal-users.self-registration.min-password-length"

Json = dict[str, Any]


def customer(number: int, **fields: Any) -> Json:
    """A Nexudus customer record; by default an active individual at London without any flag."""
    return {
        "Id": number, "FullName": f"Customer {number}", "Email": mail(number), "CoworkerType": 1,
        "InvoicingBusinessId": LONDON, "AccessPincode": f"{10000 + number:05d}", "Active": True, "Archived": False,
        "RegistrationDate": "2025-01-01T00:00:00Z", **fields,
    }  # fmt: skip


def mail(number: int) -> str:
    """The e-mail of a customer, which is the name of the print user, too."""
    return f"c{number}@example.com"


def credit(number: int, owner: int, remaining: int, **fields: Any) -> Json:
    """A printing credit of a customer."""
    return {
        "Id": number, "CoworkerId": owner, "BusinessId": LONDON, "ExtraServiceId": PRINTING_CREDIT,
        "TotalUses": remaining, "RemainingUses": remaining, "ChargePeriod": 5, **fields,
    }  # fmt: skip


def world(
    customers: list[Json], credits_: list[Json] | None = None, *, sites: tuple[str, ...] = ("london",), **switches: Any
) -> Json:
    """A world of one or two sites; each has a printer, a member of staff, and PaperCut's settings as they should be."""
    numbers = {"london": LONDON, "leeds": LEEDS}
    return {
        "clock": NOW,
        "switches": {"credit_put_remaining": "honour", **switches},
        "nexudus": {
            "businesses": [{"Id": LONDON, "Name": "London"}, {"Id": LEEDS, "Name": "Leeds"}],
            "coworkers": customers,
            "extraservices": [
                {"Id": PRINTING_CREDIT, "Name": "Printing", "BusinessId": LONDON, "IsPrintingCredit": True,
                 "ChargePeriod": 5, "Price": 1}
            ],
            "coworkerextraservices": credits_ or [],
            "products": [
                {"Id": product, "BusinessId": business, "Name": "Printing", "Price": 0.01}
                for business, product in PRODUCTS.items()
            ],
            "coworkerproducts": [],
        },
        "sites": {
            name: {
                "business_id": numbers[name],
                "config": {
                    "timezone": "Europe/London", PIN_LENGTH: "8", "print_log_folder": f"printlog-{name}",
                    "auth.webservices.auth-token": f"token-of-{name}",
                },
                "users": [{"username": "staff", "full_name": "Staff", "internal": False, "restricted": False}],
                "printers": [{"server": "srv", "name": "p1"}],
                "jobs": [],
            }
            for name in sites
        },
    }  # fmt: skip


def ezeep_world(customers: list[Json], credits_: list[Json] | None = None, *, users: list[Json] | None = None,
                **switches: Any) -> Json:  # fmt: skip
    """A world of one site on ezeep, `lisbon`, at the location of London, with its administrator and a printer."""
    staff = [{"email": "admin@example.com", "first_name": "Ada", "last_name": "Min", "is_verified": True}]
    site = {"system": "ezeep", "business_id": LONDON, "printers": ["Front"], "users": [*staff, *(users or [])]}
    return world(customers, credits_, sites=(), **switches) | {"sites": {"lisbon": site}}


def printer_customer(number: int, **fields: Any) -> Json:
    """A customer who may print with ezeep."""
    return customer(number, **{"EzeepBluePrintingEnabled": True, "EzeepBlueFreePrinting": False, **fields})
