"""The command `adopt`: users that PaperCut has already become ours.

What belongs here: its arguments and the order of its steps. What does not: the steps (`pipeline.operations.adopt`), how
results look (`console.py`).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from pipeline.cli.common import Apply, AsJson, Document, OneSite, configured, run_sites, worst

if TYPE_CHECKING:
    from pipeline.site import Site


def adopt(site: OneSite = None, *, apply: Apply = False, as_json: AsJson = False) -> None:
    """Take over users that PaperCut has already, for example from the Nexudus Bridge: balance, card and password stay.

    Shows which users match a customer by user name or e-mail, which would be taken over and why others are not. --apply
    does it.
    """
    from pipeline.cli import console
    from pipeline.operations.adopt import OLD_AGENT

    done: dict[str, Document] = {}
    with configured() as sites:
        for each, outcome in run_sites(sites, site, dry_run=True):
            done[each.name] = console.result(sites, outcome)
            if outcome.ok:
                done[each.name] |= _adopted(each, apply=apply)
            if not as_json:
                console.adoption(each.name, done[each.name])
    if as_json:
        console.document({"dry_run": not apply, "sites": done, "old_agent": OLD_AGENT})
    else:
        console.lines("The old agent", OLD_AGENT)
        if not apply:
            console.lines("Nothing was written to PaperCut", ["The same command with --apply takes the users over."])
    raise typer.Exit(worst(done))


def _adopted(site: Site, *, apply: bool) -> Document:
    """The users of a site that match somebody, and, with `apply`, what became of those that could be taken over."""
    from pipeline.cli import console
    from pipeline.operations import adopt

    rows = adopt.survey(site).to_dicts()
    able = [row for row in rows if row["refusal"] is None]
    jobs, cost = adopt.printed_since(site, [row["username"] for row in able])
    with console.busy(f"{len(able)} users ...") if apply and able else nullcontext():
        results = adopt.carry_out(site, able) if apply and able else []
    shown = ("username", "coworker_id", "matched", "becomes", "disabled", "refusal")
    return {
        "ok": all(each.outcome == "done" for each in results),
        "users_found": [{name: row[name] for name in shown} for row in rows],
        "waiting": {"charge_from": site.rules.charge_from, "jobs": jobs, "credits": cost},
        "results": [{"username": each.username, "outcome": each.outcome, "detail": each.detail} for each in results],
    }
