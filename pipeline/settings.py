"""The settings of an installation as one typed value: every key of bridge.toml, and what it may be.

What belongs here: the keys, their defaults and their checks. What does not: reading the file and explaining what is
wrong in it (`configuration.py`), and using the settings. Secrets never enter these objects: `*_env` keys name the
variable, and `secret()` reads it at the moment of use.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.domain.rules import (
    CREDIT_MODELS,
    PAY_MODELS,
    CardNumber,
    Customers,
    Invite,
    PartialCredits,
    Price,
    PricingModel,
    Removal,
    Rounding,
    SiteRules,
    TeamCredits,
    Username,
)
from pipeline.errors import ConfigError


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not a time zone name such as Europe/London")
    return name


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the time needs a zone, for example 2026-11-01T00:00:00Z")
    return moment.astimezone(UTC)


def _safe_url(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("not an http or https address")
    if parts.username or parts.password:
        raise ValueError("an address must not hold a user name or password")
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError("plain http is allowed only on this machine; use https")
    return url


Zone = Annotated[str, AfterValidator(_zone)]
Moment = Annotated[datetime, AfterValidator(_aware)]
Url = Annotated[str, AfterValidator(_safe_url)]


def _address(url: str) -> str:
    """Host, port and path of an address, alike however they are written."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = "127.0.0.1" if host in {"localhost", "::1"} else host
    return f"{host}:{parts.port or ''}{parts.path.rstrip('/')}" + (f"?{parts.query}" if not parts.path else "")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NexudusSettings(_Section):
    """How to reach Nexudus."""

    base_url: Url = "https://spaces.nexudus.com"
    email_env: str = "NEXUDUS_EMAIL"
    password_env: str = Field(default="NEXUDUS_PASSWORD")


class PaperCutSettings(_Section):
    """How to reach one PaperCut server."""

    url: Url
    token_env: str
    ca_file: Path | None = None
    connections: int = Field(default=8, ge=1, le=32)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that hold its secrets."""
        return (self.token_env,)

    @property
    def address(self) -> str:
        """What makes two sections the same server."""
        return _address(self.url)


class EzeepSettings(_Section):
    """How to reach one organisation of ezeep Blue, and how its users are made and removed (design section 11)."""

    account_url: Url = "https://account.ezeep.com"
    api_url: Url = "https://api2.ezeep.com"
    client_id_env: str
    client_secret_env: str
    organization_id: str = Field(min_length=1)
    group: str = Field(default="printbridge", min_length=1, max_length=255)
    invite: Invite = "by_hand"
    removal: Literal["delete", "group"] = "delete"
    invitations_path: str = "/v1/userinvitations/"
    invitation_days: int = Field(default=30, ge=1)
    connections: int = Field(default=4, ge=1, le=32)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that hold its secrets."""
        return (self.client_id_env, self.client_secret_env)

    @property
    def address(self) -> str:
        """What makes two sections the same server: the organisation, of which one address serves many."""
        return f"{_address(self.account_url)}#{self.organization_id}/{self.group}"


class PriceSettings(_Section):
    """What a page costs where the print system has no prices; see `pipeline.domain.rules.Price`."""

    credits_per_page: int = Field(ge=0, le=100_000)
    printer: str = "*"
    paper: str | None = None
    colour: bool | None = None
    duplex: bool | None = None


class JobsSettings(_Section):
    """Where one site's print jobs are read."""

    source: Literal["database", "print_log", "csv"]
    uri_env: str | None = None
    path: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    encoding: str = "utf-8"
    dates: Literal["day_first", "month_first"] | None = None
    timestamp_offset: int = Field(default=0, ge=-12, le=14)

    @model_validator(mode="after")
    def _complete(self) -> JobsSettings:
        if self.source == "database" and not self.uri_env:
            raise ValueError("source 'database' needs uri_env, the variable that holds the SQLAlchemy address")
        if self.source != "database" and not self.path:
            raise ValueError(f"source {self.source!r} needs path, the folder of the files")
        return self


class NewCustomerSettings(_Section):
    """Defaults for customers created after a date (settings 4 to 7 of the Bridge, `rules.md` section 4 and U13)."""

    members_free_from: Moment | None = None
    contacts_free_from: Moment | None = None
    members_pay_from: Moment | None = None
    contacts_pay_from: Moment | None = None


class SiteSettings(_Section):
    """One print system and the Nexudus location it serves."""

    business_id: int
    timezone: Zone
    pricing_model: PricingModel
    charge_from: Moment
    charge_product_id: int | None = None
    credit_ids: list[int] = Field(default_factory=list[int])
    customers: Customers = SiteRules.customers
    username: Username = SiteRules.username
    card_number: CardNumber = SiteRules.card_number
    removal: Removal = SiteRules.removal
    partial_credits: PartialCredits = SiteRules.partial_credits
    team_credits: TeamCredits = SiteRules.team_credits
    credit_writeback: Literal["auto", "recreate", "ledger"] = "auto"
    rounding: Rounding = SiteRules.rounding
    maturity_minutes: int = Field(default=SiteRules.maturity_minutes, ge=0)
    settle_minutes: int = Field(default=15, ge=2)
    licence_users: int = Field(default=SiteRules.licence_users, ge=0)
    keep_without_credit_days: int = Field(default=SiteRules.keep_without_credit_days, ge=0)
    max_credits: int = Field(default=SiteRules.max_credits, ge=1)
    max_charge: int = Field(default=SiteRules.max_charge, ge=1)
    new_customers: NewCustomerSettings = NewCustomerSettings()
    print_system: Literal["papercut", "ezeep"] = "papercut"
    flags: Literal["ezeep_blue", "ezeep"] = "ezeep_blue"
    papercut: PaperCutSettings | None = None
    ezeep: EzeepSettings | None = None
    prices: list[PriceSettings] = Field(default_factory=list[PriceSettings])
    jobs: JobsSettings

    @model_validator(mode="after")
    def _of_one_system(self) -> SiteSettings:
        other = "ezeep" if self.print_system == "papercut" else "papercut"
        if getattr(self, self.print_system) is None:
            raise ValueError(f"print_system {self.print_system!r} needs the section {self.print_system}")
        if getattr(self, other) is not None:
            raise ValueError(f"print_system is {self.print_system!r}, so the section {other} must go")
        told = sorted(self.model_fields_set & (_PAPERCUT_ONLY if self.ezeep else _EZEEP_ONLY))
        if told:
            raise ValueError(f"{', '.join(told)}: of no meaning with print_system {self.print_system!r}; take it out")
        if self.ezeep:
            self._priced()
        return self

    def _priced(self) -> None:
        """What an ezeep site must say of its jobs: a report, prices, and a column for all that a price looks at."""
        if self.jobs.source != "csv":
            raise ValueError(f"jobs.source {self.jobs.source!r} is none of ezeep's: use csv, the folder of its reports")
        if not self.prices:
            raise ValueError("ezeep has no prices: add [[prices]] with credits_per_page")
        for name in ("user_email", "printed_at", "pages"):
            if name not in self.jobs.columns:
                raise ValueError(f"jobs.columns needs {name}, the header of that column in ezeep's report")
        looks = {"colour": ("colour", "color_pages"), "paper": ("paper",), "duplex": ("duplex",)}
        for what, names in looks.items():
            asked = any(getattr(price, what) is not None for price in self.prices)
            if asked and not set(names) & set(self.jobs.columns):
                raise ValueError(f"a price looks at {what}, so jobs.columns needs {' or '.join(names)}")
        if any(price.printer != "*" for price in self.prices) and "printer" not in self.jobs.columns:
            raise ValueError("a price looks at the printer, so jobs.columns needs printer")

    @model_validator(mode="after")
    def _complete(self) -> SiteSettings:
        if self.pricing_model in PAY_MODELS and self.charge_product_id is None:
            raise ValueError(
                f"pricing_model {self.pricing_model!r} needs charge_product_id, the Nexudus product priced 0.01"
            )
        if self.pricing_model in CREDIT_MODELS and not self.credit_ids:
            raise ValueError(f"pricing_model {self.pricing_model!r} needs credit_ids, the Nexudus printing credit")
        return self

    def rules(self, name: str) -> SiteRules:
        """The business choices of the site, as the domain sees them."""
        chosen: dict[str, Any] = {**dict(self), **dict(self.new_customers), "credit_ids": tuple(self.credit_ids)}
        chosen["prices"] = tuple(Price(**dict(price)) for price in self.prices)
        if self.ezeep:
            removal = "disable" if self.ezeep.removal == "group" else "delete"
            chosen |= {"invite": self.ezeep.invite, "removal": removal}
        else:
            chosen |= {"flags": "papercut"}
        return SiteRules(name=name, **{key: chosen[key] for key in SiteRules.__dataclass_fields__ if key in chosen})

    def addresses(self) -> tuple[str, str]:
        """The print server and the source of its jobs, without secrets: what makes two sections the same site.

        Raises:
            ConfigError: the address of the database is not in the environment.
        """
        server = self.server.address
        if self.jobs.source == "database":
            return server, _address(secret(self.jobs.uri_env or ""))
        return server, str((self.jobs.path or Path()).resolve())

    @property
    def server(self) -> PaperCutSettings | EzeepSettings:
        """The section of the print system of the site."""
        return self.papercut or cast("EzeepSettings", self.ezeep)  # `_of_one_system` refuses a site without both

    @property
    def zone(self) -> ZoneInfo:
        """The location's time zone."""
        return ZoneInfo(self.timezone)


_PAPERCUT_ONLY = {"username", "card_number", "licence_users", "removal", "new_customers"}
_EZEEP_ONLY = {"flags", "prices"}
"""Settings that mean something with one print system only."""


class AlertSettings(_Section):
    """Who is told when something needs a person, by e-mail, by webhook, or both; nobody without this section."""

    smtp_host: str | None = None
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_user: str | None = None
    smtp_password_env: str | None = None
    from_address: str | None = None
    to: list[str] = Field(default_factory=list[str])
    webhook_env: str | None = None
    webhook_style: Literal["slack", "teams"] = "slack"
    stale_hours: int = Field(default=3, ge=1)
    no_look_minutes: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> AlertSettings:
        if bool(self.smtp_host) != bool(self.to) or bool(self.smtp_host) != bool(self.from_address):
            raise ValueError("e-mail needs all of smtp_host, from_address and to")
        if bool(self.smtp_user) != bool(self.smtp_password_env) or (self.smtp_user and not self.smtp_host):
            raise ValueError("smtp_user, smtp_password_env and smtp_host belong together")
        return self


class Settings(_Section):
    """The whole of bridge.toml."""

    mode: Literal["apply", "dry_run"] = "apply"
    every: str = "*/2 * * * *"
    watch_seconds: int = Field(default=10, ge=0, le=3600)
    watch_requests_per_minute: int = Field(default=12, ge=1, le=600)
    complete_read_minutes: int = Field(default=60, ge=1)
    keep_runs_days: int = Field(default=14, ge=1)
    nexudus: NexudusSettings = NexudusSettings()
    alerts: AlertSettings = AlertSettings()
    sites: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")], SiteSettings] = Field(min_length=1)

    def site(self, name: str) -> SiteSettings:
        """The settings of one site.

        Raises:
            ConfigError: there is no such site.
        """
        try:
            return self.sites[name]
        except KeyError:
            known = ", ".join(sorted(self.sites))
            raise ConfigError(f"There is no site {name!r} in bridge.toml", f"use one of: {known}") from None

    def secret_names(self) -> list[str]:
        """The environment variables that must hold a value."""
        names = [self.nexudus.email_env, self.nexudus.password_env]
        for site in self.sites.values():
            names += site.server.variables
            if site.jobs.uri_env:
                names.append(site.jobs.uri_env)
        names += filter(None, (self.alerts.smtp_password_env, self.alerts.webhook_env))
        return list(dict.fromkeys(names))


def secret(variable: str) -> str:
    """The value of an environment variable that holds a secret.

    Raises:
        ConfigError: it is unset or empty.
    """
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(
            f"The environment variable {variable} is not set",
            f"set {variable} in the environment or in the .env file beside bridge.toml",
        )
    return value
