"""The printbridge command: what an operator types, what it answers, and with which exit code it ends.

What belongs here: arguments, the order of the steps of a command, exit codes. What does not: the steps themselves, or
how results look (`console.py`). Everything heavy is imported inside the command that needs it: `--help` is fast.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 stopped by a safety gate.
"""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import BridgeError, ConfigError, UnsafeError

if TYPE_CHECKING:
    from pipeline.automation import Outcome
    from pipeline.resources import Bridge

DONE, FAILED, BAD_USAGE, STOPPED = 0, 1, 2, 3

Document = dict[str, Any]

app = typer.Typer(
    help="Keeps PaperCut print users in step with Nexudus customers and turns print jobs into credit use and charges.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
held = typer.Typer(help="Charges that wait for a person: list them, and decide them.", no_args_is_help=True)
app.add_typer(held, name="held")

Site = Annotated[str | None, typer.Option("--site", help="Only this site; by default every site of bridge.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history of the line.")]
Refs = Annotated[list[str], typer.Argument(metavar="REF...", help="References, from `printbridge held list`.")]


def main() -> None:
    """Run the command; a failure with a remedy is said in one sentence on standard error, without a traceback."""
    try:
        app(prog_name="printbridge")
    except BridgeError as error:
        typer.echo(f"{type(error).__name__.removesuffix('Error')}: {error}", err=True)
        raise SystemExit(exit_code(error)) from None


def exit_code(error: BridgeError) -> int:
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
    from pipeline.settings import config_path, write_examples

    config, secrets = write_examples(config_path())
    typer.echo(f"Wrote {config} and {secrets}. Next: fill in both, then run `printbridge doctor`.")


@app.command()
def doctor(site: Site = None, *, as_json: AsJson = False) -> None:
    """Check the set-up of PaperCut, Nexudus and this machine; each finding names the screen where it is put right."""
    from pipeline import console
    from pipeline.doctor import examine

    with _bridge() as bridge:
        findings = [finding for name in _sites(bridge, site) for finding in examine(bridge, name)]
    if as_json:
        console.document({"ok": not any(each.status == "fail" for each in findings), "findings": findings})
    else:
        console.findings(findings)
    raise typer.Exit(FAILED if any(finding.status == "fail" for finding in findings) else DONE)


@app.command()
def plan(site: Site = None, *, as_json: AsJson = False) -> None:
    """Show what `run` would change and charge. Nothing is written to Nexudus or PaperCut."""
    from pipeline import console

    with _bridge() as bridge:
        shown = {
            name: console.planned(bridge, name, outcome) for name, outcome in _run_sites(bridge, site, dry_run=True)
        }
    if as_json:
        console.document({"sites": shown})
    else:
        console.plans(shown)
    raise typer.Exit(_worst(shown))


@app.command()
def run(site: Site = None, *, as_json: AsJson = False) -> None:
    """Bring every site in step, once: users, credits, charges. A site that fails does not stop the next one."""
    from pipeline import console

    done: dict[str, Document] = {}
    with _bridge() as bridge:
        for name, outcome in _run_sites(bridge, site, dry_run=False):
            done[name] = console.result(bridge, outcome)
            if not as_json:
                console.results({name: done[name]})
    if as_json:
        console.document({"sites": done})
    raise typer.Exit(_worst(done))


@app.command()
def dev(port: Annotated[int, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.")] = 3000) -> None:
    """Start Dagster's UI, its daemon and the schedules. Ctrl-C ends all of them."""
    from pipeline.settings import load_settings, prepared_home
    from pipeline.ui import serve

    load_settings()
    raise typer.Exit(serve(prepared_home(), port))


@app.command()
def report(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11.")],
    site: Site = None,
    form: Annotated[str, typer.Option("--format", help="csv, xlsx or html: which of the files to name.")] = "csv",
) -> None:
    """Write the print charges of a month for people, below exports/ in the state folder."""
    from pipeline import console
    from pipeline.automation import run_job
    from pipeline.definitions import build_defs

    if form not in {"csv", "xlsx", "html"}:
        raise typer.BadParameter(f"{form!r} is none of csv, xlsx, html", param_hint="--format")
    with _bridge() as bridge:
        _check_month(bridge, month)
        defs = build_defs(bridge.settings, bridge=bridge)
        done: dict[str, Document] = {}
        for name in _sites(bridge, site):
            outcome = run_job(defs, "monthly_report", {"site": name, "month": month})
            done[name] = console.result(bridge, outcome)
            console.report(name, month, form, outcome)
        if site is None and len(done) > 1:
            outcome = run_job(defs, "monthly_report_all", month)
            done["all sites"] = console.result(bridge, outcome)
            console.report("all sites", month, form, outcome)
    raise typer.Exit(_worst(done))


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(metavar="EMAIL|CUSTOMER|JOB|REF")],
    site: Site = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say why a person is or is not in PaperCut, or how a job was charged, from log row to invoice line."""
    from pipeline import console
    from pipeline.explain import stories

    with _bridge() as bridge:
        told = stories(bridge, subject, _sites(bridge, site))
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
) -> None:
    """Let go on what a safety gate stopped, after its reason was looked at. It holds for one plan."""
    from pipeline import safety

    with _bridge() as bridge:
        bridge.settings.site(site)
        if phase not in (None, *safety.PHASES):
            raise typer.BadParameter(f"{phase!r} is none of {', '.join(safety.PHASES)}", param_hint="PHASE")
        with bridge.warehouse.connect() as con:
            states = safety.states(con, site)
        stopped = {name: why for name, (state, why) in states.items() if state == "stopped" and phase in (None, name)}
        if not stopped:
            typer.echo(f"Site {site} is not stopped{f' for {phase}' if phase else ''}.")
            return
        for name, why in stopped.items():
            typer.echo(f"Site {site} is stopped for {name}: {why}")
        if not yes:
            typer.confirm(f"Resume {', '.join(stopped)}?", abort=True)
        with bridge.warehouse.transaction() as con:
            for name in stopped:
                safety.record(con, site, name, state="resumed", reason=f"resumed by {_operator()}", at=bridge.clock())
    typer.echo(f"Resumed {', '.join(stopped)}. The next run goes on; `printbridge run --site {site}` does it now.")


@app.command()
def recover(site: Site = None) -> None:
    """Rebuild the ledger from what Nexudus and PaperCut hold, after the warehouse was lost or restored."""
    from pipeline import console
    from pipeline.recover import recover_site
    from pipeline.resources import site_lock

    with _bridge() as bridge:
        for name in _sites(bridge, site):
            with site_lock(bridge.home.locks, name, wait_seconds=30):
                console.lines(f"Site {name}", recover_site(bridge, name, _operator()))


@app.command()
def backup(
    restore: Annotated[
        Path | None, typer.Option(help="Put this backup in the place of the warehouse, which is kept beside it.")
    ] = None,
) -> None:
    """Copy the warehouse to backups/ in the state folder, and prove the copy by reading it back."""
    from pipeline import backup as backups

    with _bridge() as bridge:
        if restore:
            aside = backups.restore(bridge.warehouse, restore, bridge.clock())
            typer.echo(f"Restored {restore}; the former warehouse is {aside}. Next: run `printbridge recover`.")
            return
        made = backups.back_up(bridge.warehouse, bridge.home.backups, bridge.clock())
    typer.echo(f"Wrote {made.folder}: {made.tables} tables, {made.rows} rows, read back and compared.")
    if made.removed:
        typer.echo(f"Removed {made.removed} older backups; one for each of 48 hours and 35 days is kept.")


@app.command()
def sandbox(
    world: Annotated[Path, typer.Option(exists=True, dir_okay=False, metavar="FILE.json", help="The world file.")],
    ready_file: Annotated[Path, typer.Option(metavar="READY.json", help="Written when everything answers.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Serve a local Nexudus and PaperCut for trials and tests, until Ctrl-C."""
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
        raise BridgeError(f"The sandbox cannot start: {error}", "use another --port or --ready-file") from error


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where its world and state go.")] = Path("demo"),
    customers: Annotated[int, typer.Option(min=1, help="How many customers the world has.")] = 300,
    *,
    keep_running: Annotated[bool, typer.Option("--keep-running", help="Leave the sandbox on until Ctrl-C.")] = False,
) -> None:
    """Show the whole bridge at work on a sandbox: no account, no server, no set-up needed."""
    from rich.console import Console

    from pipeline.demo import run_demo

    raise typer.Exit(run_demo(folder, console=Console(), customers=customers, keep_running=keep_running))


@held.command("list")
def held_list(site: Site = None, *, as_json: AsJson = False) -> None:
    """List the charges that wait for a person: reference, job, customer, cents, reason and next step."""
    from pipeline import console, ledger

    with _bridge() as bridge, bridge.warehouse.connect() as con:
        lines = [
            line
            for name in _sites(bridge, site)
            for line in ledger.lines_in(con, name, "held").iter_rows(named=True)
        ]  # fmt: skip
    if as_json:
        console.document({"held": lines})
    else:
        console.held(lines)


@held.command("retry")
def held_retry(refs: Refs, reason: Reason) -> None:
    """Let lines be sent by the next run."""
    _decide(refs, "priced", reason, "The next run sends it")


@held.command("void")
def held_void(refs: Refs, reason: Reason) -> None:
    """Waive lines: nothing is charged for them, now or later."""
    _decide(refs, "void", reason, "Nothing is charged for it")


@held.command("confirm")
def held_confirm(
    refs: Refs,
    reason: Reason,
    sale: Annotated[int | None, typer.Option(help="The Nexudus id of the sale; it must agree with the line.")] = None,
) -> None:
    """Take lines as done: a person has seen the charge in Nexudus, or has made it by hand."""
    if sale is not None and len(refs) > 1:
        raise typer.BadParameter("one sale belongs to one line", param_hint="--sale")
    _decide(refs, "confirmed", reason, "It counts as done", sale)


def _decide(refs: list[str], state: str, reason: str, then: str, sale: int | None = None) -> None:
    """Move held lines, all or none, each under the lock of its site."""
    from pipeline.held import decide

    if not reason.strip():
        raise typer.BadParameter("say why in a few words", param_hint="--reason")
    with _bridge() as bridge:
        lines = decide(bridge, refs, state, reason=reason.strip(), operator=_operator(), sale=sale)
    cents = sum(line["amount_cents"] for line in lines)
    typer.echo(f"Now {state}: {', '.join(line['ref'] for line in lines)} ({cents} cents). {then}.")


def _run_sites(bridge: Bridge, site: str | None, *, dry_run: bool) -> Generator[tuple[str, Outcome]]:
    """Run each site through Dagster, one after the other."""
    from pipeline import console
    from pipeline.automation import run_job
    from pipeline.definitions import build_defs

    names = _sites(bridge, site)
    defs = build_defs(bridge.settings, bridge=bridge)
    tags = {"printbridge/dry_run": "true"} if dry_run else {}
    for name in names:
        with console.busy(f"{name} ..."):
            outcome = run_job(defs, "sync_site", name, tags=tags)
        yield name, outcome


def _sites(bridge: Bridge, site: str | None) -> list[str]:
    """The site that was named, once it is known to exist; else all."""
    if site is None:
        return list(bridge.settings.sites)
    bridge.settings.site(site)
    return [site]


def _check_month(bridge: Bridge, month: str) -> None:
    """Refuse what is no month, or one outside the time that the bridge has been at work."""
    now = f"{bridge.clock():%Y-%m}"
    first = f"{min(site.charge_from for site in bridge.settings.sites.values()):%Y-%m}"
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise typer.BadParameter(f"{month!r} is not a month such as {now}", param_hint="MONTH")
    if not first <= month <= now:
        raise typer.BadParameter(f"charging began in {first} and it is {now} now", param_hint="MONTH")


def _worst(sites: Mapping[str, Mapping[str, Any]]) -> int:
    """Failed if a site failed, else stopped if a safety gate stopped one, else done."""
    if all(site["ok"] for site in sites.values()):
        return DONE
    return STOPPED if all(site["ok"] or site["stopped"] for site in sites.values()) else FAILED


def _operator() -> str:
    """Who types, for the histories."""
    return getpass.getuser()


@contextmanager
def _bridge() -> Generator[Bridge]:
    """The configured bridge, its connections given back at the end."""
    from pipeline.resources import Bridge
    from pipeline.settings import load_settings, prepared_home

    bridge = Bridge(load_settings(), prepared_home())
    try:
        yield bridge
    finally:
        bridge.close()


if __name__ == "__main__":
    sys.exit(main())
