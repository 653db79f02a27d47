"""What people do by hand in PaperCut's screens, and what happens to its database: `POST /control/papercut`.

What belongs here: one function for each action. What does not: the rules (`records`, `properties`), jobs (`jobs`),
XML-RPC (`users`, `system`), which counts as a program. Nothing here checks what a form of the screens would.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from pipeline.sandbox.papercut.jobs import Jobs
from pipeline.sandbox.papercut.properties import is_text, set_text, write_property
from pipeline.sandbox.papercut.records import Records
from pipeline.sandbox.papercut.server import Server
from pipeline.sandbox.papercut.values import money

Request = Mapping[str, Any]
ADMIN = "admin"
REDACTED = "Redacted by the system"


class People:
    """The administrators of one site, and its database's keeper."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._records: Records = server.records
        self._jobs: Jobs = server.jobs
        self._kept: dict[str, tuple[int, dict[str, Any]]] = {}

    @property
    def actions(self) -> dict[str, Callable[[Request], dict[str, Any]]]:
        """Each action of the control request by name."""
        return {
            "add_user": self._add_user,
            "set_user": self._set_user,
            "rename_user": self._rename_user,
            "delete_user": self._delete_user,
            "adjust_balance": self._adjust_balance,
            "anonymize": self._anonymize,
            "personal_accounts": self._personal_accounts,
            "set_config": self._set_config,
            "next_ids": self._next_ids,
            "snapshot": self._snapshot,
            "restore": self._restore,
        }

    def act(self, request: Request) -> dict[str, Any]:
        """Do what `action` says.

        Args:
            request: `action`, and
                add_user: the fields of a user in a world file;
                set_user: `username`, `set` {property: value} (texts as they are given; `balance`, `restricted`,
                    `password`, `pin` and every other property of PaperCut);
                rename_user: `username`, `new_name`;
                delete_user: `username`, `redact` (true: the personal fields are emptied);
                adjust_balance: `username`, `amount`, `comment`;
                anonymize: jobs that were printed before `before` (ISO; left out: all) go to the user `name`
                    (`anonymous`) and lose what identifies their document (`document`: what it is called then; the
                    switch `anonymize_jobs` does it to every new job);
                personal_accounts: `types` (["USER-001"]): the accounts that every user has from now on, and new ones;
                set_config: `set` {key: value}, for example the minimum length of passwords;
                next_ids: the next id of `job`, `user`, `account`, `printer`, `group` or `transaction`;
                snapshot: keep the database as it is now as `name`;
                restore: put the database back as it was at the snapshot `name`; ids are then given out again.

        Raises:
            RefusedError: PaperCut cannot take a value.
            ValueError, LookupError, TypeError: the request makes no sense.
        """
        name = str(request.get("action"))
        if name not in self.actions:
            message = f"unknown action {name!r}; known: {', '.join(self.actions)}"
            raise ValueError(message)
        return self.actions[name](request)

    # Users --------------------------------------------------------------------------------------------------------

    def _add_user(self, request: Request) -> dict[str, Any]:
        user = self._records.add_user(str(request["username"]), dict(request))
        return {"username": user.name}

    def _set_user(self, request: Request) -> dict[str, Any]:
        user = self._records.user(str(request["username"]))
        for name, value in cast("dict[str, Any]", request["set"]).items():
            if is_text(name):
                set_text(self._server, user, name, str(value))
            else:
                write_property(self._server, user, name, str(value))
        return {"username": user.name}

    def _rename_user(self, request: Request) -> dict[str, Any]:
        user = self._records.user(str(request["username"]))
        self._records.rename_user(user, str(request["new_name"]))
        return {"username": user.name}

    def _delete_user(self, request: Request) -> dict[str, Any]:
        user = self._records.user(str(request["username"]))
        self._records.delete_user(user, redact=bool(request.get("redact")))
        return {"username": user.name}

    def _adjust_balance(self, request: Request) -> dict[str, Any]:
        account = self._records.user(str(request["username"])).account
        self._records.post(account, money(request["amount"]), str(request.get("comment", "")), by=ADMIN)
        return {"balance": float(account["balance"])}

    def _personal_accounts(self, request: Request) -> dict[str, Any]:
        kinds = [str(kind).upper() for kind in request["types"]]
        if not kinds or not all(kind.startswith("USER") for kind in kinds):
            message = "types of personal accounts are USER, USER-001, USER-002 ..."
            raise ValueError(message)
        before, self._records.personal = self._records.personal, kinds
        self._records.undo.add(lambda: setattr(self._records, "personal", before))
        for name in list(self._records.users):
            self._records.give_accounts(self._records.user(name), kinds)
        return {"types": kinds, "users": len(self._records.users)}

    # The server ---------------------------------------------------------------------------------------------------

    def _set_config(self, request: Request) -> dict[str, Any]:
        self._records.undo.keep(self._server.config)
        self._server.config.update({str(key): str(value) for key, value in request["set"].items()})
        return {"set": len(request["set"])}

    def _anonymize(self, request: Request) -> dict[str, Any]:
        before = datetime.fromisoformat(str(request["before"])) if request.get("before") else None
        if before and before.tzinfo is None:
            before = before.replace(tzinfo=self._records.zone)
        name = str(request.get("name", "anonymous")).lower()
        chosen = [job for job in self._jobs.all.values() if before is None or job.at < before]
        for job in chosen:
            self._jobs.anonymize(job, str(request.get("document", REDACTED)), name)
        return {"jobs": len(chosen)}

    def _next_ids(self, request: Request) -> dict[str, Any]:
        for kind in self._records.ids.keys() & request.keys():
            self._records.undo.keep(self._records.ids)
            self._records.ids[kind] = int(request[kind])
        if "job" in request:
            before, self._jobs.last = self._jobs.last, int(request["job"]) - 1
            self._jobs.records.undo.add(lambda: setattr(self._jobs, "last", before))
        return {**self._records.ids, "job": self._jobs.last + 1}

    # The database -------------------------------------------------------------------------------------------------

    def _snapshot(self, request: Request) -> dict[str, Any]:
        name, number = str(request.get("name", "")), len(self._kept) + 1
        if name in self._kept:
            message = f"there is a snapshot {name!r} already"
            raise ValueError(message)
        self._records.database.flush()
        self._records.database.snapshot(number)
        self._kept[name] = (number, copy.deepcopy(self._memory()))
        return {"snapshot": name}

    def _restore(self, request: Request) -> dict[str, Any]:
        name = str(request.get("name", ""))
        if name not in self._kept:
            message = f"unknown snapshot {name!r}; known: {', '.join(self._kept)}"
            raise ValueError(message)
        number, memory = self._kept[name]
        self._records.database.flush()
        self._records.database.restore(number)
        for owner, values in copy.deepcopy(memory).items():
            part = {"records": self._records, "jobs": self._jobs}[owner]
            for attribute, value in values.items():
                setattr(part, attribute, value)
        self._server.config.update(self._records.config)
        self._records.config = self._server.config
        return {"restored": name}

    def _memory(self) -> dict[str, dict[str, Any]]:
        """Everything that the database holds, as memory has it; copied as one, so that what is shared stays shared."""
        records = (
            "users", "deleted", "shared", "printers", "groups", "transactions", "owners", "history", "ids", "personal",
            "config",
        )  # fmt: skip
        return {
            "records": {name: getattr(self._records, name) for name in records},
            "jobs": {name: getattr(self._jobs, name) for name in ("all", "last")},
        }
