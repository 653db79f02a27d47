"""Sync users: the plan is applied to the print system, behind its gates.

What belongs here: whether the plan may be applied, in which order, and what ends the run. What does not: what is done
to one user (`pipeline.effects.users`), and what would change (`pipeline.domain.people`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipeline.domain import tables
from pipeline.domain.people import plan as plans
from pipeline.effects.effect import Outcome
from pipeline.effects.users import Event, Planned, apply_plan
from pipeline.errors import UnknownOutcomeError, UnsafeError
from pipeline.site import Site
from pipeline.steps import look
from pipeline.steps.run import Made, Run, numbered
from pipeline.store import changes, memory, ownership, stops
from pipeline.store.sql import Connection, read

FRESH = timedelta(minutes=30)
"""A plan rests on an observation; an older one is not applied."""

OUTCOMES = {
    "done": "done", "held": "held", "unsure": "unknown", "unknown": "unknown", "refused": "failed", "partly": "failed",
    "undone": "failed", "not tried": "failed",
}  # fmt: skip
"""How the outcome of an effect stands in the table of what was done."""


def sync_users(site: Site, run: Run) -> Made:
    """Apply the plan: what happened to each row. Only users that are ours are ever written to.

    Returns:
        PrintUserSync of this run.

    Raises:
        UnsafeError: a phase is stopped or over its cap; everything else was done.
        UnknownOutcomeError: a change has no known outcome; the next run observes and completes it.
        PrintbridgeError: the print system or Nexudus could not be reached; what was done before is recorded.
    """
    with site.store.connect() as con:
        plan = read(con, "user_sync_plan", site.key)
        plan_id = plans.plan_id(plan)
        if run.dry:
            if site.writes_nothing:
                _remember(site)
            return Made(tables.empty("print_user_sync"), {"dry_run": True, "plan_id": plan_id})
        blocked, released, notice = site.store.commit(lambda con: _gate(con, site.key, plan, plan_id, site.clock()))
    allowed = plan.clear() if notice else plans.permitted(pl.concat([plan, released]), plans.Verdict(blocked, {}))
    frame = _applied(site, allowed, plan_id)
    with site.store.connect():
        site.store.commit(lambda con: _release_absent(con, site, plan))
        if frame.filter(outcome="unknown").is_empty():
            _remember(site)
    numbers = numbered(tables.OUTCOMES, dict(frame.group_by("outcome").len().iter_rows()))
    for row in frame.filter(pl.col("outcome") != "done").iter_rows(named=True):
        run.say(f"{site.name}: {row['action']} of customer {row['coworker_id']}: {row['outcome']}: {row['detail']}")
    _refuse_unknown(frame, f"{site.printing.title} {site.printing.host}")
    if blocked:
        raise UnsafeError(
            "; ".join(blocked.values()) + f" ({numbers['done']} other changes were made)",
            f"look at the plan, then run `printbridge resume {site.name}`",
        )
    return Made(frame, {"plan_id": plan_id, "note": notice or "applied", **numbers})


def _applied(site: Site, allowed: pl.DataFrame, plan_id: str) -> pl.DataFrame:
    """Each stage of a plan in its order: PrintUserSync."""
    made: list[pl.DataFrame] = [tables.empty("print_user_sync")]

    def store(answered: list[tuple[Planned, Outcome]], events: list[Event]) -> None:
        now = site.clock()
        rows = [
            {
                "site": site.key, "plan_id": plan_id, "action": planned.change.action,
                "username": planned.change.username, "coworker_id": planned.change.coworker_id or None,
                "changes": ",".join(planned.change.fields), "outcome": OUTCOMES[outcome.kind],
                "detail": outcome.told(), "happened_at": now, "ask": planned.ask,
                "balance": planned.change.balance if planned.of_balance else None,
                "target": planned.change.target if planned.of_balance else None,
            }
            for planned, outcome in answered
        ]  # fmt: skip
        frame = pl.DataFrame(rows, schema=tables.columns("print_user_sync"))

        def change(con: Connection) -> None:
            changes.append(con, frame)
            ownership.record(con, site.key, events, now)

        site.store.commit(change)
        made.append(frame)

    for rows in plans.stages(allowed):
        planned = [
            Planned.of(row, comment=f"printbridge {plan_id}", delete=site.rules.removal == "delete")
            for row in rows.iter_rows(named=True)
        ]
        with site.store.connect() as con:
            begun = frozenset(ownership.owned(con, site.key).filter(state="creating")["username"])
        apply_plan(site, planned, begun, store)
    return pl.concat(made)


def _refuse_unknown(frame: pl.DataFrame, server: str) -> None:
    """A run with changes of unknown outcome has not succeeded; the look asks for another, which observes again."""
    unknown = frame.filter(outcome="unknown")
    if unknown.height:
        raise UnknownOutcomeError(
            f"{unknown.height} of {frame.height} changes at {server} have no known outcome, first"
            f" {unknown['action'][0]} of customer {unknown['coworker_id'][0]}: {unknown['detail'][0]}",
            "nothing: the next run observes these users again and completes the work; if it stays, look at that server",
        )


def _remember(site: Site) -> None:
    """The run came to its end: the next look compares with what it saw."""
    mode = site.sites.settings.mode
    site.store.commit(
        lambda con: memory.note(con, site.key, memory.SEEN, look.observation(con, site.key, mode), site.clock())
    )


def _gate(
    con: Connection, site: str, plan: pl.DataFrame, plan_id: str, now: datetime
) -> tuple[dict[str, str], pl.DataFrame, str]:
    """Which phases may not run, and why; what a person let go; and a note where nothing may run.

    Returns:
        The blocked phases, each with its reason; the held rows that a person let go, as changes; why nothing at all may
        run because the plan was applied before, or nothing.

    Raises:
        UnsafeError: the plan rests on an observation that is too old.
    """
    owned = ownership.owned(con, site)
    verdict = plans.verdict(plan, owned.height, ownership.removed_since(con, site, now))
    seen = _listed_at(con, site)
    tried = changes.since(con, site, seen)
    if _was_applied(tried, plan, plan_id):
        return {}, plan.clear(), "this plan was applied before"
    if plan.height and (tried.height or now - seen > FRESH):
        raise UnsafeError(
            f"The plan of site {site} rests on an observation of PaperCut's users from {seen:%Y-%m-%d %H:%M} UTC,"
            f" after which {tried.height} users were written to",
            "run the job sync_site for this site instead of this asset alone; nothing was changed",
        )
    blocked: dict[str, str] = {}
    for phase in ("remove", "rename"):
        gate = stops.Gate(plans.part(plan, phase), verdict.blocked.get(phase, ""))
        if why := stops.passed(con, site, phase, gate, by=f"plan {plan_id}", at=now):
            blocked[phase] = why
    free = [
        phase for phase in plans.HELD_PHASES.values()
        if stops.let_go(con, site, phase, plans.part(plan, phase), by=f"plan {plan_id}", at=now)
    ]  # fmt: skip
    return blocked, plans.released(plan, free), ""


def _listed_at(con: Connection, site: str) -> datetime:
    """When the print users were listed last."""
    text = memory.recall(con, site, memory.USERS_READ)
    return datetime.fromisoformat(text) if text else memory.LONG_AGO


def _was_applied(tried: pl.DataFrame, plan: pl.DataFrame, plan_id: str) -> bool:
    """Whether every row of the plan was tried since the users were observed."""
    rows = plan.filter(pl.col("action") != "hold")
    done = rows.join(tried.filter(pl.col("plan_id") == plan_id), on=["action", "username", "changes"], how="semi")
    return rows.height > 0 and done.height == rows.height


def _release_absent(con: Connection, site: Site, plan: pl.DataFrame) -> None:
    """A user of ours that the complete list lacks, and that is not about to be created, is no longer ours."""
    gone = ownership.absent(con, site.key, _listed_at(con, site.key))
    absent = sorted(set(gone) - set(plan["username"]))
    reason = f"absent in {site.printing.title}"
    events: list[ownership.Event] = [{"username": name, "state": "released", "reason": reason} for name in absent]
    ownership.record(con, site.key, events, site.clock())
