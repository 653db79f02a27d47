"""Writes: changes of print users that were made and did not take effect.

What belongs here: what was asked and what was seen, as a digest, and the hold after the same has happened too often.
What does not: balances that fell (`balances.py`), and changes that were refused: their outcome says so.

A server may answer yes and change nothing: a balance that no account of the user has, a text that it shortens. Without
a memory each run writes it again, for ever.
"""

from __future__ import annotations

import polars as pl

from pipeline.domain.people.differences import plain
from pipeline.domain.rules import SiteRules

TRIES = 3
"""So many writes in a row after which the user is seen as before; then a person is asked."""

PRINTED = pl.Schema({"username": pl.String, "printed_at": pl.Datetime("us", "UTC")})
"""The newest job of each user: who printed in between has had their balance changed by that, and not in vain."""

_ASKED = ("coworker_id", "full_name", "email", "access", "restricted", "target", "card_digest")
_SEEN = (
    "now_full_name", "now_email", "now_balance", "now_restricted", "now_disabled", "now_marked_coworker_id",
    "now_card_digest",
)  # fmt: skip


def asks() -> pl.Expr:
    """A digest of what a row asks for and of what was seen instead; null for rows that change no values of a user.

    Of the frame: the columns of a plan, `now_*` of the user as observed, and printed_at.
    """
    values = pl.struct("changes", *_ASKED, *_SEEN, printed=pl.when(pl.col("changes") == "balance").then("printed_at"))
    return pl.when(pl.col("action").is_in(["update", "adjust"])).then(
        values.struct.json_encode().hash().cast(pl.String)
    )


def without_effect(plan: pl.DataFrame, tried: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The plan, in which changes that were made `TRIES` times and are still to be made are held.

    Args:
        plan: UserSyncPlan.
        tried: PrintUserSync: of each change of these users, by its fields, the last `TRIES` tries.
        rules: the choices of the site.

    Returns:
        UserSyncPlan, in its order.
    """
    rows = ["username", "action", "changes", "ask"]
    same = (
        tried.group_by("username", "action", "changes")
        .agg(
            pl.col("ask").first(), last=pl.col("happened_at").max(),
            vain=(pl.len() >= TRIES) & (pl.col("outcome") == "done").all() & (pl.col("ask").n_unique() == 1),
        )
        .filter("vain")
        .select(*rows, "last")
    )  # fmt: skip
    values = pl.when(pl.col("changes") == "balance").then(
        pl.format("balance, asked {} and seen {}", plain(pl.col("target")), plain(pl.col("balance")))
    ).otherwise(pl.col("changes").str.replace_all(",", ", "))  # fmt: skip
    reason = pl.format(
        f"{rules.title} said yes {TRIES} times, last {{}}, and changed nothing ({{}}): it is not written again. Look at"
        f" the user there and set it by hand, or `printbridge resume {rules.name} writes` tries once more",
        pl.col("last").dt.to_string("%Y-%m-%d %H:%M UTC"),
        values,
    )
    held = pl.col("last").is_not_null()
    return (
        plan.join(same, on=rows, how="left", maintain_order="left")
        .with_columns(
            action=pl.when(held).then(pl.lit("hold")).otherwise("action"),
            code=pl.when(held).then(pl.lit("no_effect")).otherwise("code"),
            reason=pl.when(held).then(reason).otherwise("reason"),
        )
        .drop("last")
    )
