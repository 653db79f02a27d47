"""The rules that decide a ledger line, by name, and the words that a person reads.

What belongs here: the names and their texts. What does not: when a rule applies (`charges.py`).
"""

from __future__ import annotations

import re

import polars as pl

from pipeline.domain.rules import SiteRules

RULES = {
    # what pays
    "free": "free by flag, by default, or because the site prints for free: waived",
    "zero_cost": "PaperCut charged nothing: waived",
    "credits": "paid with printing credits, or the part of it that they cover",
    "team_credits": "paid with printing credits of the customer who pays for the team, or the part of it that they"
    " cover",
    "money": "charged to the preferred customer, or the part of it that credits do not cover",
    # why a person decides; the reason of the held line, with the values of its columns
    "too_many_changes": "the job changed so often in PaperCut that no more lines can be made for it; it costs {amount}"
    " cents now: invoice that by hand and confirm this line, or void it",
    "cost_unknown": "PaperCut has no usable cost for this job, or does not say how much of it was refunded; charge it"
    " by hand and confirm this line, or void it",
    "no_price": "no price in bridge.toml matches every page: printer {printer}, paper {paper}, {pages} pages,"
    " {color_pages} of them in colour; add one to the prices of the site, and the next run prices the job; or void"
    " this line",
    "fractional_cost": "the cost is {cost} credits, not a whole number; give printer {printer} whole prices or set the"
    " site's rounding; retry this line to charge {amount} cents, or void it",
    "voided_before": "a person voided {standing} cents for this job, which now costs {amount} cents; retry this line to"
    " charge them, or void it",
    "twin": "the files do not tell this print from print {twin}: they may be one. Look at both with `printbridge"
    " explain`; retry this line to charge {amount} cents, or void it",
    "row_missing": "the later report {lacked_by} covers the time of this print and lacks its row; if the print was"
    " taken back, void this line; if not, retry it to charge {amount} cents",
    "above_max_charge": "the cost is {amount} cents, above max_charge ({max_charge}); check the job in PaperCut, then"
    " retry this line to charge it, or void it",
    "customer_gone": "customer {coworker_id} is archived or no longer in Nexudus; invoice {amount} cents by hand and"
    " confirm this line, or void it",
    "credit_too_large": "a credit above max_credits ({max_credits}) would pay for this job of {amount} cents; correct"
    " it in Nexudus or raise max_credits, then retry this line to use it; or retry it with --as-money, or void it",
    "too_many_credits": "more credits would be used for {amount} cents than one job can have lines; retry this line to"
    " charge money, or void it",
    "overdrawn": "the job costs {amount} cents, {left_cents} were left in valid credits and the customer may not be"
    " charged money; retry this line to use credits given since, or else to charge it all the same, or void it",
    # why a line is reversed
    "no_longer_counts": "the job was refunded, refused, or moved to a shared account: reversed",
    "job_changed": "the job changed after it was decided: reversed and decided again",
    "charge_stays": "a person refused to reverse the charge before it, so what was to replace that is taken back",
    "retried": "a person let the job be decided again: the line that was held is taken back",
}
"""Every value of the column rule, with what it means."""

CHARGED_AND_MISSING = (
    "the later report {} covers the time of this print and lacks its row; if the print was taken back, retry this line"
    " to give back what it charged; if not, void it, and the charge stands"
)
"""The reason of a held reversal of the rule row_missing."""

TITLES = {
    "too_many_changes": "The job changed more often than lines can be made for it",
    "overdrawn": "Too few credits, and the customer may not be charged money",
    "cost_unknown": "PaperCut has no usable cost for the job",
    "no_price": "A page without a price in bridge.toml",
    "fractional_cost": "The cost is no whole number of credits",
    "voided_before": "The job was voided before and has a cost again",
    "twin": "Two prints that the files do not tell apart",
    "row_missing": "A later report lacks the print",
    "above_max_charge": "The cost is above the largest charge of the site",
    "customer_gone": "The customer is archived or gone from Nexudus",
    "credit_too_large": "A credit above the limit of the site would pay",
    "too_many_credits": "More credits than one job can be paid with",
}
"""Why a person decides, as the heading of many such lines."""

WAIVED = ("free", "zero_cost")
HELD = (
    "too_many_changes", "no_price", "cost_unknown", "fractional_cost", "voided_before", "twin", "row_missing",
    "above_max_charge", "customer_gone", "credit_too_large", "too_many_credits", "overdrawn",
)  # fmt: skip
OVERRULED = (
    "fractional_cost", "voided_before", "twin", "row_missing", "above_max_charge", "too_many_credits", "overdrawn",
)  # fmt: skip
"""What a person overrules who retries the line; the others hold it again for as long as they apply."""
SHOWN = (
    "cost", "amount", "standing", "printer", "paper", "pages", "color_pages", "coworker_id", "left_cents", "twin",
    "lacked_by",
)  # fmt: skip
"""The columns whose values stand in the reasons."""


def with_reason(lines: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Say in words why lines are held: the text of the rule, filled in.

    Args:
        lines: rule, and the columns `SHOWN`.
        rules: the site's choices.

    Returns:
        The lines in any order, and reason; null for those that are not held.
    """
    shown = {
        "cost": pl.col("cost").cast(pl.String).str.strip_chars_end("0").str.strip_chars_end("."),
        "paper": pl.col("paper").fill_null("not told"),
        "max_charge": pl.lit(rules.max_charge),
        "max_credits": pl.lit(rules.max_credits),
    }
    texts = [lines.filter(~pl.col("rule").is_in(HELD)).with_columns(reason=pl.lit(None, pl.String))]
    for rule in HELD:
        names = re.findall(r"{(\w+)}", RULES[rule])
        text = pl.format(re.sub(r"{\w+}", "{}", RULES[rule]), *(shown.get(name, pl.col(name)) for name in names))
        texts.append(lines.filter(rule=rule).with_columns(reason=text))
    return pl.concat(texts)
