"""One PaperCut site of the sandbox: its server, database, files and the truth behind them.

What belongs here: putting the parts together, and what the control endpoint asks of a site. What does not: HTTP, faults
of the transport, and the rules themselves.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.sandbox import wire
from pipeline.sandbox.core import Core
from pipeline.sandbox.database import READER, Cluster, CountingProxy, Database
from pipeline.sandbox.papercut import system, users
from pipeline.sandbox.papercut.jobs import Jobs, Request
from pipeline.sandbox.papercut.records import Records, User
from pipeline.sandbox.papercut.server import ADDRESSES_KEY, AUTH_KEY, INVENTED_TEXTS, Server, tokens
from pipeline.sandbox.papercut.values import RefusedError, money
from pipeline.sandbox.print_files import PrintFiles

METHOD_MODULES = (users, system)
"""Importing them registers their methods."""

DEFAULTS = {
    ADDRESSES_KEY: "127.0.0.1",
    "internal-users.self-registration.min-password-length": "8",
    "timezone": "UTC",
    "print_log_folder": "",
    "csv_folder": "",
}
"""Configuration that a world file may leave out; the last three keys are the sandbox's own, not PaperCut's."""


class PaperCutSite:
    """A PaperCut server of the sandbox.

    Args:
        core: clock, switches, faults and call counts.
        name: the site's name; the target of its faults and counts.
        world_site: `config`, `users`, `printers` and `jobs` of the world file. Jobs are history: their rows and ledger
            entries exist, and the balances given for the users are those afterwards.
        cluster: the running PostgreSQL server.
        folder: where relative `print_log_folder` and `csv_folder` begin.
    """

    def __init__(self, core: Core, name: str, world_site: dict[str, Any], cluster: Cluster, folder: Path) -> None:
        self.name = name
        self._core = core
        self._world = world_site
        config: dict[str, str] = {key: str(value) for key, value in world_site.get("config", {}).items()}
        config = DEFAULTS | {AUTH_KEY: secrets.token_urlsafe(24)} | config
        self.token = tokens(config[AUTH_KEY])[0]
        self.jobs_uri = ""
        self._cluster = cluster
        self._database = Database(cluster, name)
        self._records = Records(core, self._database, config)
        folders = (str(folder / config[key]) if config[key] else "" for key in ("print_log_folder", "csv_folder"))
        self._jobs = Jobs(self._records, PrintFiles(core, *folders))
        self._server = Server(core, self._records, self._jobs, config)
        self._proxy = CountingProxy(core, name, cluster)

    async def start(self) -> None:
        """Create and fill the database, and listen for its readers."""
        for given in self._world.get("users", []):
            self._records.add_user(given["username"], given)
        for given in self._world.get("printers", []):
            self._records.add_printer(given.get("server", "server"), given.get("name", "printer"), given)
        jobs: list[Request] = self._world.get("jobs", [])
        for shared in {job["shared_account"] for job in jobs if job.get("shared_account")}:
            self._records.add_shared_account(shared)
        self._jobs.load(jobs)
        self._database.start()
        self._database.load()
        await self._proxy.start()
        address = f"{READER}:{quote(self._cluster.password)}@127.0.0.1:{self._proxy.port}"
        self.jobs_uri = f"postgresql+psycopg://{address}/{quote(self._database.name)}"

    async def stop(self) -> None:
        """Close the database's connections; the cluster removes the files."""
        await self._proxy.stop()
        self._database.stop()

    async def rpc(self, body: bytes, client_ip: str) -> bytes:
        """Answer one XML-RPC request; everything it changed is committed before this returns."""
        try:
            call = wire.read_call(body)
        except wire.ParseError as error:
            return wire.fault(f"java.lang.Exception: org.apache.xmlrpc.ParseFailed: {error}")
        try:
            return self._server.answer(call, client_ip)
        finally:
            self._database.flush()

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
        for user in (*self._records.users.values(), *self._records.deleted):
            number, account = {"user_id": user.row["user_id"]}, {"account_id": user.account["account_id"]}
            for table, key in (("tbl_user", number), ("tbl_user_account", number), ("tbl_account", account)):
                self._database.delete(table, key)
            self._database.delete("tbl_account_transaction", account)
        for group in self._records.groups.values():
            group.members.clear()
        for known in (self._records.users, self._records.deleted, self._records.owners, self._records.transactions):
            known.clear()
        for given in users:
            self._records.add_user(given["username"], given)
        self._database.flush()

    def print_job(self, request: Request) -> dict[str, Any]:
        """Print: `Jobs.print`. A request that PaperCut cannot take is answered with `{"error": …}`."""
        return self._control(lambda: self._jobs.print(request))

    def refund(self, request: Request) -> dict[str, Any]:
        """Refund `job_id`, in part when `amount` is given: `Jobs.refund`, or `{"error": …}`."""
        amount = request.get("amount")
        return self._control(
            lambda: self._jobs.refund(int(request.get("job_id", 0)), None if amount is None else money(amount))
        )

    def sign_in(self, username: str, password: str) -> bool:
        """Whether an internal user gets in. A name with `@` never does: PaperCut cuts it there (4.2)."""
        user = self._records.users.get(username.lower().partition("@")[0])
        return bool(user and password and user.password == password)

    def _control(self, action: Any) -> dict[str, Any]:
        try:
            return action()
        except RefusedError as refused:
            return {"error": INVENTED_TEXTS[refused.kind].replace("{name}", refused.name)}
        finally:
            self._database.flush()

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
