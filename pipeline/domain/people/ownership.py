"""Ownership: which PaperCut users are provably ours, and which of them leave.

What belongs here: the three proofs (an ownership row, an internal user, our mark in its notes), the evidence for a
removal, the time a user may stay without credit. What does not: people who are wanted (`differences.py`), the caps
(`plan.py`). Users that we do not own appear in nothing but holds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipeline.domain.names import email_key
from pipeline.domain.people.differences import EXACT, adjusts, balanced
from pipeline.domain.people.reasons import LEAVES, STAYS
from pipeline.domain.rules import SiteRules

TIME = pl.Datetime("us", "UTC")

OWNED = pl.Schema(
    {
        "username": pl.String,
        "coworker_id": pl.Int64,
        "email_key": pl.String,
        "access": pl.String,
        "state": pl.String,
        "owned_from": TIME,
        "pin_digest": pl.String,
        "card_digest": pl.String,
        "without_credit_since": TIME,
        "password_length": pl.Int64,
    }
)
"""A current ownership row. `access` is the last way in, `state` is `creating` (the intent is recorded, the outcome is
not) or `owned`, the digests are those last written, `without_credit_since` is null for a user with credit,
`password_length` is the length to which the last password was padded, null where that was not kept."""


def observed(users: pl.DataFrame, owned: pl.DataFrame) -> pl.DataFrame:
    """Users as `now_*`, their ownership as `our_*`, and which of the three proofs hold (`money-safety.md` 4.1)."""
    state, mark = pl.col("our_state"), _marked_for("our_coworker_id")
    unmarked = ~pl.col("now_marked")
    is_owned = pl.col("our_coworker_id").is_not_null() & pl.col("now_internal")
    return (
        users.select("username", pl.all().exclude("username", "site").name.prefix("now_"))
        .join(owned.select("username", pl.all().exclude("username").name.prefix("our_")), on="username", how="left")
        .with_columns(
            proven=is_owned & mark,
            ours=is_owned & (mark | ((state == "creating") & unmarked)),
            refusal=pl.when(~pl.col("now_internal"))
            .then(pl.lit("it is not an internal user"))
            .when(unmarked)
            .then(pl.lit("it does not carry our mark"))
            .when(pl.col("our_coworker_id").is_null() & pl.col("now_marked_coworker_id").is_null())
            .then(pl.lit("it has our mark but no ownership record here"))
            .when(pl.col("our_coworker_id").is_null())
            .then(pl.format("it has the mark of customer {} but no ownership record here", "now_marked_coworker_id"))
            .otherwise(pl.format("it has the mark of another customer, {}", "now_marked_coworker_id")),
            remedy=_remedy(),
        )
    )


def followed(users: pl.DataFrame, owned: pl.DataFrame) -> pl.DataFrame:
    """Users of ours that a person renamed: under the new name they keep our mark and the e-mail on record.

    Where two users could be the one, for instance because the notes were copied, nobody is followed.

    Args:
        users: PrintUsers of the site, complete.
        owned: current ownership rows, see `OWNED`.

    Returns:
        former, username (the name now), coworker_id; by former name.
    """
    proven = observed(users, owned.select(pl.col(name).cast(dtype) for name, dtype in OWNED.items())).filter("proven")
    lost = owned.filter(state="owned").join(proven, on="username", how="anti")
    strangers = users.filter("internal", "marked").join(owned, on="username", how="anti")
    return (
        lost.select("coworker_id", "email_key", former="username")
        .join(
            strangers.select("username", coworker_id="marked_coworker_id", email_key=email_key("email")),
            on=["coworker_id", "email_key"],
        )
        .filter(pl.len().over("coworker_id") == 1)
        .sort("former")
        .select("former", "username", "coworker_id")
    )


def _remedy() -> pl.Expr:
    """How a user that was ours becomes ours again."""
    return (
        pl.when(~pl.col("now_internal"))
        .then(pl.lit("take it out of the directory sync; then it is ours again by itself"))
        .when(~pl.col("now_marked"))
        .then(pl.lit("`printbridge adopt` takes it back"))
        .otherwise(
            pl.format(
                "if it is still the user of customer {}, put that number into the mark in its notes in PaperCut",
                "our_coworker_id",
            )
        )
    )


def _marked_for(customer: str) -> pl.Expr:
    """Whether the mark is one for a customer; the mark of some print systems, a group, names nobody."""
    named = pl.col("now_marked_coworker_id")
    return pl.col("now_marked") & (named.is_null() | (named == pl.col(customer)))


def with_new_marks(kept: pl.DataFrame) -> pl.DataFrame:
    """A mark that was rewritten for a new preferred customer, but not yet recorded here, is ours as well."""
    rewritten = pl.col("our_coworker_id").is_not_null() & pl.col("now_internal") & _marked_for("coworker_id")
    return kept.with_columns(ours=pl.col("ours") | rewritten)


def with_double(new: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """The users to create, each with the `double` that has the mark of its customer and is on no record, if one is."""
    doubles = seen.filter("now_internal", "now_marked", pl.col("our_coworker_id").is_null())
    named = doubles.group_by(coworker_id="now_marked_coworker_id").agg(double=pl.col("username").min())
    return new.join(named, on="coworker_id", how="left")


def _with_account(users: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Each owned user with the account of its e-mail, or else of its customer, whose e-mail may have changed."""
    of_customer = accounts.unique("coworker_id", keep="first", maintain_order=True)
    by_email = accounts.select(our_email_key="email_key", email_found=True, email_reason="reason")
    by_customer = of_customer.select(our_coworker_id="coworker_id", customer_found=True, customer_reason="reason")
    found, of_customer_found = pl.col("email_found"), pl.col("customer_found")
    return (
        users.join(by_email, on="our_email_key", how="left")
        .join(by_customer, on="our_coworker_id", how="left")
        .with_columns(
            account_found=found | of_customer_found,
            account_reason=pl.when(found).then("email_reason").otherwise("customer_reason"),
            # Someone wanted under another user name is no evidence against this one.
            moved=(found & pl.col("email_reason").is_null())
            | (of_customer_found & pl.col("customer_reason").is_null()),
        )
    )


def _lapses() -> pl.Expr:
    """No credit now, although credits were the way in: the user stays, because plan credits return every month."""
    reason = pl.col("account_reason")
    by_flag = pl.col("our_access").is_in(["free", "pay"]).fill_null(value=False)
    return (reason == "no_credit") | ((reason == "no_access") & ~by_flag)


def leavers(
    unwanted: pl.DataFrame, accounts: pl.DataFrame, gone: pl.DataFrame, rules: SiteRules, now: datetime
) -> pl.DataFrame:
    """Users of ours that nobody wants: removed on positive evidence, restricted without credit, else left alone.

    Returns:
        Rows with action remove or hold, and rows without an action for `restrictions`.
    """
    frame = _with_account(unwanted.filter(pl.col("our_coworker_id").is_not_null()), accounts)
    reason, since = pl.col("account_reason"), pl.col("our_without_credit_since")
    is_gone = pl.col("our_coworker_id").is_in(gone["coworker_id"].implode())
    evidence = reason.is_in(list(LEAVES)) & ~_lapses()
    expired = (since + timedelta(days=rules.keep_without_credit_days) < now) & _lapses()
    step = (
        pl.when("moved").then(pl.lit("moved"))
        .when(evidence | is_gone | expired).then(pl.lit("remove"))
        .when(_lapses()).then(pl.lit("restrict"))
        .when(reason.is_in(list(STAYS))).then(pl.lit("stay"))
    )  # fmt: skip
    why = (
        pl.when(evidence)
        .then(reason.replace_strict(LEAVES, default=None, return_dtype=pl.String))
        .when(is_gone)
        .then(pl.format("customer {} does not exist in Nexudus any more", "our_coworker_id"))
        .otherwise(
            pl.format(
                f"without credit since {{}}, longer than keep_without_credit_days ({rules.keep_without_credit_days})",
                since.dt.to_string("%Y-%m-%d %H:%M UTC"),
            )
        )
    )
    disabled_already = pl.col("now_disabled") & (rules.removal == "disable")
    return _decided(
        frame.with_columns(step=step, why=why, coworker_id="our_coworker_id", email_key="our_email_key").filter(
            ~(disabled_already & pl.col("step").is_in(["remove", "restrict"])).fill_null(value=False)
        ),
        rules,
    )


def _decided(frame: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Action, code and reason for each step; without the proofs, a hold."""
    step, ours = pl.col("step"), pl.col("ours")
    removes = (step == "remove") & pl.col("proven")
    restricts = (step == "restrict") & ours
    lost = ~ours & (pl.col("our_state") == "owned")
    leaves = step.is_in(["remove", "restrict"])
    done = "deleted" if rules.removal == "delete" else "disabled"
    not_done = (
        pl.when(step == "remove").then(pl.format("not removed: {}; ", "why"))
        .when(step == "restrict").then(pl.lit("without credit, but not restricted: "))
        .otherwise(pl.lit("the user was ours, but "))
    )  # fmt: skip
    return frame.filter(step.is_not_null() | lost).with_columns(
        action=pl.when(removes).then(pl.lit("remove")).when(~restricts | step.is_null()).then(pl.lit("hold")),
        changes=pl.when(removes).then(pl.lit(done)).otherwise(pl.lit("")),
        code=pl.when(removes | restricts)
        .then(None)
        .when(lost & leaves)
        .then(pl.lit("lost_leaver"))
        .when(lost)
        .then(pl.lit("lost"))
        .otherwise(step.replace_strict({"moved": "moved", "stay": "stays"}, default="unproven")),
        reason=pl.when(removes)
        .then("why")
        .when(lost | leaves)
        .then(pl.concat_str(not_done, "refusal", pl.when(lost).then(pl.format(": {}", "remedy")).otherwise(pl.lit(""))))
        .when(step == "moved")
        .then(pl.lit("the customer has another user name now, which this one cannot become: remove this user by hand"))
        .otherwise(pl.col("account_reason").replace_strict(STAYS, default=None, return_dtype=pl.String)),
    )


def restrictions(leavers: pl.DataFrame, unsettled: pl.DataFrame, rules: SiteRules) -> list[pl.DataFrame]:
    """No credit: PaperCut must refuse every job, so restricted, and no balance but what is still to be settled."""
    lapsed = (
        leavers.filter(pl.col("action").is_null())
        .join(unsettled, on="username", how="left")
        .with_columns(
            pl.col("unsettled").fill_null(0).cast(EXACT), access=pl.lit("credits"), credits=pl.lit(0, pl.Int64)
        )
        .with_columns(target=balanced((pl.lit(0).cast(EXACT) - pl.col("unsettled")).cast(EXACT), rules))
    )
    updates = lapsed.filter(~pl.col("now_restricted") & pl.lit("restricted" in rules.holds)).with_columns(
        action=pl.lit("update"),
        changes=pl.lit("restricted"),
        restricted=pl.lit(value=True),
        reason=pl.lit("no credit is left: the user stays, but cannot print"),
    )
    return [updates, adjusts(lapsed, rules)]


def without_credit(accounts: pl.DataFrame, owned: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The ownership rows whose `without_credit_since` changes: set to now, or null once there is access again.

    Args:
        accounts: PrintAccounts of the site.
        owned: current ownership rows, see `OWNED`.
        now: the current time, UTC.

    Returns:
        username, without_credit_since; only rows that change, by user name.
    """
    owned = owned.select(pl.col(name).cast(dtype) for name, dtype in OWNED.items())
    frame = _with_account(owned.select("username", pl.all().exclude("username").name.prefix("our_")), accounts)
    since = pl.col("our_without_credit_since")
    starts = since.is_null() & _lapses()
    ends = since.is_not_null() & pl.col("account_found") & pl.col("account_reason").is_null()
    return (
        frame.filter(starts | ends)
        .select("username", without_credit_since=pl.when(starts).then(pl.lit(now, TIME)))
        .sort("username")
    )


def missing(accounts: pl.DataFrame, owned: pl.DataFrame, customers: pl.DataFrame | None = None) -> pl.DataFrame:
    """The owned customers that are in no account any more: to be looked up by id before anything happens to them.

    Args:
        accounts: PrintAccounts of the site.
        owned: current ownership rows, see `OWNED`.
        customers: coworker_id of customers known to exist (for example NexudusCustomers), who need no look-up.

    Returns:
        coworker_id, ascending.
    """
    known = [accounts.select("coworker_id")] + ([] if customers is None else [customers.select("coworker_id")])
    return (
        owned.join(accounts, on="email_key", how="anti")
        .join(pl.concat(known), on="coworker_id", how="anti")
        .select("coworker_id")
        .unique()
        .sort("coworker_id")
    )


def under_current_names(unsettled: pl.DataFrame, names: pl.DataFrame, owned: pl.DataFrame) -> pl.DataFrame:
    """The unsettled cost of each user under the name the user has now, where jobs were printed under an earlier one.

    Args:
        unsettled: username, unsettled, by the name in the job.
        names: username, owned_from, coworker_id, email_key of every name that ever was ours.
        owned: current ownership rows, see `OWNED`.

    Returns:
        username, unsettled; one row per user, by user name.
    """
    now = owned.sort("owned_from").unique("coworker_id", keep="last").select("coworker_id", now="username")
    latest = names.sort("owned_from").unique("username", keep="last").select("username", "coworker_id")
    former = latest.join(owned, on="username", how="anti").join(now, on="coworker_id").select("username", "now")
    return (
        unsettled.join(former, on="username", how="left")
        .group_by(pl.coalesce("now", "username").alias("username"))
        .agg(pl.col("unsettled").sum().cast(EXACT))
        .sort("username")
    )
