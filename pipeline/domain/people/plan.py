"""The user sync plan: what would change among the print users, and whether that many changes are safe.

What belongs here: putting the plan together, the caps, its digest, the plan in words. What does not: who is wanted
(`accounts.py`), what differs (`differences.py`), whose user it is and who leaves (`ownership.py`), what earlier runs
teach about a row (`balances.py`, `writes.py`), and applying anything (`pipeline.effects.users`). A plan is a value: it
can be shown, digested, compared and thrown away. Every cap is arithmetic on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import polars as pl

from pipeline.domain import names
from pipeline.domain.people import differences, ownership, writes
from pipeline.domain.people.balances import FALLEN
from pipeline.domain.people.differences import ACCESS, EXACT, plain
from pipeline.domain.people.ownership import OWNED, TIME, missing, without_credit
from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns

__all__ = [
    "ORDER", "OWNED", "Part", "Verdict", "markdown", "missing", "of_phase", "part", "permitted", "plan_id", "stages",
    "user_sync_plan", "verdict", "without_credit",
]  # fmt: skip

ORDER = ("remove", "rename", "create", "update", "adjust", "hold")
"""The order in which a plan is applied: seats and names are freed before they are taken. Updates of access come first
of all but removals: see `stages`."""


HELD_PHASES = {"fell": "balances", "no_effect": "writes"}
"""The holds that a person can let go as they are, by their code."""


class Part(NamedTuple):
    """The rows of a plan that a phase is about: their digest, and how many they are."""

    digest: str
    size: int


@dataclass(frozen=True)
class Verdict:
    """Whether a plan may be applied: the phases over a cap, each with its sentence, and how many rows each action has.

    The phase `rename` holds the renames and those updates that change an e-mail or the customer.
    """

    blocked: Mapping[str, str]
    counts: Mapping[str, int]


def user_sync_plan(
    accounts: pl.DataFrame,
    users: pl.DataFrame,
    *,
    owned: pl.DataFrame,
    unsettled: pl.DataFrame,
    gone: pl.DataFrame,
    rules: SiteRules,
    now: datetime,
    fallen: pl.DataFrame | None = None,
    printed: pl.DataFrame | None = None,
    password_length: int | None = None,
    invited: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """What would change among the print users of a site (design 3 and 4, `money-safety.md` section 4).

    Create and rename rows carry the whole user, balance included; an update lists in `changes` what differs and sets
    only that; `pin_digest` and `card_digest` are filled only where that field is set (a card change without a digest
    takes our card away). Applying a plan and planning again gives holds only.

    Args:
        accounts: PrintAccounts of the site.
        users: PrintUsers of the site, complete.
        owned: current ownership rows, see `OWNED`.
        unsettled: username, unsettled: cost in credits of jobs that are not yet in the credits or in Nexudus.
        gone: coworker_id of customers for whom a GET by id answered 404.
        rules: the choices of the site.
        now: the current time, UTC.
        fallen: the users whose balance fell without a job, see `balances.FALLEN`; None for nobody.
        printed: username, printed_at of the newest job of each user, for `writes.asks`; None for nobody.
        password_length: the length to which passwords are padded now; None where nobody asked.
        invited: coworker_id of those whom a person asked to be invited, where that is done by hand; None for nobody.

    Returns:
        UserSyncPlan in the order of `ORDER`, then by user name.
    """
    owned = owned.select(pl.col(name).cast(dtype) for name, dtype in OWNED.items())
    unsettled = unsettled.select("username", pl.col("unsettled").cast(EXACT))
    seen = ownership.observed(users, owned)
    seen = seen.join(FALLEN.to_frame() if fallen is None else fallen, on="username", how="left")
    accounts = accounts.with_columns(full_name=names.shown("full_name"))
    desired = accounts.filter(pl.col("reason").is_null()).join(unsettled, on="username", how="left")
    desired = desired.with_columns(password_length=pl.lit(password_length, pl.Int64))
    wanted = differences.with_target(desired, rules)
    renames = differences.renames(wanted, seen, unsettled, rules)
    kept = ownership.with_new_marks(wanted.join(seen, on="username"))
    gone_ids = gone.select(pl.col("coworker_id").cast(pl.Int64))
    wanted_names = pl.concat([wanted.select("username"), renames.select("username")])
    leavers = ownership.leavers(seen.join(wanted_names, on="username", how="anti"), accounts, gone_ids, rules, now)
    removals = leavers.filter(action="remove").height
    freed = removals if rules.removal == "delete" and not _over_run_cap(removals, owned.height) else 0
    taken = pl.concat([seen.select("username"), renames.select(username="new_username")])
    new = ownership.with_double(wanted.join(taken, on="username", how="anti"), seen)
    invited = accounts.select("coworker_id").clear() if invited is None else invited
    parts = [
        leavers,
        differences.ahead(renames, rules),
        renames,
        differences.creates(new, owned, rules, users=users.height, freed=freed, invited=invited),
        differences.foreign(kept, rules),
        differences.updates(kept, rules),
        differences.adjusts(kept, rules),
        *ownership.restrictions(leavers, unsettled, rules),
    ]
    observed_at = users.select(pl.col("observed_at").min()).item() or now
    return _finished(parts, rules.name, observed_at, writes.PRINTED.to_frame() if printed is None else printed)


def verdict(plan: pl.DataFrame, owned_count: int, removed_24h: int) -> Verdict:
    """Hold the plan against the caps of design 3. Creates and balance changes never count.

    Args:
        plan: UserSyncPlan of one site.
        owned_count: print users that are ours now.
        removed_24h: of ours, how many were removed or disabled in the last 24 hours.
    """
    counts = {action: plan.filter(action=action).height for action in ORDER}
    site = plan["site"][0] if plan.height else ""
    removals = counts["remove"]
    renames = plan.filter(_phase() == "rename").height
    day = removed_24h + removals
    blocked: dict[str, str] = {}
    if _over_run_cap(removals, owned_count):
        blocked["remove"] = _over_cap("removals in this run", removals, owned_count, (5, 10), site)
    elif removals and day > _cap(owned_count, 10, 20):
        blocked["remove"] = _over_cap("removals in 24 hours with this run", day, owned_count, (10, 20), site)
    if renames > _cap(owned_count, 5, 30):
        blocked["rename"] = _over_cap("renames and e-mail changes in this run", renames, owned_count, (5, 30), site)
    return Verdict(blocked, counts)


def permitted(plan: pl.DataFrame, outcome: Verdict) -> pl.DataFrame:
    """The rows of a plan that may be applied: no holds, nothing of a blocked phase; in the order of the plan."""
    return plan.filter(pl.col("action") != "hold", ~_phase().is_in(list(outcome.blocked)))


def stages(plan: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of a plan in the order in which they are applied, those of one action and stage at a time.

    What takes access away or gives it goes first, right behind the removals: a name that is refused, or a rename over
    its cap, never delays it.
    """
    for _, rows in (
        plan.with_columns(stage=_stage()).sort("stage", maintain_order=True).group_by("stage", maintain_order=True)
    ):
        yield rows.drop("stage")


def released(plan: pl.DataFrame, phases: Collection[str]) -> pl.DataFrame:
    """The held rows of phases that a person lets go, as the changes that they would have been."""
    rows = plan.filter(pl.col("action") == "hold", _phase().is_in(list(phases)))
    action = pl.when(pl.col("changes") == "balance").then(pl.lit("adjust")).otherwise(pl.lit("update"))
    return rows.with_columns(action=action)


def of_phase(plan: pl.DataFrame, phase: str) -> pl.DataFrame:
    """The rows of a plan that a phase is about."""
    return plan.filter(_phase() == phase)


def part(plan: pl.DataFrame, phase: str) -> Part:
    """What of a plan a phase is about, for a person who lets it go: nothing else in the plan changes the digest."""
    rows = of_phase(plan, phase)
    named = rows.select(
        "action", "username", "new_username", "coworker_id", "email",
        changes=pl.col("changes").str.replace(r",?balance$", ""),
        difference=pl.when(phase == "balances").then(pl.col("target") - pl.col("balance")).cast(pl.String),
    )  # fmt: skip
    return Part(_digest(named), rows.height)


def plan_id(plan: pl.DataFrame) -> str:
    """A digest of what the plan says, whatever the order of its rows and the time PaperCut was observed."""
    return _digest(plan.select(sorted(set(plan.columns) - {"observed_at"})))


def markdown(plan: pl.DataFrame, outcome: Verdict, *, limit: int = 50) -> str:
    """The plan for people: what is blocked, counts, counts per reason, then at most `limit` rows. No names, no PINs."""
    counts = pl.DataFrame({"action": list(outcome.counts), "rows": list(outcome.counts.values())})
    reasons = (
        plan.group_by("action", "changes", reason=pl.col("reason").str.replace_all(r"-?\d+(?:\.\d+)?", "n"))
        .len("rows")
        .sort(_rank(), pl.col("rows"), "changes", "reason", descending=[False, True, False, False])
        .select("action", "rows", "changes", "reason")
    )
    rows = plan.head(limit).select(
        "action", "username", "new_username", "coworker_id", "changes", "balance", "target", "reason"
    )
    shown = f"The first {rows.height} of {plan.height} rows:" if plan.height > limit else f"{plan.height} rows:"
    stops = [f"**Blocked ({phase})**: {sentence}" for phase, sentence in sorted(outcome.blocked.items())]
    if plan.is_empty():
        return "Nothing to change.\n"
    return "\n\n".join([*stops, _table(counts), _table(reasons), shown, _table(rows)]) + "\n"


def _digest(frame: pl.DataFrame) -> str:
    # One JSON document per row: unlike joined text, it cannot mix up where a value ends.
    return hashlib.blake2b(frame.sort(frame.columns).write_ndjson().encode(), digest_size=8).hexdigest()


def _finished(parts: list[pl.DataFrame], site: str, observed_at: datetime, printed: pl.DataFrame) -> pl.DataFrame:
    """The rows in the shape and order of UserSyncPlan."""
    schema = columns("user_sync_plan")
    sets = {field: pl.col("changes").str.split(",").list.contains(field) for field in ("pin", "card")}
    return (
        pl.concat([part.filter(pl.col("action").is_not_null()) for part in parts], how="diagonal")
        .with_columns(
            site=pl.lit(site),
            balance="now_balance",
            pin_digest=pl.when(sets["pin"]).then("pin_digest"),
            card_digest=pl.when(sets["card"]).then("card_digest"),
            observed_at=pl.lit(observed_at, TIME),
        )
        .join(printed, on="username", how="left")
        .with_columns(ask=writes.asks())
        .sort(_stage(), "username", "reason")
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    )


def _rank() -> pl.Expr:
    return pl.col("action").replace_strict({action: place for place, action in enumerate(ORDER)}, return_dtype=pl.Int8)


def _stage() -> pl.Expr:
    """Where a row stands among the others: removals, updates of access, then the rest in its order."""
    access = pl.col("changes").str.extract(r"^(\w*)").is_in(list(ACCESS))
    return pl.when((pl.col("action") == "update") & access).then(pl.lit(0.5)).otherwise(_rank())


def _phase() -> pl.Expr:
    """What a person lets go of: the action, with two exceptions.

    An update that changes whose user it is counts as a rename; one that first marks it does not. Holds for a balance
    that fell, and for a change without effect, are about `balances` and `writes`.
    """
    changes = pl.col("changes").str.split(",")
    identity = (changes.list.contains("email") | changes.list.contains("customer")) & ~changes.list.contains("mark")
    return (
        pl.when((pl.col("action") == "update") & identity).then(pl.lit("rename"))
        .when(pl.col("action") == "hold").then(pl.col("code").replace_strict(HELD_PHASES, default="hold"))
        .otherwise("action")
    )  # fmt: skip


def _cap(owned_count: int, least: int, percent: int) -> int:
    return max(least, owned_count * percent // 100)


def _over_run_cap(removals: int, owned_count: int) -> bool:
    return removals > _cap(owned_count, 5, 10)


def _over_cap(what: str, number: int, owned_count: int, cap: tuple[int, int], site: str) -> str:
    share = f"{number * 100 / owned_count:.1f} %" if owned_count else "all"
    return (
        f"{number} {what}, {share} of the {owned_count} print users that are ours; at most {_cap(owned_count, *cap)} "
        f"(the larger of {cap[0]} and {cap[1]} %). None of them is done. Review the plan with `printbridge plan "
        f"--site {site}`; once it is right: `printbridge resume {site}`"
    )


def _table(frame: pl.DataFrame) -> str:
    """A Markdown table; a pipe or a line break in a cell cannot break it."""
    cells = [
        (plain(pl.col(name)) if dtype.is_decimal() else pl.col(name).cast(pl.String))
        .fill_null("")
        .str.replace_all(r"[\r\n]+", " ")
        .str.replace_all("|", r"\|", literal=True)
        for name, dtype in frame.schema.items()
    ]
    lines = frame.select(line=pl.concat_str(pl.lit("| "), pl.concat_str(cells, separator=" | "), pl.lit(" |")))
    head = "| " + " | ".join(frame.columns) + " |\n|" + " --- |" * frame.width
    return "\n".join([head, *lines["line"]])
