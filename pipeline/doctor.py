"""The doctor: asks PaperCut, Nexudus and this machine what `findings.py` judges. Nothing is changed anywhere.

What belongs here: the questions, one function per subject, and their order. What does not: what an answer means
(`findings.py`) and how findings look (`console.py`). All problems at once: a question that fails is a finding itself,
and the next one is asked.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property

import polars as pl

from pipeline import findings, ledger, safety, warehouse
from pipeline.clients.nexudus import moment
from pipeline.domain import records
from pipeline.domain.accounts import print_accounts
from pipeline.domain.rules import CREDIT_MODELS, PAY_MODELS
from pipeline.domain.users import LENGTH_KEY
from pipeline.errors import BridgeError, RejectedError
from pipeline.findings import NOT_PROVEN, Finding, counted
from pipeline.resources import Bridge
from pipeline.settings import SiteSettings, config_path

SAMPLE_DAYS = 7
"""How many days of jobs are looked at."""


@dataclass
class Look:
    """What the questions about one site share."""

    bridge: Bridge
    site: str

    @property
    def settings(self) -> SiteSettings:
        """The site's settings."""
        return self.bridge.settings.site(self.site)

    @cached_property
    def accounts(self) -> pl.DataFrame:
        """PrintAccounts of the site, made from Nexudus as it is now; nothing is stored."""
        bridge, now = self.bridge, self.bridge.clock()
        people = bridge.nexudus.records("coworkers", needs=records.CUSTOMER_FIELDS)
        customers = records.customers(people, bridge.digest, moment, now)
        granted = [
            record
            for id_ in self.settings.credit_ids
            for record in bridge.nexudus.records(
                "coworkerextraservices", needs=records.CREDIT_FIELDS, CoworkerExtraService_ExtraService=id_
            )
        ]
        grants = records.credits_of(granted, moment, now)
        with bridge.warehouse.connect() as con:
            uses = ledger.open_uses(con, grants)
        return print_accounts(customers, grants, uses, self.settings.rules(self.site), now)


def examine(bridge: Bridge, site: str) -> list[Finding]:
    """Every finding about one site.

    Args:
        bridge: the configured bridge.
        site: one of its sites.
    """
    look = Look(bridge, site)
    found: list[Finding] = []
    for group in GROUPS:
        for check, ask in group:
            try:
                found += [replace(finding, site=site) for finding in ask(look)]
            except BridgeError as error:
                found.append(Finding(check, "fail", error.tried, error.remedy, site))
                if (check, ask) == group[0]:
                    break
    return found


def _token(look: Look) -> Iterator[Finding]:
    """C6: an authenticated call that succeeds proves the token, and that our address is allowed."""
    client = look.bridge.papercut(look.site)
    users = counted(client.total_users(), "user")
    yield Finding("C6", "pass", f"PaperCut at {client.host} accepts the token; it has {users}")


def _screens(look: Look) -> Iterator[Finding]:
    users = look.bridge.warehouse.read("papercut_users", look.site)
    ours = users.filter(pl.col("internal") & pl.col("marked")).height
    yield from findings.screens(look.bridge.papercut(look.site).printers(), ours)


def _addresses(look: Look) -> Iterator[Finding]:
    yield findings.addresses(look.bridge.papercut(look.site).config_value(findings.ADDRESSES_KEY))


def _password_length(look: Look) -> Iterator[Finding]:
    yield findings.password_length(look.bridge.papercut(look.site).config_value(LENGTH_KEY))


def _prices(look: Look) -> Iterator[Finding]:
    client = look.bridge.papercut(look.site)
    read: dict[str, Decimal] = {}
    unread: list[str] = []
    for name in client.printers():
        server, _, printer = name.partition("\\")
        try:
            read[name] = client.printer_cost(server, printer)
        except RejectedError:  # a device, or a printer with another cost model
            unread.append(name)
    yield from findings.prices(read, unread)


def _licence(look: Look) -> Iterator[Finding]:
    wanted = look.accounts.filter(pl.col("reason").is_null()).height
    users = look.bridge.papercut(look.site).total_users()
    yield findings.licence(look.settings.licence_users, users, wanted)


def _names(look: Look) -> Iterator[Finding]:
    yield findings.user_names(look.settings.username)


def _nexudus(look: Look) -> Iterator[Finding]:
    """The API user, the location, and what cannot be read: the rights to write (`nexudus-api.md` 1.4)."""
    nexudus, business_id = look.bridge.nexudus, look.settings.business_id
    customers = counted(nexudus.count("coworkers"), "customer")
    yield Finding("nexudus", "pass", f"Nexudus at {nexudus.host} accepts the API user and lists {customers}")
    name = nexudus.record("businesses", business_id).get("Name")
    yield Finding("nexudus", "pass", f"business_id {business_id} is the location {name}")
    roles = "CoworkerProduct-Create, CoworkerProduct-Delete, CoworkerExtraService-Edit"
    yield Finding("nexudus", "warn", "the rights to write", f"{NOT_PROVEN}the API user needs the roles {roles}")


def _clock(look: Look) -> Iterator[Finding]:
    look.bridge.nexudus.count("coworkers")
    yield findings.skew(look.bridge.nexudus.skew_seconds)


def _product(look: Look) -> Iterator[Finding]:
    if look.settings.pricing_model in PAY_MODELS:
        record = look.bridge.nexudus.record("products", look.settings.charge_product_id or 0)
        yield findings.product(record, look.settings.business_id)


def _credit(look: Look) -> Iterator[Finding]:
    if look.settings.pricing_model in CREDIT_MODELS:
        for id_ in look.settings.credit_ids:
            yield findings.credit(look.bridge.nexudus.record("extraservices", id_))
        rates = look.bridge.nexudus.records("extraservices", needs=("IsPrintingCredit",))
        yield from findings.only_credit(rates, look.settings.credit_ids)


def _model(look: Look) -> Iterator[Finding]:
    yield from findings.model(look.settings.pricing_model)


def _people(look: Look) -> Iterator[Finding]:
    yield from findings.people(look.accounts)


def _jobs(look: Look) -> Iterator[Finding]:
    now = look.bridge.clock()
    batch = look.bridge.jobs(look.site).reread(now - timedelta(days=SAMPLE_DAYS))
    yield from findings.jobs(batch.jobs, batch.problems, look.settings.jobs.source, SAMPLE_DAYS, now)


def _warehouse(look: Look) -> Iterator[Finding]:
    """The warehouse, and what in it waits for a person."""
    site, path = look.site, look.bridge.home.warehouse
    with look.bridge.warehouse.connect() as con:
        held, unknown = ledger.lines_in(con, site, "held"), ledger.lines_in(con, site, "unknown").height
        stops = [phase for phase, (state, _) in safety.states(con, site).items() if state == "stopped"]
        last = warehouse.query(
            con, "SELECT max(happened_at) AS at FROM bookmark WHERE site = $site AND name = 'seen'", site=site
        )["at"][0]
    ended = f"the last run ended {last:%Y-%m-%d %H:%M} UTC" if last else "no run has ended yet"
    yield Finding("warehouse", "pass", f"{path} is readable; {ended}; {counted(unknown, 'charge')} to be looked up")
    if stops:
        yield Finding("warehouse", "warn", f"stopped for {', '.join(stops)}", f"`printbridge resume {site}` shows why")
    if held.height:
        seen = f"held for a person: {counted(held.height, 'charge')} ({held['amount_cents'].sum()} cents)"
        yield Finding("warehouse", "warn", seen, "`printbridge held list` shows each with its next step")


def _backup(look: Look) -> Iterator[Finding]:
    folder = look.bridge.home.backups
    newest = max((each.name for each in folder.glob("2*")), default=None)
    if newest:
        yield Finding("backup", "pass", f"the newest backup is {folder / newest}")
    else:
        yield Finding("backup", "warn", f"there is no backup in {folder}", "run `printbridge backup`")


def _files(look: Look) -> Iterator[Finding]:
    home = look.bridge.home
    for path in (home.path, home.warehouse, config_path().parent / ".env"):
        if path.exists():
            yield from findings.private(path, stat.S_IMODE(path.stat().st_mode))
    if look.bridge.settings.mode == "dry_run":
        yield Finding(
            "mode",
            "warn",
            "mode is dry_run: nothing is written to Nexudus or PaperCut",
            'set mode = "apply" when `printbridge plan` shows what it should',
        )


GROUPS: tuple[tuple[tuple[str, Callable[[Look], Iterator[Finding]]], ...], ...] = (
    (
        ("C6", _token), ("C5", _screens), ("C7", _addresses), ("C8", _password_length), ("C10", _prices),
        ("C11", _licence), ("names", _names),
    ),
    (
        ("nexudus", _nexudus), ("clock", _clock), ("C12", _product), ("C13", _credit), ("C15", _model),
        ("C17", _people),
    ),
    (("jobs", _jobs),), (("warehouse", _warehouse),), (("backup", _backup),), (("private", _files),),
)  # fmt: skip
"""Every question, and the check that fails when it cannot be answered. The first of a group is its door: while that is
shut, the others would only say the same."""
