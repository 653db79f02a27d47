"""Commands about what a site is: another name in bridge.toml, print jobs that are numbered anew.

What belongs here: arguments and answers. What does not: what is changed (`pipeline.operations.site`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.common import AsJson, ask, configured, operator_name

site = typer.Typer(help="What a site is: its name, the numbers of its print jobs.", no_args_is_help=True)


@site.command("rename")
def site_rename(
    old: Annotated[str, typer.Argument(help="The name it had.")],
    new: Annotated[str, typer.Argument(help="The name of its section in bridge.toml now.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Let a site that has another name in bridge.toml be the one it was: its charges, users and references stay."""
    from pipeline.cli import console
    from pipeline.operations.site import rename

    with configured() as sites:
        rename(sites, old, new, operator_name())
    if as_json:
        console.document({"old": old, "new": new})
        return
    typer.echo(f"Site {old} is called {new} now. Start `printbridge dev` anew, or run `printbridge run --site {new}`.")


@site.command("renumber")
def site_renumber(
    name: Annotated[str, typer.Argument(metavar="SITE", help="The site.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give the print jobs of a site names of their own, after its PaperCut database was replaced or restored.

    Jobs that have the number of another job from now on are told apart from it, and charged.
    """
    from pipeline.cli import console
    from pipeline.operations.site import renumber

    if as_json and not yes:
        raise typer.BadParameter("nobody can be asked with --json; add --yes", param_hint="--json")
    with configured() as sites:
        each = sites[name]
        if not yes:
            ask(f"Was the PaperCut database of {each.name} replaced or restored?")
        renumber(each, operator_name())
    if as_json:
        console.document({"site": name})
        return
    typer.echo(f"The jobs of {name} are numbered anew. The next run reads the log from charge_from on.")
