"""Print users: the plan applied to PaperCut, phase by phase, with the ownership record written before and after.

What belongs here: the calls that make, change, rename, adjust and remove users, and the gates in front of them. What
does not: who should be a user (`domain/accounts.py`) or what would change (`domain/plan.py`).

PINs pass through here and nowhere else: they are fetched from Nexudus for the users about to be written, and forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from assets.extract import USERS_READ
from assets.load.effect import is_dry
from assets.tables import SITE, described, numbered, stored
from assets.transform import user_sync_plan
from pipeline import looking, ownership, safety, warehouse
from pipeline.domain import plan as plans
from pipeline.domain import schemas
from pipeline.domain.records import mark, marked_notes
from pipeline.domain.users import password
from pipeline.errors import BridgeError, ConfigError, RejectedError, TransientError, UnknownOutcomeError, UnsafeError
from pipeline.resources import Bridge, in_parallel

CHUNK = 400
"""Users between two commits: a second or two of work."""

FRESH = timedelta(minutes=30)
"""A plan rests on an observation; an older one is not applied."""

NEVER = "1970-01-01T00:00:00+00:00"
LEAST_PASSWORD = 8
PASSWORD_KEY = "internal-users.self-registration.min-password-length"  # noqa: S105 - the name of a PaperCut setting
CARD_FIELDS = {"access_card": "AccessCardId", "key_fob": "KeyFobNumber", "pin": "AccessPincode"}

Row = dict[str, Any]


class Done(NamedTuple):
    """What became of one planned change, and the ownership events it leaves."""

    outcome: str
    detail: str
    events: tuple[Row, ...] = ()
    halt: BridgeError | None = None


@dataclass
class Sync:
    """One application of one plan."""

    bridge: Bridge
    site: str
    plan_id: str
    minimum: int = 0
    customers: dict[int, Row] = field(default_factory=dict[int, Row])
    begun: set[str] = field(default_factory=set[str])
    """Names that an earlier run was about to make: it may have made them."""

    @property
    def settings(self) -> Any:
        """The site's settings."""
        return self.bridge.settings.site(self.site)

    @property
    def papercut(self) -> Any:
        """The site's PaperCut client."""
        return self.bridge.papercut(self.site)


@dg.asset(
    group_name="load", kinds={"papercut"}, owners=["team:operations"], partitions_def=SITE,
    deps=[user_sync_plan],
    metadata=described("papercut_user_sync"),
)  # fmt: skip
def papercut_user_sync(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """The plan applied to PaperCut: what happened to each row. Only users that are ours are ever written to."""
    site = context.partition_key
    plan = bridge.warehouse.read("user_sync_plan", site)
    plan_id = plans.plan_id(plan)
    if is_dry(context, bridge):
        if bridge.settings.mode == "dry_run":
            _remember(bridge, site)
        return stored(schemas.empty("papercut_user_sync"), dry_run=True, plan_id=plan_id)
    blocked, notice = _gate(bridge, site, plan, plan_id)
    sync = Sync(bridge, site, plan_id)
    outcomes: list[Row] = []
    allowed = plans.permitted(plan, plans.Verdict(blocked, {})) if not notice else plan.clear()
    for action, apply in _PHASES.items():
        outcomes += _apply(sync, allowed.filter(pl.col("action") == action), apply)
    with bridge.warehouse.transaction() as con:
        _release_absent(con, bridge, site, plan)
    frame = pl.DataFrame(outcomes, schema=schemas.columns("papercut_user_sync"))
    counts = numbered(schemas.OUTCOMES, dict(frame.group_by("outcome").len().iter_rows()))
    for row in frame.filter(pl.col("outcome") != "done").iter_rows(named=True):
        context.log.warning(
            f"{site}: {row['action']} of customer {row['coworker_id']}: {row['outcome']}: {row['detail']}"
        )
    _refuse_unknown(frame, sync.papercut.host)
    _remember(bridge, site)
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


def _remember(bridge: Bridge, site: str) -> None:
    """The run came to its end: the next look compares with what it saw."""
    with bridge.warehouse.transaction() as con:
        warehouse.set_bookmark(con, site, "seen", looking.seen(con, site, bridge.settings.mode), bridge.clock())


def _gate(bridge: Bridge, site: str, plan: pl.DataFrame, plan_id: str) -> tuple[dict[str, str], str]:
    """Which phases may not run, and why; and a note where nothing may run because the plan was applied before.

    Raises:
        UnsafeError: the plan rests on an observation that is too old.
    """
    now = bridge.clock()
    with bridge.warehouse.transaction() as con:
        owned = ownership.owned(con, site)
        verdict = plans.verdict(plan, owned.height, ownership.removed_since(con, site, now))
        seen = datetime.fromisoformat(warehouse.bookmark(con, site, USERS_READ) or NEVER)
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
    """One phase: intents, calls over several connections, outcomes; commits before and after each chunk."""
    outcomes: list[Row] = []
    for start in range(0, rows.height, CHUNK):
        chunk = rows.slice(start, CHUNK).to_dicts()
        _prepare(sync, chunk)
        done = in_parallel(partial(_tried, sync, apply), chunk, sync.settings.papercut.connections)
        now = sync.bridge.clock()
        added = [
            {
                "site": sync.site, "plan_id": sync.plan_id, "action": row["action"], "username": row["username"],
                "coworker_id": row["coworker_id"], "outcome": result.outcome, "detail": result.detail,
                "happened_at": now,
            }
            for row, result in zip(chunk, done, strict=True)
        ]  # fmt: skip
        with sync.bridge.warehouse.transaction() as con:
            frame = pl.DataFrame(added, schema=schemas.columns("papercut_user_sync"))
            warehouse.insert(con, "papercut_user_sync", schemas.checked("papercut_user_sync", frame))
            ownership.record(con, sync.site, [event for result in done for event in result.events], now)
        outcomes += added
        for result in done:
            if result.halt:
                raise result.halt
    return outcomes


def _tried(sync: Sync, apply: Callable[[Sync, Row], Done], row: Row) -> Done:
    """One user: refused is failed, unknown is observed again by the next run, unreachable ends the run."""
    try:
        return apply(sync, row)
    except UnknownOutcomeError as error:
        return Done("unknown", str(error), _in_doubt(row))
    except RejectedError as error:
        return Done("failed", str(error), _in_doubt(row))
    except BridgeError as error:
        return Done("failed", str(error), halt=error)


def _in_doubt(row: Row) -> tuple[Row, ...]:
    """PaperCut cannot be asked for a PIN, so one that may have been written counts as not known, and is written again.

    Without this, a PIN that is changed and changed back would stay changed.
    """
    lost = {f"{field}_digest": None for field in ("pin", "card") if field in row["changes"].split(",")}
    if row["action"] != "update" or not lost:
        return ()
    return ({"username": row["username"], "reason": "a change was in doubt", **lost},)


def _prepare(sync: Sync, chunk: list[Row]) -> None:
    """Record the intent to make a name, before the first call, and fetch the PINs that the chunk writes."""
    events = [
        {**_identity(row), "state": "creating", "reason": f"about to {row['action']}"}
        | ({"renamed_from": row["username"]} if row["action"] == "rename" else {})
        for row in chunk
        if row["action"] in ("create", "rename")
    ]
    with sync.bridge.warehouse.transaction() as con:
        sync.begun |= set(ownership.owned(con, sync.site).filter(state="creating")["username"])
        ownership.record(con, sync.site, events, sync.bridge.clock())
    secretive = [row for row in chunk if row["action"] == "create" or {"pin", "card"} & set(row["changes"].split(","))]
    if not secretive:
        return
    if not sync.minimum:
        sync.minimum = _password_minimum(sync)
    ids = sorted({row["coworker_id"] for row in secretive})
    sync.customers = {record["Id"]: record for record in sync.bridge.nexudus.batch("coworkers", ids)}


def _password_minimum(sync: Sync) -> int:
    """PaperCut's minimum password length (`rules.md` S9, U9).

    Raises:
        ConfigError: it is set below 8.
    """
    text = sync.papercut.config_value(PASSWORD_KEY)
    if text and (not text.isdigit() or int(text) < LEAST_PASSWORD):
        raise ConfigError(
            f"PaperCut at {sync.papercut.host} (site {sync.site}) has a minimum password length of {text!r}; at least"
            f" {LEAST_PASSWORD} is needed",
            f"set {PASSWORD_KEY} to 8 or higher under Options > Config Editor and click Update; no user was changed",
        )
    return int(text) if text else LEAST_PASSWORD


def _create(sync: Sync, row: Row) -> Done:
    customer = sync.customers.get(row["coworker_id"])
    pin = (customer or {}).get("AccessPincode")
    if not pin:
        return Done("held", f"customer {row['coworker_id']} has no PIN any more; set one in Nexudus")
    card = _card(sync, customer or {})
    papercut, name = sync.papercut, row["username"]
    try:
        papercut.create_user(name, password(pin, sync.minimum), row["full_name"], row["email"], card or "", pin)
    except RejectedError as error:
        return _refused(sync, name, error)
    papercut.set_properties(
        name, {"restricted": _flag(row["restricted"]), "notes": mark(sync.site, row["coworker_id"])}
    )
    event = {
        **_identity(row), "state": "owned", "reason": "created",
        "pin_digest": sync.bridge.digest(pin), "card_digest": sync.bridge.digest(card),
    }  # fmt: skip
    if row["target"] is None:
        return Done("done", "created", (event,))
    try:
        # A group rule may have given a starting credit, so the balance is read, not assumed.
        _adjust_to(sync, name, papercut.balance(name), row["target"])
    except (UnknownOutcomeError, TransientError) as error:
        return Done("unknown", f"created; its balance was not set: {error}", (event,))
    return Done("done", f"created with balance {row['target'].normalize():f}", (event,))


def _refused(sync: Sync, name: str, error: RejectedError) -> Done:
    """A name that could not be made: it may be somebody else's by now, and must not look like one of ours."""
    released: Row = {"username": name, "state": "released", "reason": "refused by PaperCut"}
    return Done("failed", str(error), () if name in sync.begun else (released,))


def _update(sync: Sync, row: Row) -> Done:
    event: Row = {**_identity(row), "state": "owned", "reason": "updated " + row["changes"]}
    _set_changed(sync, row, row["username"], event)
    return Done("done", "changed " + row["changes"], (event,))


def _set_changed(sync: Sync, row: Row, username: str, event: Row) -> None:
    """Set the fields that the row says have changed, in one call; the digests of what was set go into the event."""
    changes = set(row["changes"].split(","))
    values: dict[str, str] = {}
    for fields, name, value in (
        ({"full_name"}, "full-name", row["full_name"]),
        ({"email"}, "email", row["email"]),
        ({"restricted"}, "restricted", _flag(row["restricted"])),
        ({"disabled"}, "disabled-print", "FALSE"),
    ):
        if changes & fields:
            values[name] = value or ""
    if changes & {"mark", "customer"}:
        notes = sync.papercut.properties(username, ["notes"])["notes"]
        values["notes"] = marked_notes(notes, sync.site, row["coworker_id"] or 0)
    customer = sync.customers.get(row["coworker_id"], {})
    if "pin" in changes and (pin := customer.get("AccessPincode")):
        values |= {"password": password(pin, sync.minimum), "card-pin": pin}
        event["pin_digest"] = sync.bridge.digest(pin)
    if "card" in changes:
        card = _card(sync, customer)
        values["primary-card-number"] = card or ""
        event["card_digest"] = sync.bridge.digest(card)
    if values:
        sync.papercut.set_properties(username, values)


def _adjust(sync: Sync, row: Row) -> Done:
    _adjust_to(sync, row["username"], row["balance"], row["target"])
    return Done("done", f"balance {row['balance'].normalize():f} -> {row['target'].normalize():f}")


def _adjust_to(sync: Sync, username: str, balance: Decimal, target: Decimal) -> None:
    """A relative change, so that a print in between is not undone; the comment says whose it is."""
    if balance != target:
        sync.papercut.adjust_balance(
            username, target - balance, f"printbridge {sync.plan_id}: to {target.normalize():f}"
        )


def _rename(sync: Sync, row: Row) -> Done:
    """The user keeps balance, card and history; what else changed is set under the new name."""
    old, new = row["username"], row["new_username"]
    try:
        sync.papercut.rename_user(old, new)
    except RejectedError as error:
        return _refused(sync, new, error)
    event = {**_identity(row), "state": "owned", "renamed_from": old, "reason": "renamed"}
    _set_changed(sync, row, new, event)
    if row["target"] is not None:
        _adjust_to(sync, new, row["balance"], row["target"])
    return Done("done", f"renamed to {new}", ({"username": old, "state": "released", "reason": "renamed"}, event))


def _remove(sync: Sync, row: Row) -> Done:
    """Observed once more before it goes: only a user that still carries our mark and is internal is removed."""
    name = row["username"]
    seen = sync.papercut.properties(name, ["internal", "notes"])
    if seen["internal"].lower() != "true" or mark(sync.site, row["coworker_id"]) not in seen["notes"]:
        return Done("held", "the user no longer carries our mark, so it is not removed")
    if sync.settings.removal == "disable":
        sync.papercut.set_properties(name, {"disabled-print": "TRUE"})
        return Done("done", f"disabled: {row['reason']}", ({"username": name, "state": "owned", "reason": "removed"},))
    sync.papercut.delete_user(name)
    return Done("done", f"deleted: {row['reason']}", ({"username": name, "state": "released", "reason": "removed"},))


_PHASES: dict[str, Callable[[Sync, Row], Done]] = {
    "remove": _remove, "rename": _rename, "create": _create, "update": _update, "adjust": _adjust,
}  # fmt: skip


def _release_absent(con: warehouse.Connection, bridge: Bridge, site: str, plan: pl.DataFrame) -> None:
    """A user of ours that PaperCut's complete list lacks, and that is not about to be created, is no longer ours."""
    gone = warehouse.query(
        con,
        "SELECT username FROM ownership_event o WHERE site = $site AND state = 'owned'"
        " AND n = (SELECT max(n) FROM ownership_event l WHERE l.site = o.site AND l.username = o.username)"
        " AND happened_at < (SELECT min(observed_at) FROM papercut_users WHERE site = $site)"
        " AND username NOT IN (SELECT username FROM papercut_users WHERE site = $site)",
        site=site,
    ).filter(~pl.col("username").is_in(plan["username"].to_list()))
    events = [{"username": name, "state": "released", "reason": "absent in PaperCut"} for name in gone["username"]]
    ownership.record(con, site, events, bridge.clock())


def _identity(row: Row) -> Row:
    name = row["new_username"] or row["username"]
    return {"username": name, "coworker_id": row["coworker_id"], "email_key": row["email_key"], "access": row["access"]}


def _card(sync: Sync, customer: Row) -> str | None:
    name = CARD_FIELDS.get(sync.settings.card_number)
    return (customer.get(name) or None) if name else None


def _flag(value: object) -> str:
    return "TRUE" if value else "FALSE"
