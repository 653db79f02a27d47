"""The asset that applies the plan of users: gates, phases, and what is recorded before and after each chunk of calls.

What belongs here: whether the plan may be applied, in which order, and its end. What does not: what is done to one user
(`users.py`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets.extract import USERS_READ
from assets.load.effect import is_dry, pipelined
from assets.load.users import PHASES, Done, Row, Sync, fetch_pins, identity, in_doubt, not_tried
from assets.tables import SITE, described, numbered, stored
from assets.transform import user_sync_plan
from pipeline import looking, ownership, safety, warehouse
from pipeline.domain import plan as plans
from pipeline.domain import schemas
from pipeline.errors import BridgeError, RejectedError, UnknownOutcomeError, UnsafeError
from pipeline.resources import Bridge

CHUNK = 200
"""Users between two commits: a second or two of work; a killed run leaves up to two of these to be observed again."""

FRESH = timedelta(minutes=30)
"""A plan rests on an observation; an older one is not applied."""

NEVER = "1970-01-01T00:00:00+00:00"


@dg.asset(
    group_name="load", kinds={"papercut"}, owners=["team:operations"], partitions_def=SITE,
    deps=[user_sync_plan],
    metadata=described("papercut_user_sync"),
)  # fmt: skip
def papercut_user_sync(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """The plan applied to PaperCut: what happened to each row. Only users that are ours are ever written to."""
    site, dry = context.partition_key, is_dry(context, bridge)
    with bridge.warehouse.transaction() as con:
        plan = warehouse.read(con, "user_sync_plan", site)
        plan_id = plans.plan_id(plan)
        if dry and bridge.settings.mode == "dry_run":
            _remember(con, bridge, site)
        blocked, notice = ({}, "") if dry else _gate(con, site, plan, plan_id, bridge.clock())
    if dry:
        return stored(schemas.empty("papercut_user_sync"), dry_run=True, plan_id=plan_id)
    sync = Sync(bridge, site, plan_id)
    outcomes: list[Row] = []
    allowed = plans.permitted(plan, plans.Verdict(blocked, {})) if not notice else plan.clear()
    for action, apply in PHASES.items():
        outcomes += _apply(sync, allowed.filter(pl.col("action") == action), apply)
    frame = pl.DataFrame(outcomes, schema=schemas.columns("papercut_user_sync"))
    with bridge.warehouse.transaction() as con:
        _release_absent(con, bridge, site, plan)
        if frame.filter(outcome="unknown").is_empty():
            _remember(con, bridge, site)
    counts = numbered(schemas.OUTCOMES, dict(frame.group_by("outcome").len().iter_rows()))
    for row in frame.filter(pl.col("outcome") != "done").iter_rows(named=True):
        context.log.warning(
            f"{site}: {row['action']} of customer {row['coworker_id']}: {row['outcome']}: {row['detail']}"
        )
    _refuse_unknown(frame, sync.papercut.host)
    if blocked:
        raise UnsafeError(
            "; ".join(blocked.values()) + f" ({counts['done']} other changes were made)",
            f"look at the plan, then run `printbridge resume {site}`",
        )
    return stored(frame, plan_id=plan_id, note=notice or "applied", **counts)


def _refuse_unknown(frame: pl.DataFrame, host: str) -> None:
    """A run with changes of unknown outcome has not succeeded; the look asks for another, which observes again."""
    unknown = frame.filter(outcome="unknown")
    if unknown.height:
        raise UnknownOutcomeError(
            f"{unknown.height} of {frame.height} changes at PaperCut {host} have no known outcome, first"
            f" {unknown['action'][0]} of customer {unknown['coworker_id'][0]}: {unknown['detail'][0]}",
            "nothing: the next run observes these users again and completes the work; if it stays, look at that server",
        )


def _remember(con: warehouse.Connection, bridge: Bridge, site: str) -> None:
    """The run came to its end: the next look compares with what it saw."""
    warehouse.set_bookmark(con, site, "seen", looking.seen(con, site, bridge.settings.mode), bridge.clock())


def _gate(
    con: warehouse.Connection, site: str, plan: pl.DataFrame, plan_id: str, now: datetime
) -> tuple[dict[str, str], str]:
    """Which phases may not run, and why; and a note where nothing may run because the plan was applied before.

    Raises:
        UnsafeError: the plan rests on an observation that is too old.
    """
    owned = ownership.owned(con, site)
    verdict = plans.verdict(plan, owned.height, ownership.removed_since(con, site, now))
    seen = _seen(con, site)
    written = _written_since(con, site, seen)
    if _was_applied(written, plan, plan_id):
        return {}, "this plan was applied before"
    if plan.height and (written.height or now - seen > FRESH):
        raise UnsafeError(
            f"The plan of site {site} rests on an observation of PaperCut's users from {seen:%Y-%m-%d %H:%M} UTC,"
            f" after which {written.height} users were written to",
            "run the job sync_site for this site instead of this asset alone; nothing was changed",
        )
    stops = safety.states(con, site)
    blocked = {p: f"Site {site} is stopped for {p}: {r}" for p, (s, r) in stops.items() if s == "stopped"}
    for phase, sentence in verdict.blocked.items():
        if stops.get(phase, ("open", ""))[0] == "resumed":
            safety.record(con, site, phase, state="open", reason=f"used by plan {plan_id}", at=now)
        elif phase not in blocked:
            safety.record(con, site, phase, state="stopped", reason=sentence, at=now)
            blocked[phase] = sentence
    return blocked, ""


def _seen(con: warehouse.Connection, site: str) -> datetime:
    """When PaperCut's users were listed last."""
    return datetime.fromisoformat(warehouse.bookmark(con, site, USERS_READ) or NEVER)


def _written_since(con: warehouse.Connection, site: str, seen: datetime) -> pl.DataFrame:
    return warehouse.query(
        con,
        "SELECT plan_id, action, username FROM papercut_user_sync WHERE site = $site AND happened_at >= $seen",
        site=site,
        seen=seen,
    )


def _was_applied(written: pl.DataFrame, plan: pl.DataFrame, plan_id: str) -> bool:
    """Whether every row of the plan was tried since the users were observed."""
    changes = plan.filter(pl.col("action") != "hold")
    tried = changes.join(written.filter(pl.col("plan_id") == plan_id), on=["action", "username"], how="semi")
    return changes.height > 0 and tried.height == changes.height


def _apply(sync: Sync, rows: pl.DataFrame, apply: Callable[[Sync, Row], Done]) -> list[Row]:
    """One phase: intents before the first call, calls over several connections, outcomes chunk by chunk."""
    outcomes: list[Row] = []
    if not rows.height:
        return outcomes
    changes = rows.to_dicts()
    fetch_pins(sync, changes)
    with sync.bridge.warehouse.connect() as con:
        sync.begun = set(ownership.owned(con, sync.site).filter(state="creating")["username"])

    def turn(answered: list[tuple[Row, Done]], begun: Sequence[Row]) -> None:
        now = sync.bridge.clock()
        added = [
            {
                "site": sync.site, "plan_id": sync.plan_id, "action": row["action"], "username": row["username"],
                "coworker_id": row["coworker_id"], "outcome": result.outcome, "detail": result.detail,
                "happened_at": now,
            }
            for row, result in answered
        ]  # fmt: skip
        events = [event for _, result in answered for event in result.events]
        with sync.bridge.warehouse.transaction() as con:
            frame = pl.DataFrame(added, schema=schemas.columns("papercut_user_sync"))
            warehouse.insert(con, "papercut_user_sync", schemas.checked("papercut_user_sync", frame))
            ownership.record(con, sync.site, [*events, *_intents(begun)], now)
        outcomes.extend(added)

    connections = sync.settings.papercut.connections
    tried, left = partial(_tried, sync, apply), partial(not_tried, sync)
    pipelined(changes, tried, left, turn, chunk=CHUNK, connections=connections)
    sync.customers.clear()
    return outcomes


def _tried(sync: Sync, apply: Callable[[Sync, Row], Done], row: Row) -> Done:
    """One user: refused is failed, unknown is observed again by the next run, unreachable ends the run."""
    try:
        return apply(sync, row)
    except UnknownOutcomeError as error:
        return Done("unknown", str(error), in_doubt(row))
    except RejectedError as error:
        return Done("failed", str(error), in_doubt(row))
    except BridgeError as error:
        return Done("failed", str(error), halt=error)


def _intents(rows: Sequence[Row]) -> list[Row]:
    """The events before the calls: a name is ours from the moment at which it may be made."""
    return [
        {**identity(row), "state": "creating", "reason": f"about to {row['action']}"}
        | ({"renamed_from": row["username"]} if row["action"] == "rename" else {})
        for row in rows
        if row["action"] in ("create", "rename")
    ]


def _release_absent(con: warehouse.Connection, bridge: Bridge, site: str, plan: pl.DataFrame) -> None:
    """A user of ours that PaperCut's complete list lacks, and that is not about to be created, is no longer ours."""
    gone = warehouse.query(
        con,
        "SELECT username FROM ownership_event o WHERE site = $site AND state = 'owned'"
        " AND n = (SELECT max(n) FROM ownership_event l WHERE l.site = o.site AND l.username = o.username)"
        " AND happened_at < $seen AND username NOT IN (SELECT username FROM papercut_users WHERE site = $site)",
        site=site,
        seen=_seen(con, site),
    ).filter(~pl.col("username").is_in(plan["username"].to_list()))
    events = [{"username": name, "state": "released", "reason": "absent in PaperCut"} for name in gone["username"]]
    ownership.record(con, site, events, bridge.clock())
