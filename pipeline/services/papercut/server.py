"""The server of PaperCut's database: one kept read-only connection, time limits, and what a failure means.

What belongs here: everything that differs between PostgreSQL, MySQL and MariaDB, SQL Server and Oracle. What does not:
the queries (`database.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, NoSuchTableError, ProgrammingError

from pipeline.errors import ConfigError, PrintbridgeError, TransientError

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10

T = TypeVar("T")


class Server:
    """Answers questions, each in a read-only transaction of its own."""

    def __init__(self, uri: str, *, uri_env: str, tables: Sequence[sa.TableClause]) -> None:
        """Prepare, without connecting.

        Args:
            uri: a SQLAlchemy address.
            uri_env: the name of the variable it came from, for messages.
            tables: what the questions read, for messages.

        Raises:
            ConfigError: the address cannot be understood or its driver is not installed.
        """
        self._uri_env = uri_env
        self._tables = tables
        self.engine = _engine(uri, uri_env)

    def ask(self, question: Callable[[sa.Connection], T]) -> T:
        """The answer to a question; a kept connection that died meanwhile is replaced once.

        Raises:
            TransientError: the server cannot be reached or did not answer in time.
            ConfigError: it refuses the user, or is not a PaperCut database of a known schema.
        """
        try:
            try:
                with self.engine.connect() as connection:
                    return question(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                with self.engine.connect() as connection:
                    return question(connection)
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: DBAPIError) -> PrintbridgeError:
        """What a failed connection or query means; the one predicate of this module."""
        url = self.engine.url
        port = f":{url.port}" if url.port else ""
        place = f"The PaperCut database {url.database!r} at {url.host or url.query.get('host', 'localhost')}{port}"
        text = " ".join(str(error.orig).split())
        if url.password:
            text = text.replace(str(url.password), "***")
        if _is_refused(error, text):
            return ConfigError(
                f"{place} refused the sign-in or the access: {text}",
                f"correct user, password and database name in {self._uri_env}, and grant that user SELECT on "
                + ", ".join(table.name for table in self._tables),
            )
        missing = _missing(self.engine, self._tables) if error.statement and not error.connection_invalidated else []
        if missing:
            return ConfigError(
                f"{place} has no {', no '.join(missing)}",
                f"check that {self._uri_env} names the database of PaperCut NG/MF 21 or 22 and that its user may read "
                "these tables; a newer PaperCut may have changed its schema",
            )
        if isinstance(error, ProgrammingError):
            return ConfigError(
                f"{place} did not understand the query: {text}", "report this with the version of PaperCut"
            )
        return TransientError(
            f"{place} did not answer: {text}",
            f"check that the server runs and can be reached from here, and the address in {self._uri_env}; "
            "the next run tries again",
        )


def _engine(uri: str, uri_env: str) -> sa.Engine:
    try:
        url = sa.make_url(uri)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{uri_env} does not hold a database address",
            "write it as postgresql+psycopg://user:password@host/database (or mysql+pymysql, mssql+pymssql, "
            "oracle+oracledb), with special characters of the password in %-code",
        ) from None
    try:
        engine = sa.create_engine(url, pool_size=1, max_overflow=1, hide_parameters=True, **_options(url))
    except (ModuleNotFoundError, NoSuchModuleError):
        backend = url.get_backend_name()
        extra = {"mssql": "mssql", "oracle": "oracle"}.get(backend)
        remedy = f"run `pip install 'printbridge[{extra}]'` and " if extra else ""
        raise ConfigError(
            f"{uri_env} asks for the database driver {url.drivername!r}, which is not installed",
            f"{remedy}begin the address with postgresql+psycopg, mysql+pymysql, mssql+pymssql or oracle+oracledb",
        ) from None
    if url.get_backend_name() == "oracle":
        event.listen(engine, "connect", _limit_oracle)
    return engine


def _options(url: sa.URL) -> dict[str, Any]:
    """Time limits and read-only sessions, in the words of each driver."""
    match url.get_backend_name():
        case "postgresql":
            limits = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS}s"
            options = f"{url.query.get('options', '')} {limits}".strip()
            # Keep-alives end the wait for a machine that vanished in the middle of a query.
            alive = {"keepalives_idle": CONNECT_SECONDS, "keepalives_interval": 2, "keepalives_count": 3}
            connect = {"connect_timeout": CONNECT_SECONDS, "options": options, **alive}
            return {"connect_args": connect, "use_native_hstore": False}  # else each connection asks for that type
        case "mysql" | "mariadb":
            limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": STATEMENT_SECONDS}
            return {"connect_args": {**limits, "init_command": "SET SESSION TRANSACTION READ ONLY"}}
        case "mssql":
            limits = {"login_timeout": CONNECT_SECONDS, "timeout": STATEMENT_SECONDS}
            return {"connect_args": {**limits, "read_only": True}}
        case "oracle":
            return {"connect_args": {"tcp_connect_timeout": CONNECT_SECONDS}}
        case _:
            return {}


def _limit_oracle(connection: Any, _record: object) -> None:
    connection.call_timeout = STATEMENT_SECONDS * 1000


def _is_refused(error: DBAPIError, text: str) -> bool:
    """Whether the server knows us too little: wrong user, password or database, or a missing grant."""
    numbers = error.orig.args[:1] if error.orig else ()
    codes = {str(code) for code in (getattr(error.orig, "sqlstate", None), *numbers)}
    known = {
        "28P01", "28000", "3D000", "42501",  # PostgreSQL
        "1044", "1045", "1049", "1142", "1143",  # MySQL, MariaDB
        "18456", "4060", "229",  # SQL Server
    }  # fmt: skip
    # psycopg gives no code while connecting, and oracledb only in the text.
    signs = ("password authentication failed", "no pg_hba.conf entry", "no password supplied", "ORA-01017", "ORA-01031")
    unknown = "FATAL:" in text and "does not exist" in text
    return bool(codes & known) or unknown or any(sign in text for sign in signs)


def _missing(engine: sa.Engine, tables: Sequence[sa.TableClause]) -> list[str]:
    """Tables and columns of PaperCut's schema that this database lacks; empty if it cannot be asked."""
    lacking: list[str] = []
    try:
        inspector = sa.inspect(engine)
        for table in tables:
            try:
                present = {column["name"].lower() for column in inspector.get_columns(table.name)}
            except NoSuchTableError:
                lacking.append(f"table {table.name}")
                continue
            lacking += [f"column {table.name}.{column.name}" for column in table.c if column.name not in present]
    except DBAPIError:
        return []
    return lacking
