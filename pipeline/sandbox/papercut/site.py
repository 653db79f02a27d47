"""One PaperCut site of the sandbox: its server, database, files and the truth behind them.

What belongs here: putting the parts together, and what the control endpoint asks of a site. What does not: HTTP, faults
of the transport, and the rules themselves.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.sandbox import wire
from pipeline.sandbox.columns import OutOfRangeError
from pipeline.sandbox.core import Core
from pipeline.sandbox.database import READER, Cluster, CountingProxy, Database
from pipeline.sandbox.papercut import system, users
from pipeline.sandbox.papercut.jobs import Jobs, Request
from pipeline.sandbox.papercut.people import People
from pipeline.sandbox.papercut.records import Records, User
from pipeline.sandbox.papercut.refunds import refund
from pipeline.sandbox.papercut.rows import SERVER_UUID
from pipeline.sandbox.papercut.server import ADDRESSES_KEY, AUTH_KEY, Server, tokens
from pipeline.sandbox.papercut.values import RefusedError
from pipeline.sandbox.print_files import PrintFiles
from pipeline.sandbox.switches import FAULT_TEXTS

METHOD_MODULES = (users, system)
"""Importing them registers their methods."""

DEFAULTS = {
    ADDRESSES_KEY: "127.0.0.1",
    "internal-users.self-registration.min-password-length": "8",
    "timezone": "UTC",
    "print_log_folder": "",
    "csv_folder": "",
}
"""Configuration that a world file may leave out. The last three keys are the sandbox's own, not PaperCut's, as is
`server_uuid`: the identity of the server, which `tbl_printer.server_uuid` shows; by default a new one."""


class PaperCutSite:
    """A PaperCut server of the sandbox.

    Args:
        core: clock, switches, faults and call counts.
        name: the site's name; the target of its faults and counts.
        world_site: `config`, `users`, `printers` and `jobs` of the world file. Jobs are history: their rows and ledger
            entries exist, and the balances given for the users are those afterwards. `personal_accounts` (["USER-001"])
            are the types of every user's accounts, `first_ids` ({"job": 500}) where the ids of later rows begin.
        cluster: the running PostgreSQL server.
        folder: where relative `print_log_folder` and `csv_folder` begin.
    """

    def __init__(self, core: Core, name: str, world_site: dict[str, Any], cluster: Cluster, folder: Path) -> None:
        self.name = name
        self._core = core
        self._world = world_site
        config: dict[str, str] = {key: str(value) for key, value in world_site.get("config", {}).items()}
        config = DEFAULTS | {AUTH_KEY: secrets.token_urlsafe(24), SERVER_UUID: str(uuid.uuid4())} | config
        self.token = tokens(config[AUTH_KEY])[0]
        self.jobs_uri = ""
        self._cluster = cluster
        self._database = Database(cluster, name)
        self._records = Records(core, self._database, config)
        folders = (str(folder / config[key]) if config[key] else "" for key in ("print_log_folder", "csv_folder"))
        self._files = PrintFiles(core, *folders)
        self._jobs = Jobs(self._records, self._files)
        self.unit = self._jobs.unit
        self._server = Server(core, self._records, self._jobs, config)
        self._people = People(self._server)
        self._proxy = CountingProxy(core, name, cluster)

    async def start(self) -> None:
        """Create and fill the database, and listen for its readers."""
        self._records.personal = list(self._world.get("personal_accounts", self._records.personal))
        for given in self._world.get("users", []):
            self._records.add_user(given["username"], given)
        for given in self._world.get("printers", []):
            self._records.add_printer(given.get("server", "server"), given.get("name", "printer"), given)
        self._people.act({"action": "next_ids", **self._world.get("first_ids", {})})
        jobs: list[Request] = self._world.get("jobs", [])
        for shared in {job["shared_account"] for job in jobs if job.get("shared_account")}:
            self._records.add_shared_account(shared)
        self._jobs.load(jobs)
        self._database.start()
        self._database.load()
        await self._proxy.start()
        address = f"{READER}:{quote(self._cluster.password)}@127.0.0.1:{self._proxy.port}"
        self.jobs_uri = f"postgresql+psycopg://{address}/{quote(self._database.name)}"

    @property
    def deeds(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """What `/control` can ask of such a site only."""
        return {"papercut": self.act, "export": self.export}

    def ready(self, address: str) -> dict[str, Any]:
        """The site's entry in the ready file."""
        return {
            "papercut_url": f"{address}/sites/{self.name}/rpc/api/xmlrpc",
            "token": self.token,
            "jobs_uri": self.jobs_uri,
        }

    async def stop(self) -> None:
        """Close the database's connections; the cluster removes the files."""
        await self._proxy.stop()
        self._database.stop()

    async def rpc(self, body: bytes, client_ip: str) -> bytes:
        """Answer one XML-RPC request; everything it changed is committed before this returns, or nothing is changed.

        Raises:
            wire.ParseError: the request is not XML-RPC, for which the library has no answer.
        """
        call = wire.read_call(body, minml=self._core.switch("xml_reader", "strict") == "minml")
        return self._server.answer(call, client_ip)

    def state(self) -> dict[str, Any]:
        """The site's truth, in the shape of `GET /state`. Passwords and PINs are visible here only."""
        return {
            "users": [self._user_state(user) for _, user in sorted(self._records.users.items())],
            "transactions": [
                {
                    "username": owner.name if (owner := self._records.owners.get(row["account_id"])) else "",
                    "amount": float(row["amount"]),
                    "balance": float(row["balance"]),
                    "comment": row["txn_comment"],
                    "at": at.isoformat(),
                }
                for row, at in self._records.transactions
            ],
            "jobs": [job.state() for _, job in sorted(self._jobs.all.items())],
        }

    def restore(self, users: list[dict[str, Any]]) -> None:
        """Put users, as in a world file, in place of all users.

        Raises:
            ValueError: there are print jobs, which would be nobody's.
        """
        if self._jobs.all:
            message = f"site {self.name} has print jobs, so its users cannot be replaced"
            raise ValueError(message)
        with self.unit:
            self._replace_users(users)

    def _replace_users(self, users: list[dict[str, Any]]) -> None:
        records = self._records
        for user in (*records.users.values(), *records.deleted):
            number = {"user_id": user.row["user_id"]}
            self._database.delete("tbl_user", number)
            self._database.delete("tbl_user_account", number)
            for row in (user.account, *user.others.values()):
                account = {"account_id": row["account_id"]}
                self._database.delete("tbl_account", account)
                self._database.delete("tbl_account_transaction", account)
        records.undo.keep(records.users, records.owners, *(group.members for group in records.groups.values()))
        deleted, transactions = list(records.deleted), list(records.transactions)
        records.undo.add(lambda: (records.deleted.extend(deleted), records.transactions.extend(transactions)))
        for group in records.groups.values():
            group.members.clear()
        for known in (records.users, records.deleted, records.owners, records.transactions):
            known.clear()
        for given in users:
            records.add_user(given["username"], given)

    def print_job(self, request: Request) -> dict[str, Any]:
        """Print: `Jobs.print`. A request that PaperCut cannot take is answered with `{"error": …}`."""
        return self._control(lambda: self._jobs.print(request))

    def refund(self, request: Request) -> dict[str, Any]:
        """Refund `job_id`, in part when `amount` is given, in a `form`: `refunds.refund`, or `{"error": …}`."""
        return self._control(lambda: refund(self._jobs, dict(request)))

    def act(self, request: Request) -> dict[str, Any]:
        """What somebody does by hand: `People.act`, or `{"error": …}`."""
        return self._control(lambda: self._people.act(request))

    def export(self, request: Request) -> dict[str, Any]:
        """Write the print files once more: `PrintFiles.export`."""
        return self._files.export(request)

    def sign_in(self, username: str, password: str) -> bool:
        """Whether an internal user gets in. A name with `@` never does: PaperCut cuts it there (4.2)."""
        user = self._records.users.get(username.lower().partition("@")[0])
        return bool(user and password and user.password == password)

    def _control(self, action: Any) -> dict[str, Any]:
        try:
            with self.unit:
                return action()
        except RefusedError as refused:
            return {"error": FAULT_TEXTS[refused.kind].replace("{name}", refused.name)}
        except OutOfRangeError as error:
            return {"error": FAULT_TEXTS["bad_value"].replace("{name}", str(error))}

    def _user_state(self, user: User) -> dict[str, Any]:
        return {
            "username": user.name,
            "full_name": user.row["full_name"],
            "email": user.row["email"],
            "balance": float(user.account["balance"]),
            "restricted": user.account["restricted"] == "Y",
            "disabled_print": self._records.disabled(user),
            "internal": user.row["internal"] == "Y",
            "notes": user.row["notes"],
            "password": user.password,
            "pin": user.pin,
            "card_number": user.row["card_number"],
        }
