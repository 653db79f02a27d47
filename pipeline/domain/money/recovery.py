"""What a lost or restored ledger cannot prove: the credit lines that a person has to decide.

What belongs here: which jobs may have been paid with printing credits, or may have had them given back, since the
ledger was last whole. A sale in Nexudus names its job; a credit names only its last use. What does not: reading the
services and entering lines (`pipeline.operations.recover`).

Every line is held under the rule `recovered`. Confirmed it means "this has happened", retried "this is still to be
done", void "this is not to be done".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.attribution import attributed, counts
from pipeline.domain.money.charges import amount
from pipeline.domain.money.credits import valid_at
from pipeline.domain.money.references import JOB_LENGTH, KIND_LETTERS, code_of, references
from pipeline.domain.money.reversals import standing
from pipeline.domain.rules import SiteRules

RULE = "recovered"
SHARING = pl.Schema({"email_key": pl.String, "payer_id": pl.Int64})
_COLUMNS = tables.columns("print_charges")
USED = (
    "recovered: printing credits may have paid {amount} cents of this job, which Nexudus does not show. What to do:"
    " compare the customer's credits there; confirm the line if they paid, retry it to use them now, void it to charge"
    " nobody"
)
GIVEN_BACK = (
    "recovered: the job changed after {amount} cents of credits had paid for it; they may have been given back, which"
    " Nexudus does not show. What to do: compare the customer's credits there; confirm the line if they were given"
    " back, retry it to give them back now, void it to keep the charge"
)
UNSETTLED = (
    "recovered: this change of credit {credit_id} was not finished when the backup was made. What to do: compare the"
    " credit in Nexudus; confirm the line if it shows the change, retry it to make it now, void it otherwise"
)
NAMED = (
    "recovered: credit {credit_id} names this line as its last, so it was done; for how many cents, it does not say:"
    " {amount} are assumed. What to do: confirm the line once the credit's history in Nexudus shows them, or void it"
)


@dataclass(frozen=True)
class Site:
    """What is known of a site once everything proved is in its ledger.

    Attributes:
        rules: the site's choices.
        now: aware UTC.
        jobs: PrintJobs, the latest revision of each job.
        names: which customer a user name stood for (`ownership.names`).
        grants: NexudusCredits and email_key: every printing credit that there is, or was in this warehouse.
        lines: the ledger of the site (`lines_of_site`).
        sharing: email_key, payer_id: whose credits an e-mail may use beside its own, as far as that is known.
    """

    rules: SiteRules
    now: datetime
    jobs: pl.DataFrame
    names: pl.DataFrame
    grants: pl.DataFrame
    lines: pl.DataFrame
    sharing: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SHARING))


def unproven(site: Site) -> pl.DataFrame:
    """The held lines for what credits may have done for the jobs of a site.

    Given back, perhaps: each standing use of a job whose standing lines are not what it costs now. Used, perhaps: what
    is then lacking of each mature job of somebody who has, or had, credits. Done, but for an unknown amount: the line
    that a credit names as its last, where it is none of these.

    Returns:
        PrintCharges, by ref.
    """
    cost = _costs(site)
    back = _given_back(site, cost)
    guessed = _referenced(site, pl.concat([back, _used(site, cost, back)]))
    last = last_lines(site.grants, code_of(site.rules))
    explained = pl.concat([site.lines.select("ref"), guessed.select("ref")])
    named = _named(site, cost, last.join(explained, on="ref", how="anti"))
    named = named.with_columns(site=pl.lit(site.rules.name))
    found = pl.concat([guessed, named.select(guessed.columns)])
    return (
        found.with_columns(
            rule=pl.lit(RULE), state=pl.lit("held"),
            reason=_worded(pl.when(pl.col("ref").is_in(last["ref"].implode())).then(pl.lit(NAMED)).otherwise("reason")),
        )
        .with_columns(product_id=pl.lit(None, pl.Int64))
        .select(pl.col(name).cast(dtype) for name, dtype in _COLUMNS.items())
        .sort("ref")
    )  # fmt: skip


def reversed_sales(site: Site, gone: list[str]) -> pl.DataFrame:
    """The reversals of sales that are gone from Nexudus because their job changed: done, so nothing is left to do.

    A sale that is gone although its job costs the same was deleted by a person: the reconciliation tells.

    Args:
        site: what is known; `grants` do not matter.
        gone: references of lines whose sale does not exist.

    Returns:
        PrintCharges, all confirmed, by ref.
    """
    wrong = _costs(site).join(_stood(site.lines), on="job_id").filter(pl.col("stood") != pl.col("due"))
    lines = (
        standing(site.lines)
        .filter(pl.col("ref").is_in(gone), stands="live")
        .join(wrong.select("job_id"), on="job_id", how="semi")
        .select(
            *_SHARED, "product_id", kind=pl.lit("undo_sale"), undoes="ref",
            rule=pl.lit(RULE), state=pl.lit("confirmed"),
            reason=pl.lit(None, pl.String),
        )
    )  # fmt: skip
    return _referenced(site, lines).select(_COLUMNS.names()).sort("ref")


def last_lines(grants: pl.DataFrame, code: str) -> pl.DataFrame:
    """The credit lines of a site that credits name as their last: ref, credit_id, coworker_id, email_key, updated_on.

    Args:
        grants: NexudusCredits and email_key.
        code: the code of the site in references.
    """
    kinds = [KIND_LETTERS[kind] for kind in ("credit", "undo_credit")]
    ours = (pl.col("last_use").str.slice(3, 3) == code) & pl.col("last_use").str.slice(6, 1).is_in(kinds)
    named = grants.filter(ours).select("credit_id", "coworker_id", "email_key", "updated_on", ref="last_use")
    return named.unique("ref", keep="first", maintain_order=True)


def _costs(site: Site) -> pl.DataFrame:
    """The jobs that no person decided: what is due now, and the full cost whether it counts or not."""
    decided = standing(site.lines).filter(pl.col("kept") | (pl.col("stands") == "voided"))
    return site.jobs.join(decided, on="job_id", how="anti").with_columns(
        job_revision="revision",
        due=pl.when(counts() & ~pl.col("shared_account")).then(amount(site.rules)).otherwise(0),
        full=amount(site.rules),
    )


def _stood(lines: pl.DataFrame) -> pl.DataFrame:
    """job_id, stood: what the lines of a job that are not undone add up to."""
    return standing(lines).filter(pl.col("stands") != "undone").group_by("job_id").agg(stood=pl.sum("amount_cents"))


def _given_back(site: Site, cost: pl.DataFrame) -> pl.DataFrame:
    """A reversal of each use that stands for a job which now costs something else."""
    wrong = cost.join(_stood(site.lines), on="job_id").filter(pl.col("stood") != pl.col("due"))
    uses = standing(site.lines).filter(stands="live", kind="credit").drop("revision")
    return uses.join(wrong.select("job_id", revision="job_revision"), on="job_id").select(
        *_SHARED, kind=pl.lit("undo_credit"), undoes="ref", reason=pl.lit(GIVEN_BACK)
    )


def _used(site: Site, cost: pl.DataFrame, back: pl.DataFrame) -> pl.DataFrame:
    """A use for what is lacking of each mature job of a customer with credits."""
    charged = site.lines.sort("revision", "ref").group_by("job_id")
    charged = charged.agg(charged_id=pl.col("coworker_id").last(), charged_key=pl.col("email_key").last())
    owners = _owners(site)
    mature = site.now - timedelta(minutes=site.rules.maturity_minutes)
    lacking = (
        cost.filter(pl.col("printed_at").is_between(site.rules.charge_from, mature))
        .join(owners, on="job_id", how="left")
        .join(charged, on="job_id", how="left")
        .join(_stood(site.lines), on="job_id", how="left")
        .join(back.group_by("job_id").agg(back=pl.sum("amount_cents")), on="job_id", how="left")
        .with_columns(
            email_key=pl.coalesce("charged_key", "owner_key"),
            owner_id=pl.coalesce("charged_id", "owner_id"),
            amount_cents=pl.col("due") - pl.col("stood").fill_null(0) + pl.col("back").fill_null(0),
        )
        .filter(pl.col("amount_cents") > 0)
    )
    both = site.lines.filter(pl.col("kind").is_in(["credit", "undo_credit"]))
    numbers = both.group_by("job_id").agg(number=pl.max("seq") + 1)
    # A credit that names a use names this one; one that names a reversal tells that its number was taken.
    last = _parsed(last_lines(site.grants, code_of(site.rules))).with_columns(
        seq=pl.col("seq") + (pl.col("kind") == "undo_credit").cast(pl.Int64)
    )
    return (
        lacking.join(_credits_of(site, lacking, last), on="job_id")
        .join(numbers, on="job_id", how="left")
        .with_columns(padded=_padded())
        .join(last.group_by("padded").agg(last=pl.max("seq")), on="padded", how="left")
        .with_columns(seq=pl.max_horizontal(pl.col("number").fill_null(0), "last"), revision="job_revision")
        .select(*_SHARED, kind=pl.lit("credit"), undoes=pl.lit(None, pl.String), reason=pl.lit(USED))
    )


def _credits_of(site: Site, lacking: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """Which credit may have paid for each job: job_id, credit_id, credit_coworker_id, and coworker_id, whose job it is.

    The one that names a use of the job last; else of the credits of the e-mail, then of its teams, one that was valid
    then, the earliest expiry first.
    """
    own = site.grants.select("email_key", "credit_id", "coworker_id", "valid_from", "expires_at", team=False)
    team = own.drop("email_key").join(site.sharing, left_on="coworker_id", right_on="payer_id")
    within_reach = pl.concat([own, team.select(own.columns).with_columns(team=True)])
    naming = last.sort("seq", "credit_id").unique("padded", keep="last", maintain_order=True)
    naming = naming.select("padded", named=pl.struct("credit_id", "coworker_id", "email_key"))
    of_job = (
        lacking.select("job_id", "printed_at", "email_key", "owner_id", padded=_padded())
        .join(within_reach, on="email_key", how="left")
        .sort(~valid_at(pl.col("printed_at")), "team", "expires_at", "credit_id", nulls_last=True)
        .unique("job_id", keep="first", maintain_order=True)
        .join(naming, on="padded", how="left")
    )
    named = pl.col("named").struct
    other = named.field("email_key").ne_missing(pl.col("email_key")) & (
        named.field("coworker_id") != pl.col("owner_id")
    )
    credit_coworker_id = pl.coalesce(named.field("coworker_id"), "coworker_id")
    team_pays = pl.when(pl.col("named").is_not_null()).then(other).otherwise("team")
    return of_job.select(
        "job_id",
        credit_id=pl.coalesce(named.field("credit_id"), "credit_id"),
        coworker_id=pl.when(team_pays).then("owner_id").otherwise(credit_coworker_id),
        credit_coworker_id=credit_coworker_id,
    ).drop_nulls("credit_id")


def _owners(site: Site) -> pl.DataFrame:
    """job_id, owner_id, owner_key: who had the user name of each job."""
    jobs = attributed(site.jobs, site.names)
    return jobs.select("job_id", owner_id="coworker_id", owner_key="email_key")


def _named(site: Site, cost: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """A line for each reference that a credit names and nothing else explains.

    A use whose job no longer counts is to be given back once a person confirmed it, so it has a revision of its own,
    older than any. The credit of one customer that paid for the job of another is one that a team shares: the job is
    that of who printed it.
    """
    undone = (pl.col("kind") == "credit") & (pl.col("due") == 0)
    other = (pl.col("owner_id") != pl.col("coworker_id")) & (pl.col("owner_key") != pl.col("email_key"))
    return (
        _parsed(last)
        .join(cost.with_columns(padded=_padded()).drop("email_key", strict=False), on="padded", how="left")
        .join(_owners(site), on="job_id", how="left")
        .with_columns(
            credit_coworker_id="coworker_id",
            coworker_id=pl.when(other).then("owner_id").otherwise("coworker_id"),
            email_key=pl.when(other).then("owner_key").otherwise("email_key"),
            job_id=pl.coalesce("job_id", pl.col("padded").str.strip_chars_start("0")),
            username=pl.col("username").fill_null(""),
            printed_at=pl.coalesce("printed_at", "updated_on"),
            amount_cents=pl.when(undone).then("full").otherwise(0),
            revision=pl.when(undone).then(-1).otherwise(pl.col("job_revision").fill_null(0)),
        )
        .select("ref", *_SHARED, "kind", undoes=pl.lit(None, pl.String), reason=pl.lit(NAMED))
    )


_SHARED = (
    "job_id", "revision", "seq", "printed_at", "username", "email_key", "coworker_id", "credit_id",
    "credit_coworker_id", "amount_cents",
)  # fmt: skip


def _referenced(site: Site, lines: pl.DataFrame) -> pl.DataFrame:
    lines = lines.with_columns(site=pl.lit(site.rules.name))
    return lines.with_columns(ref=references(lines, {site.rules.name: code_of(site.rules)}))


def _padded() -> pl.Expr:
    return pl.col("job_id").str.zfill(JOB_LENGTH)


def _parsed(named: pl.DataFrame) -> pl.DataFrame:
    """References taken apart: kind, padded (the job as it stands in a reference), seq."""
    letters = {letter: kind for kind, letter in KIND_LETTERS.items()}
    ref = pl.col("ref")
    return named.with_columns(
        kind=ref.str.slice(6, 1).replace_strict(letters, return_dtype=pl.String),
        padded=ref.str.slice(7, JOB_LENGTH),
        seq=ref.str.slice(18, 1).str.to_integer(base=36, dtype=pl.Int64),
    )


def _worded(text: pl.Expr) -> pl.Expr:
    filled = text.str.replace("{amount}", pl.col("amount_cents").cast(pl.String), literal=True)
    return filled.str.replace("{credit_id}", pl.col("credit_id").cast(pl.String), literal=True)
