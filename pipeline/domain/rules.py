"""What one site has decided, as the domain sees it.

What belongs here: the choices that the rules depend on. What does not: addresses, secrets, file paths; those stay in
`pipeline.settings`, which makes this value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PricingModel = Literal["pay_per_print", "credits_only", "credits_and_pay_per_print", "free_unlimited"]

PAY_MODELS: frozenset[str] = frozenset({"pay_per_print", "credits_and_pay_per_print"})
CREDIT_MODELS: frozenset[str] = frozenset({"credits_only", "credits_and_pay_per_print"})


@dataclass(frozen=True)
class SiteRules:
    """The business choices of one site; the names and values are those of bridge.toml (design section 6)."""

    name: str
    business_id: int
    timezone: str
    pricing_model: PricingModel
    charge_from: datetime
    charge_product_id: int | None = None
    credit_ids: tuple[int, ...] = ()
    customers: Literal["home", "all"] = "home"
    username: Literal["email", "user_domain"] = "email"
    card_number: Literal["none", "access_card", "key_fob", "pin"] = "none"
    removal: Literal["delete", "disable"] = "delete"
    partial_credits: Literal["ignore", "use"] = "ignore"
    rounding: Literal["hold", "half_up", "up"] = "hold"
    maturity_minutes: int = 30
    licence_users: int = 0
    keep_without_credit_days: int = 30
    max_credits: int = 100_000
    max_charge: int = 50_000
    members_free_from: datetime | None = None
    contacts_free_from: datetime | None = None
    members_pay_from: datetime | None = None
    contacts_pay_from: datetime | None = None

    @property
    def takes_money(self) -> bool:
        """Whether a job can be charged as money."""
        return self.pricing_model in PAY_MODELS

    @property
    def takes_credits(self) -> bool:
        """Whether a job can be paid with printing credits."""
        return self.pricing_model in CREDIT_MODELS
