"""Credits: what the ledger allocated is taken from, or given back to, the customer's credit in Nexudus.

What belongs here: the write-back of one credit at a time, its proof, and its resolution when the outcome is unknown.
What does not: the allocation (`pipeline.domain.money.credits`), which holds even where Nexudus cannot be written to.

No documented call lowers `RemainingUses` (`nexudus-api.md` 5.4), so the write proves itself: our reference goes into
the credit's Notes in the same PUT, and both are read back. If Nexudus ignored the number, the use stays on the ledger.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NotRequired, TypedDict

import polars as pl

from pipeline.domain.money.references import KIND_LETTERS, PATTERN, found_in
from pipeline.effects.effect import CONNECTIONS, Outcome, after_write, attempt, pipelined, settle, store
from pipeline.errors import MissingError, UnsafeError
from pipeline.services.nexudus.changes import changed_on
from pipeline.services.nexudus.client import replacement
from pipeline.services.nexudus.wire import moment
from pipeline.site import Site
from pipeline.store import ledger
from pipeline.store.lines import history, knows, lines_in, lines_of_site, unanswered_credits, waiting_lines
from pipeline.store.warehouse import Connection

CHUNK = 40
"""Credits between two commits."""

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
    """What a write was to do: what was left before and is left after it, and the total that was granted then.

    Attributes:
        was: when the record was changed last before, UTC; an older program did not note it.
    """

    before: int
    after: int
    total: int
    was: NotRequired[str | None]


@dataclass(frozen=True)
class Write:
    """One change of one credit that is about to be made.

    Attributes:
        use: the lines behind it.
        before: the whole record as it was read.
        intent: what is to become of its number.
        recreates: whether a new credit takes the place of the old one.
    """

    use: Use
    before: Record
    intent: Intent
    recreates: bool

    @property
    def detail(self) -> str:
        """The intent as it stands in the ledger."""
        return json.dumps({"mode": "recreate" if self.recreates else "put", **self.intent})


def settle_credits(site: Site, run_id: str) -> int:
    """Resolve what is unknown, then write back what is priced.

    Returns:
        How many lines stay on the ledger because Nexudus ignored the change.
    """
    lines = _lines(site)
    if not lines.height:
        return 0
    silent = lines.filter((pl.col("used_state") == "void") | ((pl.col("used_state") == "confirmed") & _ON_LEDGER))
    store(site, run_id, [(ref, _on_ledger()) for ref in silent["ref"]])
    lines = _ready(site, lines)
    if site.settings.credit_writeback == "ledger":
        kept = lines.filter(state="priced")["ref"]
        store(site, run_id, [(ref, _on_ledger()) for ref in kept])
        return kept.len()
    # Sites share credits, and a write replaces the whole record: one site at a time.
    with site.sites.hold(ACCOUNT):
        settled = site.clock() - timedelta(minutes=site.settings.settle_minutes)
        unknown = lines.filter(pl.col("happened_at") <= settled, state="unknown")
        for (credit_id,), group in unknown.group_by("credit_id", maintain_order=True):
            _resolve(site, run_id, int(str(credit_id)), sorted(group["ref"]))
        # What was not done is done now, and what waited for it as well: as with sales, one run looks up and sends.
        lines = _ready(site, _lines(site)) if unknown.height else lines
        with site.store.connect() as con:
            waiting = unanswered_credits(con)
        priced = lines.filter(~pl.col("credit_id").is_in(waiting), state="priced")
        return _write_back(site, run_id, _uses(priced))


def _lines(site: Site) -> pl.DataFrame:
    """The credit lines that are to be written or looked up, with the state and detail of those that they undo."""
    with site.store.connect() as con:
        lines = lines_in(con, site.key, "priced", "unknown")
        lines = lines.filter(pl.col("kind").is_in(["credit", "undo_credit"]))
        used = lines_of_site(con, site.key, lines).select(undoes="ref", used_state="state", used_detail="detail")
    return lines.join(used, on="undoes", how="left")


def _ready(site: Site, lines: pl.DataFrame) -> pl.DataFrame:
    """Of `_lines` those that may be written or looked up: what they undo is in Nexudus, and they wait for nothing."""
    ready = lines.filter(pl.col("undoes").is_null() | ((pl.col("used_state") == "confirmed") & ~_ON_LEDGER))
    return ready.join(_waiting(site, ready), on="ref", how="anti")


def _waiting(site: Site, ready: pl.DataFrame) -> pl.DataFrame:
    """The lines that wait for a reversal of their job (ref), other than one that the same write carries out."""
    with site.store.connect() as con:
        waits = waiting_lines(con, site.key)
    together = ready.filter(pl.col("undoes").is_not_null(), state="priced").select("credit_id", waits_for="ref")
    credit_of = ready.select("ref", "credit_id")
    return waits.join(credit_of, on="ref").join(together, on=["credit_id", "waits_for"], how="anti").select("ref")


def _uses(priced: pl.DataFrame) -> list[Use]:
    signed = pl.when(pl.col("kind") == "credit").then(-pl.col("amount_cents")).otherwise(pl.col("amount_cents"))
    grouped = priced.sort("ref").group_by("credit_id").agg(refs=pl.col("ref"), delta=signed.sum()).sort("credit_id")
    return [Use(credit_id, tuple(refs), delta) for credit_id, refs, delta in grouped.iter_rows()]


def _write_back(site: Site, run_id: str, uses: Sequence[Use]) -> int:
    """Change some credits; the number of lines that stay on the ledger alone.

    Every credit is read before the first intent, and read again right before it is written.
    """
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        read = list(pool.map(partial(_considered, site), uses))
    store(site, run_id, [settled for each in read if not isinstance(each, Write) for settled in each])
    kept = 0

    def turn(answered: list[tuple[Write, Outcome]], begun: Sequence[Write]) -> None:
        nonlocal kept
        outcomes = [(ref, outcome) for write, outcome in answered for ref in write.use.refs]
        intents: list[tuple[str, int | None, str]] = [
            (ref, None, write.detail) for write in begun for ref in write.use.refs
        ]
        mover = site.mover(run_id, "dispatcher")

        def change(con: Connection) -> None:
            settle(con, outcomes, mover)
            ledger.move(con, ledger.moves_of(intents), "sending", mover)

        site.store.commit(change)
        kept += sum(_mode(outcome.detail) == "ledger" for _, outcome in outcomes)

    writes = [each for each in read if isinstance(each, Write)]
    halt = pipelined(writes, partial(_written, site), turn, chunk=CHUNK, connections=CONNECTIONS)
    if halt:
        raise halt
    return kept


def _considered(site: Site, use: Use) -> Write | list[tuple[str, Outcome]]:
    """The write that a use needs, or what became of its lines where there is nothing to write."""
    try:
        before = site.nexudus.record(ENTITY, use.credit_id)
    except MissingError:
        return [(ref, Outcome("held", _gone(use.credit_id, ref))) for ref in use.refs]
    _refuse_unknown_marker(site, before)
    if found_in(before.get("Notes")) in use.refs:
        return _written_before(use, before)
    after = int(before["RemainingUses"]) + use.delta
    if after < 0:
        reason = (
            f"credit {use.credit_id} of customer {before['CoworkerId']} has {before['RemainingUses']} left, but"
            f" {-use.delta} were allocated: it was lowered in Nexudus since it was read. What to do: give the credit"
            f" back and run `printbridge held retry`, or `printbridge held void`"
        )
        return [(ref, Outcome("held", reason)) for ref in use.refs]
    changed_at = changed_on(before)
    intent: Intent = {
        "before": int(before["RemainingUses"]), "after": after, "total": int(before["TotalUses"]),
        "was": changed_at.isoformat() if changed_at else None,
    }  # fmt: skip
    return Write(use, before, intent, recreates=site.settings.credit_writeback == "recreate")


def _gone(credit_id: int, ref: str) -> str:
    """What a person decides where a credit is gone; another credit is never taken in its place."""
    back = ref[6] == KIND_LETTERS["undo_credit"]
    was, way = ("given back", "give these cents back there") if back else ("used", "charge these cents there")
    return (
        f"credit {credit_id} no longer exists in Nexudus, so nothing was {was}. What to do: {way} in another way (a"
        f" sale or credit note, or another number left of another credit), then `printbridge held confirm {ref}`; or"
        f" leave it at that: `printbridge held void {ref}`"
    )


def _written(site: Site, write: Write) -> Outcome:
    carry_out = _recreated if write.recreates else _put
    return attempt(lambda: _unless_changed(site, write, carry_out))


def _written_before(use: Use, credit: Mapping[str, Any]) -> list[tuple[str, Outcome]]:
    """The credit already names one of these lines: that one is done; what was written with it cannot be known."""
    marker = found_in(credit.get("Notes"))
    reason = (
        f"credit {use.credit_id} was written to under {marker}, perhaps with this line, before this ledger knew."
        " What to do: compare its history in Nexudus, then `printbridge held confirm`, or take the reference out of its"
        " Notes and run `printbridge held retry`"
    )
    done = json.dumps({"mode": "nexudus", "updated_on": _stamp(credit)})
    return [
        (ref, Outcome("done", done, use.credit_id) if ref == marker else Outcome("held", reason)) for ref in use.refs
    ]


def _unless_changed(site: Site, write: Write, carry_out: Callable[[Site, Write], Outcome]) -> Outcome:
    """Write only if the credit is still as it was read: an edit of an administrator in between is not overwritten."""
    if replacement(site.nexudus.record(ENTITY, write.use.credit_id)) == replacement(write.before):
        return carry_out(site, write)
    return Outcome("undone", "the credit was changed in Nexudus at this moment; the next run reads it again")


def _put(site: Site, write: Write) -> Outcome:
    marked = _marked(write.before.get("Notes"), write.use.marker)
    changed = {**replacement(write.before), "RemainingUses": write.intent["after"], "Notes": marked}
    site.nexudus.update(ENTITY, changed)
    read_back = after_write(lambda: site.nexudus.record(ENTITY, write.use.credit_id))
    return _proved(write.use.marker, write.intent, read_back) or _on_ledger()


def _proved(marker: str, intent: Intent, now: Mapping[str, Any]) -> Outcome | None:
    """What a credit says after a write; None where neither its number nor its Notes have changed.

    What it was topped up by since shows in its total, so it can be told whether the write went over a top-up.
    """
    remaining, more = int(now["RemainingUses"]), int(now["TotalUses"]) - intent["total"]
    named = found_in(now.get("Notes")) == marker
    if named and remaining == intent["after"] + more:
        answer = {"mode": "nexudus", "updated_on": _stamp(now), "was": intent.get("was")}
        return Outcome("done", json.dumps(answer), now["Id"])
    if remaining == intent["before"] + more:
        return _on_ledger() if named else None
    reason = (
        f"credit {now['Id']} had {intent['before']} left, was to have {intent['after']}, and was topped up by {more}"
        f" meanwhile; it should have {intent['after'] + more}, but has {remaining}: this write and a change in Nexudus"
        f" crossed. What to do: compare its history there, change what is left by {intent['after'] + more - remaining},"
        " then confirm all lines with this reason"
    )
    return Outcome("held", reason, now["Id"])


def _recreated(site: Site, write: Write) -> Outcome:
    """Make a credit of what is left, then delete the old one; a crash in between leaves both, which `_resolve` sees."""
    before, left = write.before, write.intent["after"]
    kept = {name: before[name] for name in ("CoworkerId", "BusinessId", "ExtraServiceId", "ValidFrom", "ExpireDate")}
    body = {
        **kept, "TotalUses": left, "ChargePeriod": 5, "InvoiceThisCoworker": True, "Price": 0,
        "Notes": _marked(before.get("Notes"), write.use.marker),
    }  # fmt: skip
    made = site.nexudus.create(ENTITY, body)["Id"] if left > 0 else None
    after_write(lambda: site.nexudus.delete(ENTITY, write.use.credit_id))
    return Outcome("done", json.dumps({"mode": "nexudus", "updated_on": _stamp(before)}), made)


def _resolve(site: Site, run_id: str, credit_id: int, refs: list[str]) -> None:
    """Find out, by reading only, what became of a write whose answer was lost."""
    marker = refs[-1]
    with site.store.connect() as con:
        events = history(con, marker)
    intent = json.loads(events.filter(pl.col("state") == "sending")["detail"][-1])
    try:
        now = site.nexudus.record(ENTITY, credit_id)
    except MissingError:
        now = None
    if now is None or _copies(site, now, marker):
        outcome = Outcome(
            "held",
            f"the write to credit {credit_id} had no answer, and the credit now is"
            f" {'gone' if now is None else 'there twice'}. What to do: compare it in Nexudus with {intent['after']}"
            " expected, then `printbridge held confirm` or `void`",
        )
    else:
        absent = Outcome("undone", "the credit is unchanged after the settle time")
        outcome = _proved(marker, intent, now) or absent
    store(site, run_id, [(ref, outcome) for ref in refs])


def _copies(site: Site, credit: Mapping[str, Any], marker: str) -> bool:
    """Whether a recreated credit with our reference is there."""
    held = site.nexudus.records(ENTITY, CoworkerExtraService_Coworker=credit["CoworkerId"])
    return any(found_in(record.get("Notes")) == marker and record["Id"] != credit["Id"] for record in held)


def _refuse_unknown_marker(site: Site, credit: Mapping[str, Any]) -> None:
    """A reference in the Notes that this ledger does not know means that a newer ledger used the credit."""
    ref = found_in(credit.get("Notes"))
    if ref is None:
        return
    with site.store.connect() as con:
        if knows(con, ref):
            return
    raise UnsafeError(
        f"Credit {credit['Id']} of customer {credit['CoworkerId']} was last used under {ref}, which the ledger of site"
        f" {site.name} does not know: this warehouse is older than what was charged, and credits cannot be proved",
        f"restore the newest backup, or run `printbridge recover --site {site.name}`; no credit was used",
    )


def _on_ledger() -> Outcome:
    return Outcome("done", json.dumps({"mode": "ledger"}))


def _marked(notes: str | None, marker: str) -> str:
    """The notes with our reference in place of an older one."""
    rest = re.sub(PATTERN, "", notes or "").strip()
    return f"{rest} {marker}".strip()


def _stamp(record: Mapping[str, Any]) -> str:
    return moment(record["UpdatedOn"]).isoformat()


def _mode(detail: str) -> str | None:
    return json.loads(detail).get("mode") if detail.startswith("{") else None
