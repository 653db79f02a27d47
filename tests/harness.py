"""The whole of printbridge against a real sandbox, for tests: start both, run jobs, ask the servers for their truth.

What belongs here: starting and asking. What does not: expectations; those are in the tests. The oracle is always the
servers' own state, never a table of printbridge.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
from dagster import Definitions

from assets.checks import STAGES
from pipeline.configuration import load_settings
from pipeline.dagster.outcomes import Outcome, run_job
from pipeline.dagster.runs import DRY_RUN_TAG, REREAD_TAG, SYNC
from pipeline.definitions import ASSETS, build_defs
from pipeline.home import prepared_home
from pipeline.operations.resume import resume
from pipeline.settings import Settings
from pipeline.site import Sites
from pipeline.steps.run import Run
from pipeline.steps.sync import STEPS
from pipeline.store.lines import lines_of_site
from tests.sandboxes import start
from tests.worlds import LEEDS, LONDON, PRINTING_CREDIT, PRODUCTS, TODAY, Json

T = TypeVar("T")

TLS = httpx.create_ssl_context()
"""One for all: to load the certificates takes longer than most questions."""

NUMBERS = {"london": LONDON, "leeds": LEEDS, "lisbon": LONDON}
"""The location of each site; that of lisbon, on ezeep, is the one of london."""

EZEEP_COLUMNS = {
    "user_email": "User", "printed_at": "Date", "pages": "Pages", "printer": "Printer", "colour": "Color",
    "paper": "Paper", "duplex": "Duplex", "status": "Status",
}  # fmt: skip
"""The headers of the sandbox's reports, which nobody has seen of the real ones."""

NEEDS = {
    key.to_user_string(): {dep.asset_key.to_user_string() for spec in asset.specs for dep in spec.deps}
    for asset in ASSETS
    for key in asset.keys
}
"""What each asset is made from, as the graph says."""


class Harness:
    """A running sandbox, and printbridge configured for it. Its clients try again without waiting in between."""

    def __init__(self, ready: Json, config: Path) -> None:
        self.ready = ready
        self.config = config
        self.state_folder = prepared_home()
        self.control = httpx.Client(base_url=ready["control_url"] + "/", timeout=30, trust_env=False, verify=TLS)
        self._runs = count(1)
        self._synced: set[str] = set()
        self._configure()

    def _configure(self) -> None:
        self.settings: Settings = load_settings(self.config)
        self.sites = Sites(self.settings, self.state_folder, wait=lambda _: None)
        self.__dict__.pop("defs", None)

    @cached_property
    def defs(self) -> Definitions:
        """The code location, made when something of Dagster is asked for the first time."""
        return build_defs(self.settings, sites=self.sites)

    def reconfigure(self, replace: Mapping[str, str] | None = None, **environment: str) -> None:
        """Edit bridge.toml (text for text) or the environment, and start anew, as an operator does."""
        text = self.config.read_text("utf-8")
        for old, new in (replace or {}).items():
            assert old in text, f"bridge.toml has no {old!r}"
            text = text.replace(old, new)
        self.config.write_text(text, "utf-8")
        os.environ.update(environment)
        self.sites.close()
        self._configure()

    def run(self, site: str | Mapping[str, str] = "london", job: str = "sync_site", **tags: str) -> Outcome:
        """Run a job for a site or another partition, as `printbridge run` does."""
        return run_job(self.defs, job, site, tags=tags)

    def sync(self, site: str = "london", only: Iterable[str] = SYNC, *, checks: bool = False, **tags: str) -> Outcome:
        """The steps of `run` in their order and under the site's lock, without Dagster's records: much faster.

        A step is left out when one that it needs failed, as Dagster does.

        Args:
            site: the site.
            only: the assets to make.
            checks: whether the checks are asked at once, which costs a quarter of a run, and not only at the end.
            tags: tags of the run.
        """
        dry = self.settings.mode == "dry_run" or tags.get(DRY_RUN_TAG) == "true"
        run = Run(f"sync-{next(self._runs)}", dry=dry, reread_days=int(tags.get(REREAD_TAG, 0)))
        failures: dict[str, tuple[str, str]] = {}
        metadata: dict[str, Json] = {}
        missing: set[str] = set()
        with self.sites.hold(site):
            for name in only:
                if missing & NEEDS[name]:
                    missing.add(name)
                    continue
                try:
                    metadata[name] = STEPS[name](self.sites[site], run).numbers
                except Exception as error:  # noqa: BLE001 - whatever it is, the outcome shows it
                    failures[name] = (type(error).__name__, str(error))
                    missing.add(name)
        self._synced |= {site} if only is SYNC and not failures else set()
        findings = self.findings(site) if checks else []
        return Outcome("sync_site", site, run.id, failures, findings, metadata)

    def findings(self, site: str = "london") -> list[str]:
        """What the asset checks of a sync find wrong."""
        questions = {key: ask for name, stage in STAGES.items() if name != "reconciliation_checks"
                     for key, ask in stage.items()}  # fmt: skip
        with self.sites.store.connect() as con:
            answers = {key: ask(self.sites[site], con) for key, ask in questions.items()}
        return [f"{asset}.{check}: {text}" for (asset, check), (passed, text, *_) in answers.items() if not passed]

    def resume(self, site: str, *phases: str) -> None:
        """Let go on what a safety gate stopped, as `printbridge resume` does."""
        resume(self.sites[site], phases, "a test")

    def events(self, site: str = "london") -> dict[str, list[str]]:
        """For each job of the ledger its lines, each with its state and amount."""
        with self.sites.store.connect() as con:
            lines = lines_of_site(con, site).sort("job_id", "revision", "kind", "seq")
        found: dict[str, list[str]] = {}
        for line in lines.iter_rows(named=True):
            found.setdefault(line["job_id"], []).append(f"{line['kind']} {line['amount_cents']} {line['state']}")
        return found

    def papercut(self, method: str, *arguments: Any, site: str = "london") -> Any:
        """A call that PaperCut's staff make, not printbridge; it is counted all the same."""
        server = self.ready["sites"][site]
        proxy = xmlrpc.client.ServerProxy(server["papercut_url"])
        with proxy:
            return getattr(proxy.api, method)(server["token"], *arguments)

    def reconcile(self, day: str = TODAY, site: str = "london") -> Outcome:
        """Reconcile one day."""
        return run_job(self.defs, "reconcile", {"site": site, "day": day})

    def state(self) -> Json:
        """The servers' own truth."""
        return self.control.get("state").json()

    def users(self, site: str = "london") -> dict[str, Json]:
        """The users of a print system by name."""
        return {user.get("username") or user["email"]: user for user in self.state()["sites"][site]["users"]}

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
        reads = ("api.get", "api.is", "api.list", "api.lookUp", "database", "api.getTaskStatus", "GET ", "POST access")
        calls = self.calls()
        found: Json = {
            name: number
            for name, number in calls["nexudus"].items()
            if not name.startswith("GET") and name != "POST token"
        }
        for site, counts in calls["sites"].items():
            found |= {f"{site} {name}": number for name, number in counts.items() if not name.startswith(reads)}
        return found

    def forget_calls(self) -> None:
        """Start counting calls anew."""
        self.control.delete("calls").raise_for_status()

    def advance(self, **parts: float) -> None:
        """Move the clock of the servers and of printbridge: minutes=, hours=, days=."""
        seconds = parts.get("minutes", 0) * 60 + parts.get("hours", 0) * 3600 + parts.get("days", 0) * 86400
        self.control.post("clock", json={"advance_seconds": seconds + parts.get("seconds", 0)}).raise_for_status()

    def print_job(self, username: str, cost: float | str, site: str = "london", **fields: Any) -> Json:
        """Print, as a person at a printer does."""
        job = {"site": site, "username": username, "printer": "p1", "pages": 2, "color_pages": 0, "cost": cost}
        return self.control.post("print", json=job | fields).json()

    def report(self, site: str = "lisbon", **fields: Any) -> None:
        """Let ezeep write the report of all jobs so far, as an operator downloads it."""
        self.control.post("report", json={"site": site, **fields}).raise_for_status()

    def accept(self, email: str, site: str = "lisbon") -> None:
        """Log in to ezeep for the first time, as a person does who was invited."""
        self.control.post("accept", json={"site": site, "email": email}).raise_for_status()

    def refund(self, job_id: int, site: str = "london", **fields: Any) -> None:
        """Refund a job in PaperCut."""
        self.control.post("refund", json={"site": site, "job_id": job_id, **fields}).raise_for_status()

    def edit(self, entity: str, number: int, **values: Any) -> None:
        """Change a Nexudus record as an administrator does in the screens."""
        self.control.post("nexudus", json={"entity": entity, "id": number, "set": values}).raise_for_status()

    def add(self, entity: str, record: Json) -> None:
        """Create a Nexudus record as an administrator does."""
        self.control.post("nexudus", json={"entity": entity, "set": record}).raise_for_status()

    def bill(self, *customers: int) -> None:
        """Put the open sales of customers on invoices."""
        body = {"Key": "COWORKER_BILL_RUN", "Ids": list(customers), "Parameters": []}
        self.sites.nexudus.request("POST", "spaces/coworkers/runcommand", body=body)

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

    def ask(self) -> None:
        """Ask every check of every site that ran: whatever a test has left behind, none of them may break."""
        for site in sorted(self._synced.intersection(self.sites.names)):
            self.findings(site)

    def close(self) -> None:
        """Let go of connections."""
        self.control.close()
        self.sites.close()


def configuration(
    ready: Json, folder: Path, sites: Mapping[str, Json] | None = None, **site_settings: Any
) -> tuple[str, dict[str, str]]:
    """A bridge.toml for a sandbox and the environment that goes with it.

    Args:
        ready: the content of the sandbox's ready file.
        folder: where the sandbox runs; its print logs are there.
        sites: settings of single sites; the setting `jobs` is the source of the print jobs.
        site_settings: settings of every site. A setting that is None is left out.
    """
    lines = ["[nexudus]", f'base_url = "{ready["nexudus_url"]}"']
    environment = {"NEXUDUS_EMAIL": ready["nexudus_email"], "NEXUDUS_PASSWORD": ready["nexudus_password"]}
    for name, site in ready["sites"].items():
        values: Json = {
            "business_id": NUMBERS[name], "timezone": "Europe/London", "pricing_model": "credits_and_pay_per_print",
            "charge_product_id": PRODUCTS[NUMBERS[name]], "credit_ids": [PRINTING_CREDIT], **site_settings,
            **(sites or {}).get(name, {}),
        }  # fmt: skip
        section = _ezeep if "ezeep_account_url" in site else _papercut
        rest, secrets = section(name, site, values, folder)
        environment |= secrets
        lines += [f"[sites.{name}]", "charge_from = 2026-11-01T00:00:00Z"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        lines += rest
    return "\n".join(lines) + "\n", environment


def _papercut(name: str, site: Json, values: Json, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The sections of a PaperCut server, whose settings are taken out of `values`, and the secrets they name."""
    source, new_customers = values.pop("jobs", "database"), values.pop("new_customers", {})
    place = f'uri_env = "DB_{name.upper()}"' if source == "database" else f'path = "{folder / f"printlog-{name}"}"'
    lines = [f"[sites.{name}.new_customers]", *(f"{key} = {value}" for key, value in new_customers.items())]
    lines += [f"[sites.{name}.papercut]", f'url = "{site["papercut_url"]}"', f'token_env = "TOKEN_{name.upper()}"']
    lines += [f"[sites.{name}.jobs]", f'source = "{source}"', place]
    return lines, {f"TOKEN_{name.upper()}": site["token"], f"DB_{name.upper()}": site["jobs_uri"]}


def _ezeep(name: str, site: Json, values: Json, folder: Path) -> tuple[list[str], dict[str, str]]:
    """As `_papercut`, for an organisation of ezeep: `ezeep` and `prices` among the values are its sections."""
    del folder  # the sandbox says where its reports are
    secrets = {f"EZEEP_ID_{name.upper()}": site["client_id"], f"EZEEP_SECRET_{name.upper()}": site["client_secret"]}
    client_id, client_secret = secrets
    given: Json = {
        "account_url": site["ezeep_account_url"], "api_url": site["ezeep_api_url"], "client_id_env": client_id,
        "client_secret_env": client_secret, "organization_id": site["organization_id"], **values.pop("ezeep", {}),
    }  # fmt: skip
    prices, columns = values.pop("prices", [{"credits_per_page": 5}]), values.pop("columns", EZEEP_COLUMNS)
    values["print_system"] = "ezeep"
    lines = [f"[sites.{name}.ezeep]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    for price in prices:
        lines += [f"[[sites.{name}.prices]]", *(f"{key} = {json.dumps(value)}" for key, value in price.items())]
    lines += [f"[sites.{name}.jobs]", 'source = "csv"', f'path = "{site["reports_folder"]}"']
    lines += [f"columns.{key} = {json.dumps(value)}" for key, value in columns.items()]
    return lines, secrets


@contextmanager
def running(
    folder: Path, given: Mapping[str, Any], sites: Mapping[str, Json] | None = None, **site_settings: Any
) -> Generator[Harness, None, None]:
    """A sandbox with a world, and printbridge configured for it, in one folder. The environment is restored at the end.

    Args:
        folder: an empty folder.
        given: the world.
        sites: see `configuration`.
        site_settings: see `configuration`.
    """
    before, umask = dict(os.environ), os.umask(0o022)
    os.umask(umask)
    with start(dict(given), folder / "sandbox") as ready:
        for name in ready["sites"]:
            (folder / "sandbox" / f"printlog-{name}").mkdir()
        text, environment = configuration(ready, folder / "sandbox", sites, **site_settings)
        config = folder / "bridge.toml"
        config.write_text(text, "utf-8")
        os.environ.update(environment)
        os.environ["PRINTBRIDGE_CLOCK_URL"] = ready["control_url"] + "/clock"
        os.environ["PRINTBRIDGE_HOME"] = str(folder / "data")
        os.environ["PRINTBRIDGE_CONFIG"] = str(config)
        harness = Harness(ready, config)
        try:
            yield harness
            harness.ask()
        finally:
            harness.close()
            os.environ.clear()
            os.environ.update(before)
            os.umask(umask)


def during(
    harness: Harness, target: str, call: str, action: Callable[[], T], change: Callable[[], None], *, after: int = 0
) -> T:
    """What an action comes to when something changes while the answer to one of its calls is on its way.

    Args:
        harness: the running sandbox, and printbridge on it.
        target: `nexudus` or a site.
        call: the call, which had its effect before the change.
        action: makes the call.
        change: made while the answer is delayed.
        after: how many such calls go by before that one.
    """
    harness.forget_calls()
    harness.fault(target, call, "delay", seconds=1.5, after=after)
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(action)
        while _counted(harness, target, call) <= after and not acting.done():
            time.sleep(0.02)
        time.sleep(0.2)  # a call is counted before it has its effect
        change()
        return acting.result()


def _counted(harness: Harness, target: str, call: str) -> int:
    calls = harness.calls()
    return (calls["nexudus"] if target == "nexudus" else calls["sites"][target]).get(call, 0)


@contextmanager
def telling(given: Mapping[str, Any], **settings: Any) -> Generator[Harness, None, None]:
    """`running` in a folder of its own, for fixtures that tell a story which several tests look at."""
    with (
        tempfile.TemporaryDirectory(prefix="printbridge-") as folder,
        running(Path(folder), given, **settings) as harness,
    ):
        yield harness
