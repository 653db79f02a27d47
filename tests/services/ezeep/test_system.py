"""Each change of a user of ezeep on a real organisation: what is called, and what is left alone.

What belongs here: one change at a time. What does not: the runs that plan them (`tests/steps/test_ezeep.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain import tables
from pipeline.errors import ConfigError, UnsafeError
from pipeline.services.ezeep.system import Ezeep, Organisation
from pipeline.services.job_files.ezeep_report import EzeepReport
from pipeline.services.job_files.folder import JobFolder
from pipeline.services.printing import Change, Secrets
from tests.sandbox.test_ezeep import Ezeep as Sandbox
from tests.sandbox.test_ezeep import running_ezeep
from tests.services.ezeep.test_client import client_of

ANNA, BEN, DORA = "anna@example.com", "ben@example.com", "dora@example.com"
WORLD: dict[str, Any] = {
    "clock": "2026-11-10T08:00:00Z",
    "sites": {
        "lisbon": {
            "system": "ezeep", "business_id": 7, "groups": ["staff"],
            "users": [{"email": ANNA, "first_name": "Anna", "last_name": "Ash", "groups": ["staff"]}, {"email": BEN}],
        }
    },
}  # fmt: skip
NOW = datetime(2026, 11, 10, 8, tzinfo=UTC)


@contextmanager
def lisbon(folder: Path, *, disables: bool = False) -> Generator[tuple[Ezeep, Sandbox]]:
    columns = {"user_email": "User", "printed_at": "Date", "pages": "Pages"}
    with running_ezeep(folder, WORLD) as sandbox:
        jobs = JobFolder(Path(sandbox.site["reports_folder"]), layout=EzeepReport(columns, hours=0), timezone="UTC",
                         encoding="utf-8", since=NOW)  # fmt: skip
        organisation = Organisation(sandbox.site["organization_id"], "printbridge", 30, disables=disables, prices=())
        system = Ezeep("lisbon", client_of(sandbox), jobs, organisation, lambda: NOW)
        try:
            yield system, sandbox
        finally:
            system.close()


def change(action: Any, name: str, *fields: str, **values: Any) -> Change:
    given: dict[str, Any] = {
        "new_username": None, "coworker_id": 1, "email": name, "full_name": "Ana Maria Silva", "restricted": False,
        "balance": Decimal(0), "target": None, "reason": "why", **values,
    }  # fmt: skip
    return Change(action=action, username=name, fields=fields, **given)


def done(system: Ezeep, what: Change) -> tuple[str, str]:
    applied = system.apply(what, Secrets())
    return applied.outcome, applied.detail


def test_an_invitation_brings_the_name_and_the_group(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        assert done(system, change("create", DORA)) == ("done", "invited; ezeep sends its own e-mail")
        user = sandbox.user(DORA)
        assert (user["first_name"], user["last_name"], user["groups"]) == ("Ana", "Maria Silva", ["printbridge"])
        (invitation,) = [each for each in system.invitations() if each.email == DORA]
        assert (invitation.state, invitation.expires) == ("open", datetime(2026, 12, 10, 8, tzinfo=UTC))
        assert system.resend(invitation).outcome == "done"
        assert sandbox.state()["mails"][DORA] == 2
        assert "127.0.0.1" in system.host
        assert (system.password_length(), system.ready()) == (None, None)


def test_an_invitation_whose_name_is_refused_is_done_in_part(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        sandbox.fault("PATCH users", "rejected")
        outcome, detail = done(system, change("create", DORA))
        assert (outcome, detail.startswith("invited; ")) == ("partly", True)


def test_an_invitation_that_made_no_user_yet_is_done_in_part(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        sandbox.fault("GET users", "empty_list")
        assert done(system, change("create", DORA)) == (
            "partly", "invited; ezeep shows no user for it yet, so it is in no group",
        )  # fmt: skip
        assert done(system, change("update", DORA, "mark")) == ("done", "changed mark"), "the next run does the rest"
        assert sandbox.user(DORA)["groups"] == ["printbridge"]


def test_what_differs_is_set_and_nothing_else(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        assert done(system, change("update", ANNA, "full_name")) == ("done", "changed full_name")
        assert (sandbox.user(ANNA)["first_name"], sandbox.user(ANNA)["groups"]) == ("Ana", ["staff"])
        done(system, change("update", ANNA, "mark", "restricted"))
        assert sorted(sandbox.user(ANNA)["groups"]) == ["printbridge", "staff"]
        before = sandbox.calls()["PUT printing/users"]
        done(system, change("update", ANNA, "restricted"))
        assert sandbox.calls()["PUT printing/users"] == before, "who is in the group is not put into it again"
        done(system, change("update", ANNA, "restricted", restricted=True))
        assert sandbox.user(ANNA)["groups"] == ["staff"]
        assert done(system, change("update", ANNA, "customer")) == ("done", "changed customer")


def test_a_rename_keeps_the_user(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        before = sandbox.user(ANNA)["id"]
        renamed = change("rename", ANNA, "full_name", new_username="ann@example.com")
        assert done(system, renamed) == ("done", "renamed to ann@example.com")
        assert sandbox.user("ann@example.com")["id"] == before


def test_a_rename_whose_full_name_is_refused_is_done_in_part(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        sandbox.fault("PATCH users", "rejected", after=1)
        outcome, detail = done(system, change("rename", ANNA, "full_name", new_username="ann@example.com"))
        assert outcome == "partly", detail
        assert sandbox.user("ann@example.com")["first_name"] == "Anna"


def test_who_leaves_is_deleted_or_taken_out_of_the_group(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        done(system, change("update", BEN, "mark"))
        assert done(system, change("remove", BEN, delete=False)) == ("done", "taken out of the group: why")
        assert sandbox.user(BEN)["groups"] == []
        assert done(system, change("remove", BEN)) == ("done", "deleted: why")
        assert done(system, change("remove", BEN)) == ("done", "the user was gone already")
        assert {user["email"] for user in sandbox.state()["users"]} == {ANNA}


def test_another_user_under_the_id_that_was_observed_stays(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        system.users(tables.empty("print_users"), lambda _: (), NOW)
        system.client.change_user(sandbox.user(BEN)["id"], {"email": "other@example.com"})
        outcome, detail = done(system, change("remove", BEN))
        assert (outcome, "not the one that was observed" in detail) == ("held", True)
        assert sandbox.user("other@example.com")


@pytest.mark.parametrize("action", ["update", "rename", "remove"])
def test_who_has_no_user_yet_is_held(folder: Path, action: str) -> None:
    with lisbon(folder) as (system, sandbox):
        assert done(system, change(action, DORA, "full_name", new_username="d@example.com"))[0] == "held"
        assert system.mark(DORA, 1).outcome == "held"
        assert not any(call.startswith(("PATCH", "PUT", "DELETE")) for call in sandbox.calls())


def test_a_stranger_is_taken_over_by_the_group_alone(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        assert system.mark(ANNA, 1).outcome == "done"
        user = sandbox.user(ANNA)
        assert (sorted(user["groups"]), user["first_name"]) == (["printbridge", "staff"], "Anna")


def test_two_groups_of_one_name_change_nobody(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        for _ in range(2):
            system.client.make_group("printbridge", sandbox.site["organization_id"])
        with pytest.raises(ConfigError, match="2 groups of the name 'printbridge'"):
            system.users(tables.empty("print_users"), lambda _: (), NOW)


def test_a_list_without_our_group_is_not_believed_while_users_were_in_it(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        done(system, change("update", BEN, "mark"))
        known = system.users(tables.empty("print_users"), lambda _: (), NOW).frame
        sandbox.fault("GET groups", "empty_list")
        with pytest.raises(UnsafeError, match="no group 'printbridge'; 1 user of site lisbon had been in it"):
            system.users(known, lambda _: (), NOW)
        assert system.users(known, lambda _: (), NOW).frame.height == known.height


def test_an_empty_list_of_users_looks_empty_although_somebody_was_invited(folder: Path) -> None:
    with lisbon(folder) as (system, sandbox):
        done(system, change("create", DORA))
        known = system.users(tables.empty("print_users"), lambda _: (), NOW).frame
        sandbox.fault("GET users", "empty_list")
        assert system.users(known, lambda _: (), NOW).frame.is_empty()
