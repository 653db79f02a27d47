"""A configuration of printbridge that serves an invented space: bridge.toml, and the environment with its secrets.

What belongs here: the keys of bridge.toml for a world and the sandbox that runs it. What does not: the world
(`world.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.sandbox.invented.world import PRINTERS, pricing_models, zone_of

Json = dict[str, Any]

COLUMNS = {
    "user_email": "User", "printed_at": "Date", "pages": "Pages", "printer": "Printer", "colour": "Color",
    "paper": "Paper", "duplex": "Duplex", "status": "Status",
}  # fmt: skip
"""The headers of the sandbox's reports, by our names."""


def settings_for(world: Mapping[str, Any], ready: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The configuration of printbridge for a running sandbox.

    Args:
        world: made by `make_world`; charging begins at its clock.
        ready: content of the sandbox's ready file.

    Returns:
        The text of a bridge.toml, and the environment with its secrets and the sandbox's clock.
    """
    nexudus = world["nexudus"]
    environment = {
        "NEXUDUS_EMAIL": ready["nexudus_email"],
        "NEXUDUS_PASSWORD": ready["nexudus_password"],
        "PRINTBRIDGE_CLOCK_URL": f"{ready['control_url']}/clock",
    }
    lines = ["[nexudus]", f'base_url = "{ready["nexudus_url"]}"']
    charge_from = datetime.fromisoformat(world["clock"]).astimezone(UTC)
    models = pricing_models(world)
    for name, site in world["sites"].items():
        at_home = [record for record in nexudus["products"] if record["BusinessId"] == site["business_id"]]
        services = [record for record in nexudus["extraservices"] if record["BusinessId"] == site["business_id"]]
        values: Json = {
            "business_id": site["business_id"],
            "timezone": zone_of(world, name),
            "pricing_model": models[name],
            "charge_product_id": next(record["Id"] for record in at_home if record["Name"] == "Printing"),
            "credit_ids": [record["Id"] for record in services if record["IsPrintingCredit"]],
        }
        rest, secrets = _section(name, site, ready["sites"][name])
        environment |= secrets
        lines += ["", f"[sites.{name}]", f"charge_from = {charge_from:%Y-%m-%dT%H:%M:%SZ}"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += rest
    return "\n".join(lines) + "\n", environment


def _section(name: str, site: Mapping[str, Any], ready: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The lines of bridge.toml about the print system of a site, and the environment with its secrets."""
    if site.get("system") == "ezeep":
        return _ezeep(name, ready, (printer[:3] for printer in PRINTERS))
    token, database = f"PAPERCUT_TOKEN_{name.upper()}", f"PAPERCUT_DB_{name.upper()}"
    lines = [f"[sites.{name}.papercut]", f'url = "{ready["papercut_url"]}"', f'token_env = "{token}"']
    lines += [f"[sites.{name}.jobs]", 'source = "database"', f'uri_env = "{database}"']
    return lines, {token: ready["token"], database: ready["jobs_uri"]}


def _ezeep(
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
