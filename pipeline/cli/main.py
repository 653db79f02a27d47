"""The printbridge command: what an operator types, what it answers, and with which exit code it ends.

What belongs here: arguments and the order of the steps of a command. What does not: the steps themselves, how results
look (`console.py`), what all commands share (`common.py`), and the groups of commands (their files).
Everything heavy is imported inside the command that needs it: `--help` is fast.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 stopped by a safety gate.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pipeline.cli.adopt import adopt
from pipeline.cli.alerts import alerts
from pipeline.cli.common import (
    BAD_USAGE,
    DONE,
    FAILED,
    STOPPED,
    AsJson,
    Document,
    OneSite,
    ask,
    by_hand,
    chosen_of,
    configured,
    operator_name,
    run_sites,
    worst,
)
from pipeline.cli.held import held
from pipeline.cli.invitations import access
from pipeline.cli.site import site as site_commands
from pipeline.errors import ConfigError, PermanentError, PrintbridgeError, UnsafeError

if TYPE_CHECKING:
    from pipeline.services.printing import Finding
    from pipeline.site import Sites

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(held, name="held")
app.add_typer(access, name="access")
app.add_typer(alerts, name="alerts")
app.add_typer(site_commands, name="site")


@app.callback(invoke_without_command=True)
def options(*, version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False) -> None:
    """Keeps PaperCut print users in step with Nexudus customers and turns print jobs into credit use and charges."""
    if version:
        typer.echo(f"printbridge {metadata.version('printbridge')}")
        raise typer.Exit


def main() -> None:
    """Run the command; a failure with a remedy is said in one sentence on standard error, without a traceback."""
    try:
        app(prog_name="printbridge")
    except PrintbridgeError as error:
        _end(error)
    except Exception as error:
        from pipeline.dagster.outcomes import damaged
        from pipeline.home import unusable

        if ours := damaged(error) or unusable(error):
            _end(ours)
        raise


def _end(error: PrintbridgeError) -> NoReturn:
    kind = type(error).__name__.removesuffix("Error")
    typer.echo(f"{kind}: {error}", err=True)
    if "--json" in sys.argv:  # whoever reads the document reads nothing else
        from pipeline.cli import console

        console.document({"error": kind.lower(), "tried": error.tried, "remedy": error.remedy})
    raise SystemExit(exit_code(error)) from None


def exit_code(error: PrintbridgeError) -> int:
    """The exit code that a failure ends the command with."""
    match error:
        case ConfigError():
            return BAD_USAGE
        case UnsafeError():
            return STOPPED
        case _:
            return FAILED


@app.command()
def init() -> None:
    """Write an example configuration: bridge.toml and, for the secrets, .env; never over existing files."""
    from pipeline.configuration import config_path, write_examples

    config, secrets = write_examples(config_path())
    typer.echo(f"Wrote {config} and {secrets}. Next: fill in both, then run `printbridge doctor`.")


@app.command()
def doctor(site: OneSite = None, *, as_json: AsJson = False) -> None:
    """Check the set-up of PaperCut, Nexudus and this machine; each finding names the screen where it is put right."""
    from pipeline.cli import console
    from pipeline.operations.doctor import examine

    with configured() as sites:
        findings: list[Finding] = []
        for each, working in console.steps(chosen_of(sites, site), lambda each: each.name):
            with working:
                findings += examine(each)
    if as_json:
        console.document({"ok": not any(each.status == "fail" for each in findings), "findings": findings})
    else:
        console.findings(findings)
    raise typer.Exit(FAILED if any(finding.status == "fail" for finding in findings) else DONE)


@app.command()
def plan(site: OneSite = None, *, as_json: AsJson = False) -> None:
    """Show what `run` would change and charge. Nothing is written to Nexudus or PaperCut."""
    from pipeline.cli import console

    with configured() as sites:
        shown = {each.name: console.planned(each, outcome) for each, outcome in run_sites(sites, site, dry_run=True)}
    if as_json:
        console.document({"sites": shown})
    else:
        console.plans(shown)
    raise typer.Exit(worst(shown))


@app.command()
def run(site: OneSite = None, *, as_json: AsJson = False) -> None:
    """Bring every site in step, once: users, credits, charges. A site that fails does not stop the next one."""
    from pipeline.cli import console

    done: dict[str, Document] = {}
    with configured() as sites:
        for each, outcome in run_sites(sites, site, dry_run=False):
            done[each.name] = console.result(sites, outcome)
            if not as_json:
                console.results({each.name: done[each.name]})
    if as_json:
        console.document({"sites": done})
    raise typer.Exit(worst(done))


@app.command()
def dev(port: Annotated[int, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.")] = 3000) -> None:
    """Start Dagster's UI, its daemon and the schedules; on a sandbox if there is no bridge.toml. Ctrl-C ends all."""
    from pipeline.configuration import config_path, load_settings
    from pipeline.dagster.dev import serve
    from pipeline.home import prepared_home

    if not config_path().exists() and "PRINTBRIDGE_CONFIG" not in os.environ:
        from rich.console import Console

        from pipeline.cli.demo import live

        raise typer.Exit(live(Path("demo"), console=Console(), port=port))
    load_settings()
    raise typer.Exit(serve(prepared_home(), port))


@app.command()
def report(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11.")],
    site: OneSite = None,
    form: Annotated[str, typer.Option("--format", help="csv, xlsx or html: which of the files to name.")] = "csv",
    *,
    as_json: AsJson = False,
) -> None:
    """Write the print charges of a month for people, below exports/ in the state folder."""
    from pipeline.cli import console
    from pipeline.dagster.outcomes import run_job
    from pipeline.definitions import build_defs

    if form not in {"csv", "xlsx", "html"}:
        raise typer.BadParameter(f"{form!r} is none of csv, xlsx, html", param_hint="--format")
    with configured() as sites:
        _check_month(sites, month)
        defs = build_defs(sites.settings, sites=sites)
        names = [each.name for each in chosen_of(sites, site)]
        wanted: list[tuple[str, str, str | dict[str, str]]] = [
            (name, "monthly_report", {"site": name, "month": month}) for name in names
        ]
        if site is None and len(names) > 1:
            wanted.append(("all sites", "monthly_report_all", month))
        done: dict[str, Document] = {}
        for (name, job, partition), working in console.steps(wanted, lambda each: each[0]):
            with working:
                outcome = run_job(defs, job, partition, tags=by_hand(name if name in names else None))
            done[name] = console.reported(outcome)
            if not as_json:
                console.report(name, month, form, done[name])
    if as_json:
        console.document({"month": month, "sites": done})
    raise typer.Exit(worst(done))


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(metavar="EMAIL|CUSTOMER|JOB|REF")],
    site: OneSite = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say why a person is or is not in PaperCut, or how a job was charged, from log row to invoice line."""
    from pipeline.cli import console
    from pipeline.operations.explain import stories

    with configured() as sites:
        told = stories(chosen_of(sites, site), subject)
    if as_json:
        console.document({"subject": subject, "stories": told})
    else:
        console.stories(told)


@app.command()
def resume(
    site: Annotated[str, typer.Argument(help="The site.")],
    phase: Annotated[str | None, typer.Argument(help="charges, remove or rename; by default all that stopped.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let go on what a safety gate stopped, after its reason was looked at. It holds for one plan."""
    from pipeline.cli import console
    from pipeline.operations import resume as resumption

    if as_json and not yes:
        raise typer.BadParameter("nobody can be asked with --json; add --yes", param_hint="--json")
    if phase not in (None, *resumption.PHASES):
        raise typer.BadParameter(f"{phase!r} is none of {', '.join(resumption.PHASES)}", param_hint="PHASE")
    with configured() as sites:
        stopped = resumption.stopped(sites[site], phase)
        if not stopped and not as_json:
            typer.echo(f"Site {site} is not stopped{f' for {phase}' if phase else ''}.")
            return
        for name, why in stopped.items():
            typer.echo(f"Site {site} is stopped for {name}: {why}", err=as_json)
        if not yes:
            ask(f"Resume {', '.join(stopped)}?")
        resumption.resume(sites[site], stopped, operator_name())
    if as_json:
        console.document({"site": site, "resumed": stopped})
        return
    typer.echo(f"Resumed {', '.join(stopped)}. The next run goes on; `printbridge run --site {site}` does it now.")


@app.command()
def recover(site: OneSite = None, *, as_json: AsJson = False) -> None:
    """Rebuild the ledger from what Nexudus and PaperCut hold, after the warehouse was lost or restored."""
    from pipeline.cli import console
    from pipeline.operations.recover import recover_site

    said: dict[str, list[str]] = {}
    with configured() as sites:
        for each, working in console.steps(chosen_of(sites, site), lambda each: each.name):
            with working, sites.hold(each.name, wait_seconds=30):
                said[each.name] = recover_site(each, operator_name())
            if not as_json:
                console.lines(f"Site {each.name}", said[each.name])
    if as_json:
        console.document({"sites": said})


@app.command()
def backup(
    restore: Annotated[
        Path | None, typer.Option(help="Put this backup in the place of the warehouse, which is kept beside it.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Copy the warehouse to backups/ in the state folder, and prove the copy by reading it back."""
    from pipeline.cli import console
    from pipeline.store import backup as backups

    with configured() as sites:
        if restore:
            aside = backups.restore(sites.store, restore, sites.names, sites.clock())
            if as_json:
                console.document({"restored": restore, "former": aside})
                return
            typer.echo(f"Restored {restore}; the former warehouse is {aside}. Next: run `printbridge recover`.")
            return
        with console.busy("the warehouse ..."):
            made = backups.back_up(sites.store, sites.home.backups, sites.clock())
    if as_json:
        console.document({"backup": made})
        return
    typer.echo(f"Wrote {made.folder}: {made.tables} tables, {made.rows} rows, read back and compared.")
    if made.removed:
        typer.echo(f"Removed {made.removed} older backups; one for each of 48 hours and 35 days is kept.")


@app.command()
def sandbox(
    world: Annotated[Path, typer.Option(exists=True, dir_okay=False, metavar="FILE.json", help="The world file.")],
    ready_file: Annotated[Path, typer.Option(metavar="READY.json", help="Written when everything answers.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Serve a local Nexudus, PaperCut and ezeep for trials and tests, until Ctrl-C."""
    from pipeline.sandbox.app import serve

    try:
        content = json.loads(world.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{world} is not JSON: {error}", "correct the line named here") from error
    try:
        serve(content, ready_file, port)
    except ValueError as error:
        raise ConfigError(f"{world} holds a world that cannot be: {error}", "correct it in the file") from error
    except OSError as error:
        raise PermanentError(f"The sandbox cannot start: {error}", "use another --port or --ready-file") from error


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where its world and state go.")] = Path("demo"),
    customers: Annotated[int, typer.Option(min=1, help="How many customers the world has.")] = 300,
    *,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Leave the sandbox on until Ctrl-C.")] = False,
) -> None:
    """Show printbridge at work on a sandbox: no account, no server, no set-up needed."""
    from rich.console import Console

    from pipeline.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, console=Console(), customers=customers, keep_running=keep_running))


app.command()(adopt)


def _check_month(sites: Sites, month: str) -> None:
    """Refuse what is no month, or one outside the time since charging began."""
    now = f"{sites.clock():%Y-%m}"
    first = f"{min(site.charge_from for site in sites.settings.sites.values()):%Y-%m}"
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise typer.BadParameter(f"{month!r} is not a month such as {now}", param_hint="MONTH")
    if not first <= month <= now:
        raise typer.BadParameter(f"charging began in {first} and it is {now} now", param_hint="MONTH")


if __name__ == "__main__":
    sys.exit(main())
