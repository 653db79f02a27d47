"""The sites of one installation: `Site` is one of them with what is needed to work on it, `Sites` is all of them.

What belongs here: the only composition, from settings and secrets to store, services and clock, each made at its first
use. What does not: using them. A pure step takes less than a `Site`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.clock import Clock, configured_clock
from pipeline.domain.rules import SiteRules
from pipeline.home import Home
from pipeline.services.digests import Digester
from pipeline.services.ezeep.client import EzeepClient
from pipeline.services.ezeep.system import Ezeep, Organisation
from pipeline.services.http import Wait
from pipeline.services.job_files.csv_report import CsvReport
from pipeline.services.job_files.ezeep_report import EzeepReport
from pipeline.services.job_files.folder import JobFolder, Layout
from pipeline.services.job_files.print_log import PrintLog
from pipeline.services.nexudus.client import NexudusClient
from pipeline.services.papercut.client import PaperCutClient
from pipeline.services.papercut.database import PaperCutDatabase
from pipeline.services.papercut.system import PaperCut
from pipeline.services.printing import JobSource, PrintSystem
from pipeline.settings import EzeepSettings, PaperCutSettings, Settings, SiteSettings, secret
from pipeline.store.ledger import Mover
from pipeline.store.locks import LOCK_SECONDS, hold
from pipeline.store.sites import Record, records
from pipeline.store.warehouse import Warehouse


class Site:
    """One site and what is needed to work on it.

    Attributes:
        name: its name in bridge.toml.
        settings: its section of bridge.toml.
        key: what it is called in every table; its first name.
        record: what is kept of it, None before its first run.
        rules: the business choices among them, as the domain sees them, under the key.
        sites: the installation it belongs to, for what the sites share.
    """

    def __init__(self, name: str, settings: SiteSettings, sites: Sites) -> None:
        self.name, self.settings, self.sites = name, settings, sites
        self.record = sites.record_of(name)
        self.key = self.record.key if self.record else name
        code = self.record.code if self.record else ""
        system = Ezeep if settings.ezeep else PaperCut
        self.rules: SiteRules = replace(settings.rules(self.key), code=code, title=system.title, holds=system.holds)
        self.clock, self.store, self.digest = sites.clock, sites.store, sites.digest
        self.writes_nothing = sites.settings.mode == "dry_run"

    @property
    def nexudus(self) -> NexudusClient:
        """The client of the Nexudus account."""
        return self.sites.nexudus

    @cached_property
    def printing(self) -> PrintSystem:
        """The print system of the site. Nothing is connected yet."""
        jobs = job_source(self.settings, epoch=self.record.epoch if self.record else 0)
        match self.settings.server:
            case PaperCutSettings() as papercut:
                client = PaperCutClient(
                    papercut.url, secret(papercut.token_env), ca_file=papercut.ca_file,
                    connections=papercut.connections, wait=self.sites.wait,
                )  # fmt: skip
                return PaperCut(self.key, client, jobs, digest=self.digest, connections=papercut.connections)
            case EzeepSettings() as ezeep:
                organisation = Organisation(
                    ezeep.organization_id, ezeep.group, ezeep.invitation_days,
                    disables=ezeep.removal == "group", prices=self.rules.prices,
                )  # fmt: skip
                client = EzeepClient(
                    ezeep.account_url, ezeep.api_url, secret(ezeep.client_id_env), secret(ezeep.client_secret_env),
                    invitations_path=ezeep.invitations_path, connections=ezeep.connections, wait=self.sites.wait,
                )  # fmt: skip
                return Ezeep(self.key, client, jobs, organisation, self.clock)

    @property
    def jobs(self) -> JobSource:
        """Where the print jobs of the site are read."""
        return self.printing.jobs

    def present(self) -> Record:
        """What the site is now, by bridge.toml; its code and epoch as they are kept."""
        code, epoch = (self.record.code, self.record.epoch) if self.record else ("", 0)
        server, source = self.settings.addresses()
        return Record(self.key, self.name, code, epoch, self.rules.business_id, server, source)

    def remember(self, record: Record) -> None:
        """Go on as the site that was kept."""
        self.record = record
        self.rules = replace(self.rules, code=record.code)

    def mover(self, run_id: str, actor: str) -> Mover:
        """Who moves ledger lines, now."""
        return Mover(run_id=run_id, actor=actor, at=self.clock())

    def close(self) -> None:
        """Give back the connections of the site."""
        if "printing" in self.__dict__:
            self.printing.close()
            del self.__dict__["printing"]


class Sites:
    """The sites of bridge.toml by name, and what they share.

    Args:
        settings: the configuration.
        home: where state lives.
        clock: the time; by default the configured one.
        wait: how the clients wait between tries.
    """

    def __init__(self, settings: Settings, home: Home, clock: Clock | None = None, wait: Wait = time.sleep) -> None:
        self.settings = settings
        self.home = home
        self.clock = clock or configured_clock()
        self.wait = wait
        self.store = Warehouse(home.warehouse, exports=home.exports, backups=home.backups)
        self._making = threading.RLock()
        self._sites: dict[str, Site] = {}
        self._records: dict[str, Record] | None = None

    def __getitem__(self, name: str) -> Site:
        """One site, by its name in bridge.toml or by the name it had first.

        Raises:
            ConfigError: bridge.toml has no such site.
        """
        with self._making:
            if name not in self.settings.sites and (former := self.record_of(name, by_key=True)):
                name = former.name
            if name not in self._sites:
                self._sites[name] = Site(name, self.settings.site(name), self)
            return self._sites[name]

    def record_of(self, name: str, *, by_key: bool = False) -> Record | None:
        """What is kept of a site by its name in bridge.toml, or by the name it had first; None before its first run."""
        with self._making:
            if self._records is None:
                with self.store.connect() as con:
                    self._records = records(con)
            if by_key:
                return self._records.get(name)
            return next((each for each in self._records.values() if each.name == name), None)

    def forget(self) -> None:
        """Take every site anew, because what is kept of one has changed."""
        with self._making:
            self.close()
            self._records = None

    def __iter__(self) -> Iterator[Site]:
        """Every site, in the order of bridge.toml."""
        return (self[name] for name in self.settings.sites)

    @property
    def names(self) -> list[str]:
        """The names of the sites, in the order of bridge.toml."""
        return list(self.settings.sites)

    @cached_property
    def nexudus(self) -> NexudusClient:
        """The client of the Nexudus account."""
        with self._making:
            nexudus = self.settings.nexudus
            email, password = secret(nexudus.email_env), secret(nexudus.password_env)
            return NexudusClient(nexudus.base_url, email, password, wait=self.wait)

    @cached_property
    def digest(self) -> Digester:
        """Makes the digests of PINs and cards."""
        return Digester(secret(self.settings.nexudus.password_env))

    def hold(self, name: str, *, wait_seconds: float = LOCK_SECONDS) -> AbstractContextManager[None]:
        """Hold a name alone, a site's or one that no site can have: see `store.locks.hold`."""
        return hold(self.home.locks, name, wait_seconds=wait_seconds)

    def close(self) -> None:
        """Give back every connection; the next use makes new ones."""
        for site in self._sites.values():
            site.close()
        self._sites.clear()
        if "nexudus" in self.__dict__:
            self.nexudus.close()
            del self.__dict__["nexudus"]
        self.store.close()


def job_source(site: SiteSettings, *, epoch: int = 0) -> JobSource:
    """The source of print jobs that a site's configuration names. Nothing is read or connected yet.

    Args:
        site: its section of bridge.toml.
        epoch: how often the numbers of its jobs began anew.

    Raises:
        ConfigError: the secret is not set, its driver is not installed, or a name of a column or encoding is unknown.
    """
    jobs = site.jobs
    if jobs.source == "database":
        variable = jobs.uri_env or ""
        return PaperCutDatabase(
            secret(variable), uri_env=variable, timezone=site.timezone, since=site.charge_from, epoch=epoch
        )
    day_first, timezone = None if jobs.dates is None else jobs.dates == "day_first", site.timezone
    if site.ezeep:  # a report is in UTC, or as many hours from it as it was asked for (`ezeep-api.md` 4.1)
        layout: Layout = EzeepReport(jobs.columns, hours=jobs.timestamp_offset, day_first=day_first)
        timezone = f"Etc/GMT{-jobs.timestamp_offset:+d}"
    elif jobs.source == "print_log":
        layout = PrintLog(jobs.columns, day_first=day_first)
    else:
        layout = CsvReport(jobs.columns, day_first=day_first)
    return JobFolder(
        jobs.path or Path(), layout=layout, timezone=timezone, encoding=jobs.encoding, since=site.charge_from
    )
