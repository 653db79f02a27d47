"""States of the world that a campaign must have been in: what it never saw, it did not prove.

What belongs here: each state's name, and how it shows in the ledger, the stops, the ownership of users, the servers'
own records and what the story counted. What does not: bringing a state about (`simulation.py`), and what is right in
it (`oracle.py`, `replay.py`).

Most states are ways that a line went: some of its steps, by their causes (`history.py`), one right after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.store.sql import Connection
from tests.campaign import history
from tests.campaign.history import Line

SITE = "london"


@dataclass(frozen=True)
class Sight:
    """Everything that can be seen of a world at one moment.

    Attributes:
        lines: the ledger.
        stops: phase, state, reason of each safety event, oldest first.
        owners: for each print user that was ever ours, the states of its ownership, oldest first.
        sales: every sale that Nexudus ever had, those that were deleted among them.
        seen: what the story counted itself.
    """

    lines: Sequence[Line]
    stops: Sequence[tuple[str, str, str]]
    owners: Mapping[str, Sequence[str]]
    sales: Sequence[Mapping[str, Any]]
    seen: Counter[str] = field(default_factory=Counter[str])

    @cached_property
    def ways(self) -> set[tuple[str, str, tuple[str, ...]]]:
        """The ways that lines went: kind, rule, causes."""
        return {(line.kind, line.rule, line.causes) for line in self.lines}

    @cached_property
    def by_ref(self) -> dict[str, Line]:
        """The lines by reference."""
        return {line.ref: line for line in self.lines}

    @cached_property
    def jobs(self) -> list[list[Line]]:
        """The lines of each job that has several."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.job_id, []).append(line)
        return [lines for lines in found.values() if len(lines) > 1]

    @cached_property
    def reversals(self) -> list[tuple[Line, Line]]:
        """Each reversal of a sale or credit use, and what it takes back."""
        return [
            (line, self.by_ref[line.undoes])
            for line in self.lines
            if line.undoes in self.by_ref and line.kind != "undo_waive"
        ]


def sight(con: Connection, sales: Sequence[Mapping[str, Any]], seen: Counter[str]) -> Sight:
    """What can be seen now.

    Args:
        con: the open warehouse.
        sales: as in `Sight`.
        seen: as in `Sight`.
    """
    stops = con.execute(
        "SELECT phase, state, reason FROM stop_event WHERE site = $site ORDER BY phase, n", {"site": SITE}
    ).fetchall()
    owners = con.execute(
        "SELECT username, list(state ORDER BY n) FROM ownership_event WHERE site = $site GROUP BY username",
        {"site": SITE},
    ).fetchall()
    return Sight(history.lines(con, SITE), stops, dict(owners), sales, seen)


Predicate = Callable[[Sight], bool]


def _went(kind: str, *causes: str, rule: str = "") -> Predicate:
    """Whether a line of a kind took steps with these causes, one right after the other."""

    def has(sight: Sight) -> bool:
        return any(
            kind == of and rule in ("", by) and causes in zip(*(way[at:] for at in range(len(causes))), strict=False)
            for of, by, way in sight.ways
        )

    return has


def _counted(name: str) -> Predicate:
    return lambda sight: sight.seen[name] > 0


def _stop(phase: str, state: str, words: str) -> Predicate:
    return lambda sight: any(each[:2] == (phase, state) and words in each[2] for each in sight.stops)


def _changed_under_way(sight: Sight, *states: str) -> bool:
    """A job changed while one of its charges was in one of some states."""
    return any(charge.at(undo.events[0].at) in states for undo, charge in sight.reversals)


def _waited_for(sight: Sight, cause: str) -> Iterator[tuple[Line, Line]]:
    """Each reversal that stood still for a cause, and a charge of its job that was entered with it and sent later."""
    for lines in sight.jobs:
        for undo in (each for each in lines if each.undoes and cause in each.causes):
            done = undo.events[-1].at
            for new in lines:
                sent = [event.at for event in new.events if event.cause == "sent"]
                if not new.undoes and new.revision >= undo.revision and sent and sent[0] >= done:
                    yield undo, new


def _in_one_write(sight: Sight) -> bool:
    """Several uses of one credit, carried out by the same write."""
    sent = Counter(
        (line.credit_id, event.at)
        for line in sight.lines
        if line.credit_id is not None
        for event in line.events
        if event.cause == "sent"
    )
    return any(number > 1 for number in sent.values())


def _given_back_with_a_use(sight: Sight) -> bool:
    kinds: dict[tuple[int | None, Any], set[str]] = {}
    for line in sight.lines:
        for event in line.events:
            if event.cause == "sent" and line.credit_id is not None:
                kinds.setdefault((line.credit_id, event.at), set()).add(line.kind)
    return any(len(each) > 1 for each in kinds.values())


def _late(sight: Sight) -> bool:
    """A job of a day that was over when its first line was entered."""
    return any(line.events[0].at.date() > line.printed_at.date() and line.kind == "sale" for line in sight.lines)


def _back(sight: Sight) -> bool:
    return any("released" in states and states[-1] == "owned" for states in sight.owners.values())


def _changed(sight: Sight, times: int) -> bool:
    return any(sum(bool(line.undoes) for line in lines) >= times for lines in sight.jobs)


def _both(sight: Sight) -> bool:
    """A sale that Nexudus has deleted, and its line with it undone."""
    gone = {sale["PurchaseOrder"] for sale in sight.sales if sale.get("Deleted")}
    return any(charge.ref in gone and undo.state == "confirmed" for undo, charge in sight.reversals)


def _invoiced_sale_waits(sight: Sight) -> bool:
    return any(sale.get("Invoiced") and not sale.get("Deleted") for sale in sight.sales)


# What thousands of jobs under kills and faults must come to.
CHARGING: dict[str, Predicate] = {
    "sale decided": _went("sale", "entered"),
    "sale sent": _went("sale", "entered", "sent"),
    "sale confirmed by its answer": _went("sale", "sent", "ok"),
    "sale sending when killed": _went("sale", "sent", "orphaned"),
    "sale sending when killed, and Nexudus had it": _went("sale", "orphaned", "found"),
    "sale sending when killed, and Nexudus had it not": _went("sale", "orphaned", "absent"),
    "sale without an answer, effect later visible": _went("sale", "unknown", "found"),
    "sale without an answer, never made": _went("sale", "unknown", "absent"),
    "sale answered with a failure, effect later visible": _went("sale", "failed", "found"),
    "sale answered with a failure, never made": _went("sale", "failed", "absent"),
    "sale answered with a page, effect later visible": _went("sale", "unreadable", "found"),
    "sale refused in a 200 without a reason, never made": _went("sale", "unreadable", "absent"),
    "sale looked up, absent and sent again": _went("sale", "absent", "sent"),
    "sale refused with a reason": _went("sale", "sent", "refused"),
    "sale refused, and sent again by a person": _went("sale", "refused", "person", "sent"),
    "sale throttled": _went("sale", "sent", "throttled"),
    "sale not tried, as its chunk was throttled": _went("sale", "sent", "not tried"),
    "sale thrown back and sent again": _went("sale", "not tried", "sent"),
    "sale void before it was sent": _went("sale", "entered", "cancelled"),
    "sale killed twice": _went("sale", "orphaned", "absent", "sent", "orphaned"),
    "credit use decided": _went("credit", "entered"),
    "credit use proved by reading it back": _went("credit", "sent", "ok"),
    "credit use without an answer, marker found": _went("credit", "unknown", "proved"),
    "credit use answered with a failure, marker found": _went("credit", "failed", "proved"),
    "credit use answered with a failure, credit unchanged": _went("credit", "failed", "unchanged"),
    "credit unchanged, and written again": _went("credit", "unchanged", "sent"),
    "credit use refused with a reason": _went("credit", "sent", "refused"),
    "uses of one credit in one write": _in_one_write,
    "sale reversed before it was sent": _went("undo_sale", "entered", "cancelled"),
    "sale deleted for a job that changed": _went("undo_sale", "sent", "ok"),
    "deletion answered with a failure, sale gone": _went("undo_sale", "failed", "gone"),
    "deletion answered with a failure, sale still there": _went("undo_sale", "failed", "there"),
    "deletion without an answer, sale gone": _went("undo_sale", "unknown", "gone"),
    "line undone and sale deleted": _both,
    "credit given back": _went("undo_credit", "sent", "ok"),
    "giving back without an answer, marker found": _went("undo_credit", "unknown", "proved"),
    "giving back and a use in one write": _given_back_with_a_use,
    "job revised while its sale had no answer": lambda sight: _changed_under_way(sight, "sending", "unknown"),
    "job changed while its charge waited": lambda sight: _changed_under_way(sight, "priced"),
    "job changed again and again": lambda sight: _changed(sight, 2),
    "late row of a past day": _late,
    "run killed": _counted("killed"),
    "run ended by a read that failed": _counted("failed"),
    "sale on an invoice": _went("sale", "invoiced"),
    "sale on an invoice in Nexudus": _invoiced_sale_waits,
    "reversal held, as the sale is on an invoice": _went("undo_sale", "entered", "invoiced"),
    "reversal done by a person": _went("undo_sale", "invoiced", "person"),
    "new line waited for a held reversal": lambda sight: any(_waited_for(sight, "invoiced")),
    "job refunded partly after its invoice": lambda sight: any(
        new.amount_cents < undo.amount_cents for undo, new in _waited_for(sight, "invoiced")
    ),
}  # fmt: skip

# What a story about everything must come to besides.
EVERYTHING: dict[str, Predicate] = {
    **CHARGING,
    "credit use sending when killed": _went("credit", "sent", "orphaned"),
    "deletion sending when killed": _went("undo_sale", "sent", "orphaned"),
    "credit write and a top-up crossed": lambda sight: any("crossed" in way for _, _, way in sight.ways),
    "free job waived": _went("waive", "waived", rule="zero_cost"),
    "held: above the largest charge": _went("sale", "asked", rule="above_max_charge"),
    "held: too few credits": _went("sale", "asked", rule="overdrawn"),
    "held: customer gone": _went("sale", "asked", rule="customer_gone"),
    "held line decided again": _went("sale", "asked", "person"),
    "held line waived by a person": _counted("waived by a person"),
    "sale deleted by staff": _went("sale", "deleted"),
    "deleted sale charged again": _went("sale", "deleted", "person", "sent"),
    "customer left with an open charge": _counted("left with an open charge"),
    "user removed": lambda sight: any("released" in states for states in sight.owners.values()),
    "user removed and back": _back,
    "user without our mark left alone": _counted("left alone without its mark"),
    "two runs at once": _counted("overlap"),
    "stopped: a restored backup": _stop("charges", "stopped", "was restored"),
    "stopped: credits in doubt after a recovery": _stop("charges", "stopped", "recovered:"),
    "charges refused while stopped": _counted("refused while stopped"),
    "resumption spent": _stop("charges", "open", "used by run"),
    "sale recovered by its reference": _went("sale", "recovered"),
    "credit use recovered, and confirmed by a person": _went("credit", "recovered", "person"),
}  # fmt: skip


def visited(sight: Sight, wanted: Mapping[str, Predicate], before: Iterable[str] = ()) -> set[str]:
    """The wanted states that the world is or was in, with those that it was in before."""
    seen = set(before)
    return seen | {name for name, holds in wanted.items() if name not in seen and holds(sight)}


def never(visits: Iterable[str], wanted: Iterable[str]) -> str:
    """What a campaign did not see, in a sentence; empty where it saw everything."""
    missing = sorted(set(wanted) - set(visits))
    if not missing:
        return ""
    return (
        f"{len(missing)} states were never visited: {', '.join(missing)}. Tell a longer story, or mend what no longer"
        " leads there (tests/campaign/states.py says how each shows)"
    )
