"""What one site has decided, as the domain sees it.

What belongs here: the choices that the rules depend on. What does not: addresses, secrets, file paths; those stay in
`pipeline.settings`, which makes this value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

PricingModel = Literal["pay_per_print", "credits_only", "credits_and_pay_per_print", "free_unlimited"]
Customers = Literal["home", "all"]
Username = Literal["email", "user_domain"]
CardNumber = Literal["none", "access_card", "key_fob", "pin"]
Removal = Literal["delete", "disable"]
PartialCredits = Literal["ignore", "use"]
TeamCredits = Literal["as_nexudus", "own"]
Rounding = Literal["hold", "half_up", "up"]
Holding = Literal["balance", "restricted", "pin", "card", "disabled", "cost"]
"""What a print system may know of a user or a job."""
Flags = Literal["papercut", "ezeep_blue", "ezeep"]
"""Which flags of a customer give access: those of the PaperCut Bridge, or one of the two pairs of ezeep."""
Invite = Literal["automatic", "by_hand"]

EVERYTHING: frozenset[Holding] = frozenset(get_args(Holding))

PAY_MODELS: frozenset[str] = frozenset({"pay_per_print", "credits_and_pay_per_print"})
CREDIT_MODELS: frozenset[str] = frozenset({"credits_only", "credits_and_pay_per_print"})


@dataclass(frozen=True)
class Price:
    """What one page costs, where the print system has no prices; a price says only what it depends on.

    Attributes:
        credits_per_page: whole credits, which are cents.
        printer: the name of the printer; `*` stands for any characters.
        paper: the paper, for example A4; None for any.
        colour: whether the page is in colour; None for both.
        duplex: whether the job is printed on both sides; None for both.
    """

    credits_per_page: int
    printer: str = "*"
    paper: str | None = None
    colour: bool | None = None
    duplex: bool | None = None


@dataclass(frozen=True)
class SiteRules:
    """The business choices of one site: names, values and defaults are those of bridge.toml (design section 6).

    `name` is the key of the site in every table, and `code` its three characters in references; empty: those of the
    name. `title` is what people call its print system, and `holds` what that knows: no plan asks for more.
    """

    name: str
    business_id: int
    timezone: str
    pricing_model: PricingModel
    charge_from: datetime
    charge_product_id: int | None = None
    credit_ids: tuple[int, ...] = ()
    customers: Customers = "home"
    username: Username = "email"
    card_number: CardNumber = "none"
    removal: Removal = "delete"
    partial_credits: PartialCredits = "ignore"
    team_credits: TeamCredits = "as_nexudus"
    rounding: Rounding = "hold"
    maturity_minutes: int = 30
    licence_users: int = 0
    keep_without_credit_days: int = 30
    max_credits: int = 100_000
    max_charge: int = 50_000
    members_free_from: datetime | None = None
    contacts_free_from: datetime | None = None
    members_pay_from: datetime | None = None
    contacts_pay_from: datetime | None = None
    prices: tuple[Price, ...] = ()
    flags: Flags = "papercut"
    invite: Invite = "automatic"
    code: str = ""
    title: str = "PaperCut"
    holds: frozenset[Holding] = EVERYTHING

    @property
    def takes_money(self) -> bool:
        """Whether a job can be charged as money."""
        return self.pricing_model in PAY_MODELS

    @property
    def takes_credits(self) -> bool:
        """Whether a job can be paid with printing credits."""
        return self.pricing_model in CREDIT_MODELS

    @property
    def shares_credits(self) -> bool:
        """Whether the members of a team use the printing credits of the customer who pays for it."""
        return self.takes_credits and self.team_credits == "as_nexudus"
