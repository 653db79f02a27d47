"""Commands about what waits for a person: held charges and their decision, alerts.

What belongs here: arguments and the order of the steps of these commands. What does not: what a decision does
(`held.py`), which causes there are (`alerts.py`), how results look (`console.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.command import DONE, FAILED, AsJson, Site, configured_bridge, operator_name, sites_of

held = typer.Typer(help="Charges that wait for a person: list them, and decide them.", no_args_is_help=True)
alerts = typer.Typer(help="Messages to people about what needs them.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history of the line.")]
Refs = Annotated[list[str], typer.Argument(metavar="REF...", help="References, from `printbridge held list`.")]


@held.command("list")
def held_list(site: Site = None, *, as_json: AsJson = False) -> None:
    """List the charges that wait for a person: reference, job, customer, cents, reason and next step."""
    from pipeline import console, ledger

    with configured_bridge() as bridge, bridge.warehouse.connect() as con:
        lines = [
            line
            for name in sites_of(bridge, site)
            for line in ledger.lines_in(con, name, "held").iter_rows(named=True)
        ]  # fmt: skip
    if as_json:
        console.document({"held": lines})
    else:
        console.held(lines)


@held.command("retry")
def held_retry(refs: Refs, reason: Reason, *, as_json: AsJson = False) -> None:
    """Let lines be sent by the next run."""
    _decide(refs, "priced", reason, "The next run sends it", as_json=as_json)


@held.command("void")
def held_void(refs: Refs, reason: Reason, *, as_json: AsJson = False) -> None:
    """Waive lines: nothing is charged for them, now or later."""
    _decide(refs, "void", reason, "Nothing is charged for it", as_json=as_json)


@held.command("confirm")
def held_confirm(
    refs: Refs,
    reason: Reason,
    sale: Annotated[int | None, typer.Option(help="The Nexudus id of the sale; it must agree with the line.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take lines as done: a person has seen the charge in Nexudus, or has made it by hand."""
    if sale is not None and len(refs) > 1:
        raise typer.BadParameter("one sale belongs to one line", param_hint="--sale")
    _decide(refs, "confirmed", reason, "It counts as done", sale, as_json=as_json)


@alerts.command("test")
def alerts_test(*, as_json: AsJson = False) -> None:
    """Send a test message to everybody whom [alerts] in bridge.toml names."""
    from pipeline import console
    from pipeline.alerts import test_message

    with configured_bridge() as bridge:
        done = test_message(bridge)
    if as_json:
        console.document({"channels": [{"channel": channel, "error": error} for channel, error in done]})
    else:
        for channel, error in done:
            typer.echo(f"{channel}: {error or 'sent'}")
    raise typer.Exit(FAILED if any(error for _, error in done) else DONE)


@alerts.command("check")
def alerts_check(*, as_json: AsJson = False) -> None:
    """Show what needs a person now, and tell it where it was not told yet; for a timer beside the Dagster daemon."""
    from pipeline import console
    from pipeline.alerts import causes, tell
    from pipeline.outcomes import recorded_failures

    with configured_bridge() as bridge:
        found = causes(bridge, recorded_failures())
        said = tell(bridge, found)
    if as_json:
        console.document({"causes": found, "told": said})
    else:
        for alert in found:
            console.lines(alert.title, alert.message.text.splitlines())
        console.lines(f"{len(found)} causes", said)
    raise typer.Exit(FAILED if any(" failed: " in sentence for sentence in said) else DONE)


def _decide(
    refs: list[str], state: str, reason: str, then: str, sale: int | None = None, *, as_json: bool
) -> None:  # fmt: skip
    """Move held lines, all or none, each under the lock of its site."""
    from pipeline import console
    from pipeline.held import decide

    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    with configured_bridge() as bridge:
        lines = decide(bridge, refs, state, reason=reason.strip(), operator=operator_name(), sale=sale)
    cents = sum(line["amount_cents"] for line in lines)
    if as_json:
        console.document({"state": state, "lines": lines, "cents": cents})
        return
    typer.echo(f"Now {state}: {', '.join(line['ref'] for line in lines)} ({cents} cents). {then}.")
