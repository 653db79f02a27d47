"""Credits: what the ledger allocated is taken from, or given back to, the customer's credit in Nexudus.

What belongs here: the write-back of one credit at a time, its proof, and its resolution when the outcome is unknown.
What does not: the allocation (`domain/credits.py`), which holds whether or not Nexudus lets itself be written.

No documented call lowers `RemainingUses` (`nexudus-api.md` 5.4), so the write proves itself: our reference goes into
the credit's Notes in the same PUT, and both are read back. If Nexudus ignored the number, the use stays on the ledger.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict

import polars as pl

from assets.load.effect import Answer, after_write, attempt, store
from pipeline import ledger
from pipeline.clients.nexudus import moment, replacement
from pipeline.domain.references import PATTERN, found_in
from pipeline.errors import MissingError, UnsafeError
from pipeline.resources import Bridge, in_parallel, site_lock

ENTITY = "coworkerextraservices"
ACCOUNT = "_credits"
"""The name of the lock on the credits of the account; no site can have it."""

_ON_LEDGER = pl.col("used_detail").str.contains('"mode": "ledger"', literal=True).fill_null(value=False)

Record = dict[str, Any]


@dataclass(frozen=True)
class Use:
    """The lines of one credit that are written back together: a change of its remaining uses by `delta` cents."""

    credit_id: int
    refs: tuple[str, ...]
    delta: int

    @property
    def marker(self) -> str:
        """The reference that stands in the credit's Notes once the change was made."""
        return self.refs[-1]


class Intent(TypedDict):
    """What a write was to do: what was left before and is left after it, and the total that was granted then."""

    before: int
    after: int
    total: int


def settle_credits(bridge: Bridge, site: str, run_id: str) -> int:
    """Resolve what is unknown, then write back what is priced.

    Returns:
        How many lines stay on the ledger because Nexudus ignored the change.
    """
    lines = _lines(bridge, site)
    if not lines.height:
        return 0
    silent = lines.filter((pl.col("used_state") == "void") | ((pl.col("used_state") == "confirmed") & _ON_LEDGER))
    store(bridge, run_id, [_on_ledger(ref) for ref in silent["ref"]])
    ready = pl.col("undoes").is_null() | ((pl.col("used_state") == "confirmed") & ~_ON_LEDGER)
    if bridge.settings.site(site).credit_writeback == "ledger":
        kept = lines.filter(ready, pl.col("state") == "priced")["ref"]
        store(bridge, run_id, [_on_ledger(ref) for ref in kept])
        return kept.len()
    # Sites share credits, and a write replaces the whole record: one site at a time.
    with site_lock(bridge.home.locks, ACCOUNT):
        settled = bridge.clock() - timedelta(minutes=bridge.settings.site(site).settle_minutes)
        unknown = lines.filter(ready, pl.col("state") == "unknown", pl.col("happened_at") <= settled)
        for (credit_id,), group in unknown.group_by("credit_id", maintain_order=True):
            _resolve(bridge, run_id, int(str(credit_id)), sorted(group["ref"]))
        with bridge.warehouse.connect() as con:
            waiting = ledger.unanswered_credits(con)
        before = unknown["credit_id"].to_list()
        priced = lines.filter(ready, pl.col("state") == "priced", ~pl.col("credit_id").is_in(waiting + before))
        return sum(in_parallel(partial(_write_back, bridge, site, run_id), _uses(priced)))


def _lines(bridge: Bridge, site: str) -> pl.DataFrame:
    """The credit lines that are to be written or looked up, with the state and detail of those that they undo."""
    with bridge.warehouse.connect() as con:
        lines = ledger.lines_in(con, site, "priced", "unknown").filter(pl.col("kind").is_in(["credit", "undo_credit"]))
        used = ledger.lines(con, site, lines).select(undoes="ref", used_state="state", used_detail="detail")
    return lines.join(used, on="undoes", how="left")


def _uses(priced: pl.DataFrame) -> list[Use]:
    signed = pl.when(pl.col("kind") == "credit").then(-pl.col("amount_cents")).otherwise(pl.col("amount_cents"))
    grouped = priced.sort("ref").group_by("credit_id").agg(refs=pl.col("ref"), delta=signed.sum()).sort("credit_id")
    return [Use(credit_id, tuple(refs), delta) for credit_id, refs, delta in grouped.iter_rows()]


def _write_back(bridge: Bridge, site: str, run_id: str, use: Use) -> int:
    """Change one credit; the number of its lines that stay on the ledger alone."""
    try:
        before = bridge.nexudus.record(ENTITY, use.credit_id)
    except MissingError:
        reason = f"credit {use.credit_id} no longer exists in Nexudus. What to do: void the line, or give a new credit"
        store(bridge, run_id, [Answer(ref, "held", None, reason) for ref in use.refs])
        return 0
    _refuse_unknown_marker(bridge, site, before)
    if found_in(before.get("Notes")) in use.refs:
        store(bridge, run_id, _written_before(use, before))
        return 0
    after = int(before["RemainingUses"]) + use.delta
    if after < 0:
        reason = (
            f"credit {use.credit_id} of customer {before['CoworkerId']} has {before['RemainingUses']} left, but"
            f" {-use.delta} were allocated: it was lowered in Nexudus since it was read. What to do: give the credit"
            f" back and run `printbridge held retry`, or `printbridge held void`"
        )
        store(bridge, run_id, [Answer(ref, "held", None, reason) for ref in use.refs])
        return 0
    recreate = bridge.settings.site(site).credit_writeback == "recreate"
    intent: Intent = {"before": int(before["RemainingUses"]), "after": after, "total": int(before["TotalUses"])}
    detail = json.dumps({"mode": "recreate" if recreate else "put", **intent})
    with bridge.warehouse.transaction() as con:
        moves = ledger.moves_of([(ref, None, detail) for ref in use.refs])
        ledger.move(con, moves, "sending", bridge.mover(run_id, "dispatcher"))
    write = _recreated if recreate else _put
    answer = attempt(use.marker, lambda: _unless_changed(bridge, before, lambda: write(bridge, use, before, intent)))
    store(bridge, run_id, [answer._replace(ref=ref) for ref in use.refs])
    return len(use.refs) if _mode(answer.detail) == "ledger" else 0


def _written_before(use: Use, credit: Mapping[str, Any]) -> list[Answer]:
    """The credit already names one of these lines: that one is done; what was written with it cannot be known."""
    marker = found_in(credit.get("Notes"))
    reason = (
        f"credit {use.credit_id} was written to under {marker}, perhaps with this line, before this ledger knew."
        " What to do: compare its history in Nexudus, then `printbridge held confirm`, or take the reference out of its"
        " Notes and run `printbridge held retry`"
    )
    done = json.dumps({"mode": "nexudus", "updated_on": _stamp(credit)})
    return [
        Answer(ref, "confirmed", use.credit_id, done) if ref == marker else Answer(ref, "held", None, reason)
        for ref in use.refs
    ]


def _unless_changed(bridge: Bridge, before: Record, write: Callable[[], Answer]) -> Answer:
    """Write only if the credit is still as it was read: an edit of an administrator in between is not overwritten."""
    if replacement(bridge.nexudus.record(ENTITY, before["Id"])) == replacement(before):
        return write()
    return Answer("", "priced", None, "the credit was changed in Nexudus at this moment; the next run reads it again")


def _put(bridge: Bridge, use: Use, before: Mapping[str, Any], intent: Intent) -> Answer:
    marked = _marked(before.get("Notes"), use.marker)
    bridge.nexudus.update(ENTITY, {**replacement(before), "RemainingUses": intent["after"], "Notes": marked})
    read_back = after_write(lambda: bridge.nexudus.record(ENTITY, use.credit_id))
    return _proved(use.marker, intent, read_back) or _on_ledger(use.marker)


def _proved(marker: str, intent: Intent, now: Mapping[str, Any]) -> Answer | None:
    """What a credit says after a write; None where neither its number nor its Notes have changed.

    What it was topped up by since shows in its total, so it can be told whether the write went over a top-up.
    """
    remaining, more = int(now["RemainingUses"]), int(now["TotalUses"]) - intent["total"]
    named = found_in(now.get("Notes")) == marker
    if named and remaining == intent["after"] + more:
        return Answer(marker, "confirmed", now["Id"], json.dumps({"mode": "nexudus", "updated_on": _stamp(now)}))
    if remaining == intent["before"] + more:
        return _on_ledger(marker) if named else None
    reason = (
        f"credit {now['Id']} had {intent['before']} left, was to have {intent['after']}, and was topped up by {more}"
        f" meanwhile; it should have {intent['after'] + more}, but has {remaining}: this write and a change in Nexudus"
        f" crossed. What to do: compare its history there, change what is left by {intent['after'] + more - remaining},"
        " then confirm all lines with this reason"
    )
    return Answer(marker, "held", now["Id"], reason)


def _recreated(bridge: Bridge, use: Use, before: Mapping[str, Any], intent: Intent) -> Answer:
    """Make a credit of what is left, then delete the old one; a crash in between leaves both, which `_resolve` sees."""
    kept = {name: before[name] for name in ("CoworkerId", "BusinessId", "ExtraServiceId", "ValidFrom", "ExpireDate")}
    body = {
        **kept, "TotalUses": intent["after"], "ChargePeriod": 5, "InvoiceThisCoworker": True, "Price": 0,
        "Notes": _marked(before.get("Notes"), use.marker),
    }  # fmt: skip
    made = bridge.nexudus.create(ENTITY, body)["Id"] if intent["after"] > 0 else None
    after_write(lambda: bridge.nexudus.delete(ENTITY, use.credit_id))
    return Answer(use.marker, "confirmed", made, json.dumps({"mode": "nexudus", "updated_on": _stamp(before)}))


def _resolve(bridge: Bridge, run_id: str, credit_id: int, refs: list[str]) -> None:
    """Find out, by reading only, what became of a write whose answer was lost."""
    marker = refs[-1]
    with bridge.warehouse.connect() as con:
        events = ledger.history(con, marker)
    intent = json.loads(events.filter(pl.col("state") == "sending")["detail"][-1])
    try:
        now = bridge.nexudus.record(ENTITY, credit_id)
    except MissingError:
        now = None
    if now is None or _copies(bridge, now, marker):
        answer = Answer(
            marker, "held", None,
            f"the write to credit {credit_id} had no answer, and the credit now is"
            f" {'gone' if now is None else 'there twice'}. What to do: compare it in Nexudus with {intent['after']}"
            " expected, then `printbridge held confirm` or `void`",
        )  # fmt: skip
    else:
        absent = Answer(marker, "priced", None, "the credit is unchanged after the settle time")
        answer = _proved(marker, intent, now) or absent
    store(bridge, run_id, [answer._replace(ref=ref) for ref in refs])


def _copies(bridge: Bridge, credit: Mapping[str, Any], marker: str) -> bool:
    """Whether a recreated credit with our reference is there."""
    held = bridge.nexudus.records(ENTITY, CoworkerExtraService_Coworker=credit["CoworkerId"])
    return any(found_in(record.get("Notes")) == marker and record["Id"] != credit["Id"] for record in held)


def _refuse_unknown_marker(bridge: Bridge, site: str, credit: Mapping[str, Any]) -> None:
    """A reference in the Notes that this ledger does not know means that a newer ledger used the credit."""
    ref = found_in(credit.get("Notes"))
    if ref is None:
        return
    with bridge.warehouse.connect() as con:
        known = con.execute("SELECT count(*) FROM charge WHERE ref = $ref", {"ref": ref}).fetchone()
    if known and known[0]:
        return
    raise UnsafeError(
        f"Credit {credit['Id']} of customer {credit['CoworkerId']} was last used under {ref}, which the ledger of site"
        f" {site} does not know: this warehouse is older than what was charged, and credits cannot be proved",
        f"restore the newest backup, or run `printbridge recover --site {site}`; no credit was used",
    )


def _on_ledger(ref: str) -> Answer:
    return Answer(ref, "confirmed", None, json.dumps({"mode": "ledger"}))


def _marked(notes: str | None, marker: str) -> str:
    """The notes with our reference in place of an older one."""
    rest = re.sub(PATTERN, "", notes or "").strip()
    return f"{rest} {marker}".strip()


def _stamp(record: Mapping[str, Any]) -> str:
    return moment(record["UpdatedOn"]).isoformat()


def _mode(detail: str) -> str | None:
    return json.loads(detail).get("mode") if detail.startswith("{") else None
