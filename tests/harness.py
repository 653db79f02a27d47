"""The whole bridge against a real sandbox, for tests: start both, run jobs, ask the servers for their truth.

What belongs here: starting and asking. What does not: expectations; those are in the tests. The oracle is always the
servers' own state, never a table of the bridge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipeline.automation import Outcome, run_job
from pipeline.definitions import build_defs
from pipeline.resources import Bridge
from pipeline.sandbox.app import start
from pipeline.settings import Settings, load_settings, prepared_home

NOW = "2026-11-02T09:00:00Z"
LONDON, LEEDS = 1, 2
PRINTING_CREDIT = 31
PRODUCTS = {LONDON: 51, LEEDS: 52}
PIN_LENGTH = "internal-users.self-registration.min-password-length"

Json = dict[str, Any]


def customer(number: int, **fields: Any) -> Json:
    """A Nexudus customer record; by default an active individual at London without any flag."""
    return {
        "Id": number, "FullName": f"Customer {number}", "Email": f"c{number}@example.com", "CoworkerType": 1,
        "InvoicingBusinessId": LONDON, "AccessPincode": f"{10000 + number:05d}", "Active": True, "Archived": False,
        "RegistrationDate": "2025-01-01T00:00:00Z", **fields,
    }  # fmt: skip


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
            "products": [{"Id": PRODUCTS[each], "BusinessId": each, "Name": "Printing", "Price": 0.01} for each in PRODUCTS],
            "coworkerproducts": [],
        },
        "sites": {
            name: {
                "business_id": numbers[name],
                "config": {"timezone": "Europe/London", PIN_LENGTH: "8"},
                "users": [{"username": "staff", "full_name": "Staff", "internal": False, "restricted": False}],
                "printers": [{"server": "srv", "name": "p1"}],
                "jobs": [],
            }
            for name in sites
        },
    }  # fmt: skip


class Harness:
    """A running sandbox and a bridge that is configured for it."""

    def __init__(self, ready: Json, settings: Settings, config: Path) -> None:
        self.ready = ready
        self.settings = settings
        self.config = config
        self.state_folder = prepared_home()
        self.control = httpx.Client(base_url=ready["control_url"] + "/", timeout=30, trust_env=False)
        self.bridge = Bridge(settings, self.state_folder)
        self.defs = build_defs(settings, bridge=self.bridge)

    def run(self, site: str = "london", job: str = "sync_site", **tags: str) -> Outcome:
        """Run a job for a site, as `printbridge run` does."""
        return run_job(self.defs, job, site, tags=tags)

    def reconcile(self, day: str, site: str = "london") -> Outcome:
        """Reconcile one day."""
        return run_job(self.defs, "reconcile", {"site": site, "day": day})

    def state(self) -> Json:
        """The servers' own truth."""
        return self.control.get("state").json()

    def users(self, site: str = "london") -> dict[str, Json]:
        """PaperCut's users by name."""
        return {user["username"]: user for user in self.state()["sites"][site]["users"]}

    def sales(self) -> list[Json]:
        """The sales that exist in Nexudus."""
        return [sale for sale in self.state()["nexudus"]["coworkerproducts"] if not sale.get("Deleted")]

    def credits(self) -> dict[int, int]:
        """What is left of each credit in Nexudus."""
        records = self.state()["nexudus"]["coworkerextraservices"]
        return {record["Id"]: record["RemainingUses"] for record in records if not record.get("Deleted")}

    def calls(self) -> Json:
        """How often each call was made since the last `forget_calls`."""
        return self.state()["calls"]

    def writes(self) -> Json:
        """The calls since the last `forget_calls` that change something."""
        reads = ("api.get", "api.is", "api.list", "api.lookUp", "database", "api.getTaskStatus")
        calls = self.calls()
        found: Json = {
            name: number for name, number in calls["nexudus"].items() if not name.startswith("GET") and name != "POST token"
        }
        for site, counts in calls["sites"].items():
            found |= {f"{site} {name}": number for name, number in counts.items() if not name.startswith(reads)}
        return found

    def forget_calls(self) -> None:
        """Start counting calls anew."""
        self.control.delete("calls").raise_for_status()

    def advance(self, **parts: float) -> None:
        """Move the clock of servers and bridge: minutes=, hours=, days=."""
        seconds = parts.get("minutes", 0) * 60 + parts.get("hours", 0) * 3600 + parts.get("days", 0) * 86400
        self.control.post("clock", json={"advance_seconds": seconds + parts.get("seconds", 0)}).raise_for_status()

    def print_job(self, username: str, cost: float | str, site: str = "london", **fields: Any) -> Json:
        """Print, as a person at a printer does."""
        job = {"site": site, "username": username, "printer": "p1", "pages": 2, "color_pages": 0, "cost": cost, **fields}
        answer = self.control.post("print", json=job)
        return answer.json()

    def refund(self, job_id: int, site: str = "london", **fields: Any) -> None:
        """Refund a job in PaperCut."""
        self.control.post("refund", json={"site": site, "job_id": job_id, **fields}).raise_for_status()

    def edit(self, entity: str, number: int, **values: Any) -> None:
        """Change a Nexudus record as an administrator does in the screens."""
        self.control.post("nexudus", json={"entity": entity, "id": number, "set": values}).raise_for_status()

    def delete(self, entity: str, number: int) -> None:
        """Delete a Nexudus record as an administrator does."""
        self.control.post("nexudus", json={"entity": entity, "id": number, "delete": True}).raise_for_status()

    def fault(self, target: str, match: str, action: str, times: int = 1, **fields: Any) -> None:
        """Plan a fault."""
        body = {"target": target, "match": match, "action": action, "times": times, **fields}
        self.control.post("faults", json=body).raise_for_status()

    def heal(self) -> None:
        """End all faults."""
        self.control.delete("faults").raise_for_status()

    def switch(self, **values: Any) -> None:
        """Set switches of the sandbox."""
        self.control.post("switches", json=values).raise_for_status()

    def close(self) -> None:
        """Let go of connections."""
        self.control.close()
        self.bridge.close()


def configuration(ready: Json, **site_settings: Any) -> tuple[str, dict[str, str]]:
    """A bridge.toml for a sandbox and the environment that goes with it; `site_settings` apply to every site."""
    numbers = {"london": LONDON, "leeds": LEEDS}
    lines = ["[nexudus]", f'base_url = "{ready["nexudus_url"]}"']
    environment = {"NEXUDUS_EMAIL": ready["nexudus_email"], "NEXUDUS_PASSWORD": ready["nexudus_password"]}
    for name, site in ready["sites"].items():
        values: Json = {
            "business_id": numbers[name], "timezone": "Europe/London", "pricing_model": "credits_and_pay_per_print",
            "charge_product_id": PRODUCTS[numbers[name]], "credit_ids": [PRINTING_CREDIT], **site_settings,
        }  # fmt: skip
        lines += [f"[sites.{name}]", "charge_from = 2026-11-01T00:00:00Z"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        lines += [f"[sites.{name}.papercut]", f'url = "{site["papercut_url"]}"', f'token_env = "TOKEN_{name.upper()}"']
        lines += [f"[sites.{name}.jobs]", 'source = "database"', f'uri_env = "DB_{name.upper()}"']
        environment |= {f"TOKEN_{name.upper()}": site["token"], f"DB_{name.upper()}": site["jobs_uri"]}
    return "\n".join(lines) + "\n", environment


@contextmanager
def running(folder: Path, given: Mapping[str, Any], **site_settings: Any) -> Generator[Harness, None, None]:
    """A sandbox with a world, and a bridge configured for it, in one folder. The environment is restored at the end."""
    before = dict(os.environ)
    with start(dict(given), folder / "sandbox") as ready:
        text, environment = configuration(ready, **site_settings)
        config = folder / "bridge.toml"
        config.write_text(text, "utf-8")
        os.environ.update(environment)
        os.environ["PRINTBRIDGE_CLOCK_URL"] = ready["control_url"] + "/clock"
        os.environ["PRINTBRIDGE_HOME"] = str(folder / "data")
        os.environ["PRINTBRIDGE_CONFIG"] = str(config)
        harness = Harness(ready, load_settings(config), config)
        try:
            yield harness
        finally:
            harness.close()
            os.environ.clear()
            os.environ.update(before)
