"""An invented space that prints with ezeep: its organisation, the flags of its customers, and its configuration.

What belongs here: what differs from a space on PaperCut (`world.py`). What does not: who the people are, and what they
print (`prints.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

Json = dict[str, Any]

COLUMNS = {
    "user_email": "User", "printed_at": "Date", "pages": "Pages", "printer": "Printer", "colour": "Color",
    "paper": "Paper", "duplex": "Duplex", "status": "Status",
}  # fmt: skip
"""The headers of the sandbox's reports, by our names."""


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


def section(
    name: str, ready: Mapping[str, Any], printers: Iterable[tuple[str, int, int]]
) -> tuple[list[str], dict[str, str]]:
    """The lines of bridge.toml that are ezeep's alone, and the environment with its secrets.

    Args:
        name: of the site.
        ready: what the ready file says of it.
        printers: name, credits a grey page, credits a colour page; 0: it prints none.
    """
    client_id, secret = f"EZEEP_CLIENT_ID_{name.upper()}", f"EZEEP_CLIENT_SECRET_{name.upper()}"
    values = {
        "account_url": ready["ezeep_account_url"], "api_url": ready["ezeep_api_url"], "client_id_env": client_id,
        "client_secret_env": secret, "organization_id": ready["organization_id"],
    }  # fmt: skip
    lines = ['print_system = "ezeep"', f"[sites.{name}.ezeep]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for printer, grey, colour in printers:
        for credits_, in_colour in ((grey, False), (colour or grey, True)):
            lines += [f"[[sites.{name}.prices]]", f"printer = {json.dumps(printer)}"]
            lines += [f"colour = {json.dumps(in_colour)}", f"credits_per_page = {credits_}"]
    lines += [f"[sites.{name}.jobs]", 'source = "csv"', f"path = {json.dumps(ready['reports_folder'])}"]
    lines += [f"columns.{key} = {json.dumps(value)}" for key, value in COLUMNS.items()]
    return lines, {client_id: ready["client_id"], secret: ready["client_secret"]}
