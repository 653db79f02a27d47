"""The command `alerts`: messages to people about what needs them.

What belongs here: arguments and the order of the steps. What does not: which causes there are and how they are told
(`pipeline.operations.alerts`, `channels`), how results look (`console.py`).
"""

from __future__ import annotations

import typer

from pipeline.cli.common import DONE, FAILED, AsJson, configured
from pipeline.words import counted

alerts = typer.Typer(help="Messages to people about what needs them.", no_args_is_help=True)


@alerts.command("test")
def alerts_test(*, as_json: AsJson = False) -> None:
    """Send a test message to everybody whom [alerts] in bridge.toml names."""
    from pipeline.cli import console
    from pipeline.operations.alerts import test_message

    with configured() as sites:
        done = test_message(sites)
    if as_json:
        console.document({"channels": [{"channel": channel, "error": error} for channel, error in done]})
    else:
        for channel, error in done:
            typer.echo(f"{channel}: {error or 'sent'}")
    raise typer.Exit(FAILED if any(error for _, error in done) else DONE)


@alerts.command("check")
def alerts_check(*, as_json: AsJson = False) -> None:
    """Show what needs a person now, and tell it where it was not told yet; for a timer beside the Dagster daemon."""
    from pipeline.cli import console
    from pipeline.dagster.life import standing_here
    from pipeline.operations.alerts import message, tell

    with configured() as sites:
        found = standing_here(sites)
        said = tell(sites, found)
    if as_json:
        console.document({"causes": found, "told": said})
    else:
        for alert in found:
            told = message(alert)
            console.lines(told.title, told.text.splitlines())
        console.lines(counted(len(found), "cause"), said)
    raise typer.Exit(FAILED if any(" failed: " in sentence for sentence in said) else DONE)
