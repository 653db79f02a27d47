"""The doctor: asks the print system, Nexudus and this machine about the set-up. Nothing is changed anywhere.

What belongs here: the questions, one function per subject, and their order. What does not: what an answer means
(`doctor_findings.py`; for a print system, its own folder) and how findings look (`pipeline.cli.console`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial

import polars as pl

from pipeline.configuration import config_path
from pipeline.domain.money.history import NO_PAST
from pipeline.domain.money.prices import priced
from pipeline.domain.people.accounts import print_accounts
from pipeline.domain.rules import CREDIT_MODELS, PAY_MODELS
from pipeline.errors import PrintbridgeError
from pipeline.operations import doctor_findings as findings
from pipeline.operations.causes import of_account, of_site
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import moment
from pipeline.services.printing import NOT_PROVEN, Finding, Question, Setup
from pipeline.settings import SiteSettings
from pipeline.site import Site
from pipeline.store import defaults, memory
from pipeline.store.lines import lines_in, open_uses
from pipeline.words import counted

SAMPLE_DAYS = 7
"""How many days of jobs are looked at."""


@dataclass
class Look:
    """What the questions about one site share."""

    site: Site

    @property
    def settings(self) -> SiteSettings:
        """The site's settings."""
        return self.site.settings

    @cached_property
    def accounts(self) -> pl.DataFrame:
        """PrintAccounts of the site, made from Nexudus as it is now; nothing is stored."""
        site, now = self.site, self.site.clock()
        people = site.nexudus.records("coworkers", needs=records.customer_fields([site.rules.flags]))
        customers = records.read_customers(people, site.digest, moment, now).frame
        granted = [
            record
            for id_ in self.settings.credit_ids
            for record in site.nexudus.records(
                "coworkerextraservices", needs=records.CREDIT_FIELDS, CoworkerExtraService_ExtraService=id_
            )
        ]
        grants = records.read_credits(granted, moment, now).frame
        listed = site.nexudus.records("teams", needs=records.TEAM_FIELDS) if site.rules.shares_credits else []
        teams = records.read_teams(listed, moment, now).frame
        with site.store.connect() as con:
            uses, ended = open_uses(con, grants), defaults.ended(con)
        return print_accounts(customers, grants, uses, site.rules, now, teams=teams, ended=ended)


def examine(site: Site) -> list[Finding]:
    """Every finding about one site. All at once: a question that fails is a finding itself, and the next is asked."""
    look = Look(site)
    found: list[Finding] = []
    for group in _groups(look):
        for check, ask in group:
            try:
                found += [replace(finding, site=site.name) for finding in ask()]
            except PrintbridgeError as error:
                found.append(Finding(check, "fail", error.tried, error.remedy, site.name))
                if (check, ask) == group[0]:
                    break
    return found


def _groups(look: Look) -> list[list[Question]]:
    """Every question. The first of a group is its door: while that is shut, the others would only say the same."""
    site = look.site

    def ours() -> int:
        return site.store.read("print_users", site.key).filter(pl.col("internal") & pl.col("marked")).height

    def wanted() -> int:
        return look.accounts.filter(pl.col("reason").is_null()).height

    setup = Setup(site.rules.username, site.rules.licence_users, ours, wanted)
    return [
        site.printing.questions(setup),
        *([(check, partial(ask, look)) for check, ask in group] for group in GROUPS),
    ]


def _nexudus(look: Look) -> Iterator[Finding]:
    """The API user, the location, and what cannot be read: the rights to write (`nexudus-api.md` 1.4)."""
    nexudus, business_id = look.site.nexudus, look.settings.business_id
    customers = counted(nexudus.count("coworkers"), "customer")
    yield Finding("nexudus", "pass", f"Nexudus at {nexudus.host} accepts the API user and lists {customers}")
    name = nexudus.record("businesses", business_id).get("Name")
    yield Finding("nexudus", "pass", f"business_id {business_id} is the location {name}")
    roles = "CoworkerProduct-Create, CoworkerProduct-Delete, CoworkerExtraService-Edit"
    yield Finding("nexudus", "warn", "the rights to write", f"{NOT_PROVEN}the API user needs the roles {roles}")


def _clock(look: Look) -> Iterator[Finding]:
    look.site.nexudus.count("coworkers")
    yield findings.skew(look.site.nexudus.skew_seconds)


def _product(look: Look) -> Iterator[Finding]:
    if look.settings.pricing_model in PAY_MODELS:
        record = look.site.nexudus.record("products", look.settings.charge_product_id or 0)
        yield findings.product(record, look.settings.business_id)


def _credit(look: Look) -> Iterator[Finding]:
    if look.settings.pricing_model in CREDIT_MODELS:
        for id_ in look.settings.credit_ids:
            yield findings.credit(look.site.nexudus.record("extraservices", id_))
        rates = look.site.nexudus.records("extraservices", needs=("IsPrintingCredit",))
        yield from findings.only_credit(rates, look.settings.credit_ids)


def _model(look: Look) -> Iterator[Finding]:
    yield from findings.model(look.settings.pricing_model)


def _people(look: Look) -> Iterator[Finding]:
    yield from findings.people(look.accounts)


def _jobs(look: Look) -> Iterator[Finding]:
    now = look.site.clock()
    batch = look.site.jobs.reread(now - timedelta(days=SAMPLE_DAYS))
    prices = look.site.rules.prices
    rows = priced(batch.jobs, NO_PAST, look.site.rules) if prices else batch.jobs
    yield from findings.jobs(rows, batch.problems, look.settings.jobs.source, SAMPLE_DAYS, now)
    if unpriced := rows["cost"].null_count():
        remedy = (
            "add a price to those of the site in bridge.toml" if prices else "use a source that has it, as database"
        )
        yield Finding("C10", "fail", f"{counted(unpriced, 'job')} without a cost", remedy)


def _warehouse(look: Look) -> Iterator[Finding]:
    """The warehouse, and what in it waits for a person: the list that alerts read."""
    site, path = look.site.key, look.site.sites.home.warehouse
    with look.site.store.connect() as con:
        unknown, last = lines_in(con, site, "unknown").height, memory.written(con, site, memory.SEEN)
        waiting = [*of_account(con, look.site.sites), *of_site(con, look.site)]
    ended = f"the last run ended {last:%Y-%m-%d %H:%M} UTC" if last else "no run has ended yet"
    yield Finding("warehouse", "pass", f"{path} is readable; {ended}; {counted(unknown, 'charge')} to be looked up")
    for cause in waiting:
        yield Finding("warehouse", "fail" if cause.urgent else "warn", cause.title, cause.remedy)


def _backup(look: Look) -> Iterator[Finding]:
    folder = look.site.sites.home.backups
    newest = max((each.name for each in folder.glob("2*")), default=None)
    if newest:
        yield Finding("backup", "pass", f"the newest backup is {folder / newest}")
    else:
        yield Finding("backup", "warn", f"there is no backup in {folder}", "run `printbridge backup`")


def _files(look: Look) -> Iterator[Finding]:
    home = look.site.sites.home
    for path in (home.path, home.warehouse, config_path().parent / ".env"):
        if path.exists():
            yield from findings.private(path, stat.S_IMODE(path.stat().st_mode))
    if look.site.sites.settings.mode == "dry_run":
        yield Finding(
            "mode",
            "warn",
            "mode is dry_run: nothing is written to Nexudus or PaperCut",
            'set mode = "apply" when `printbridge plan` shows what it should',
        )


GROUPS: tuple[tuple[tuple[str, Callable[[Look], Iterator[Finding]]], ...], ...] = (
    (
        ("nexudus", _nexudus), ("clock", _clock), ("C12", _product), ("C13", _credit), ("C15", _model),
        ("C17", _people),
    ),
    (("jobs", _jobs),), (("warehouse", _warehouse),), (("backup", _backup),), (("private", _files),),
)  # fmt: skip
"""The questions that are the same for every print system, and the check that fails when one cannot be answered."""
