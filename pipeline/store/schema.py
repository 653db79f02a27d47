"""Which tables the warehouse has, in which version, and the numbered steps from one version to the next.

What belongs here: the books, the definition of the replaceable tables from their contracts, migration. What does not:
what the rows mean (`pipeline.domain.tables`), and who writes them.

Books (`BOOKS`) are only appended: no statement of this project updates or deletes a row of money or ownership. Their
keys are inline, because a secondary unique index stopped being unique after a kill (`money-safety.md` 0.5). Of
`memory` housekeeping removes what a newer value has followed. Tables are replaced whole, for a site or for all; but two
of them, `print_jobs` and `print_user_sync`, are only appended as well (docs/adr/0012-books-and-tables.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline.domain import tables
from pipeline.errors import PermanentError
from pipeline.store.export import proven_export
from pipeline.store.sql import Connection

VERSION = 6

BOOKS = {
    "charge": """
        ref VARCHAR PRIMARY KEY, site VARCHAR NOT NULL, job_id VARCHAR NOT NULL, revision BIGINT NOT NULL,
        kind VARCHAR NOT NULL, seq BIGINT NOT NULL, printed_at TIMESTAMPTZ NOT NULL, username VARCHAR NOT NULL,
        email_key VARCHAR, coworker_id BIGINT, credit_id BIGINT, amount_cents BIGINT NOT NULL, undoes VARCHAR,
        rule VARCHAR NOT NULL, product_id BIGINT, credit_coworker_id BIGINT""",
    "charge_event": """
        ref VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL,
        run_id VARCHAR NOT NULL, actor VARCHAR NOT NULL, remote_id BIGINT, detail VARCHAR NOT NULL,
        PRIMARY KEY (ref, n)""",
    "ownership_event": """
        site VARCHAR NOT NULL, username VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, coworker_id BIGINT, email_key VARCHAR, access VARCHAR, pin_digest VARCHAR,
        card_digest VARCHAR, without_credit_since TIMESTAMPTZ, reason VARCHAR NOT NULL, password_length BIGINT,
        PRIMARY KEY (site, username, n)""",
    "stop_event": """
        site VARCHAR NOT NULL, phase VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, reason VARCHAR NOT NULL, plan VARCHAR, size BIGINT,
        PRIMARY KEY (site, phase, n)""",
    "access_event": """
        site VARCHAR NOT NULL, email_key VARCHAR NOT NULL, n BIGINT NOT NULL, coworker_id BIGINT NOT NULL,
        free BOOLEAN NOT NULL, pay BOOLEAN NOT NULL, held_from TIMESTAMPTZ NOT NULL, recorded_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (site, email_key, n)""",
    "sharing_event": """
        site VARCHAR NOT NULL, coworker_id BIGINT NOT NULL, n BIGINT NOT NULL, payers VARCHAR NOT NULL,
        held_from TIMESTAMPTZ NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (site, coworker_id, n)""",
    "rules_event": """
        site VARCHAR NOT NULL, n BIGINT NOT NULL, rules VARCHAR NOT NULL, held_from TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (site, n)""",
    "site_event": """
        site VARCHAR NOT NULL, n BIGINT NOT NULL, name VARCHAR NOT NULL, code VARCHAR NOT NULL, epoch BIGINT NOT NULL,
        business_id BIGINT NOT NULL, server VARCHAR NOT NULL, source VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, reason VARCHAR NOT NULL, PRIMARY KEY (site, n)""",
    "assignment_event": """
        site VARCHAR NOT NULL, job_id VARCHAR NOT NULL, n BIGINT NOT NULL, coworker_id BIGINT,
        operator VARCHAR NOT NULL, reason VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (site, job_id, n)""",
    "default_event": """
        coworker_id BIGINT NOT NULL, flag VARCHAR NOT NULL, n BIGINT NOT NULL, applies BOOLEAN NOT NULL,
        operator VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (coworker_id, flag, n)""",
    "grant_event": """
        credit_id BIGINT NOT NULL, n BIGINT NOT NULL, coworker_id BIGINT NOT NULL, total_uses BIGINT NOT NULL,
        remaining_uses BIGINT NOT NULL, used_cents BIGINT NOT NULL, valid_from TIMESTAMPTZ, expires_at TIMESTAMPTZ,
        unexplained_cents BIGINT NOT NULL, day DATE, happened_at TIMESTAMPTZ NOT NULL, actor VARCHAR NOT NULL,
        reason VARCHAR NOT NULL, PRIMARY KEY (credit_id, n)""",
    "acceptance_event": """
        site VARCHAR NOT NULL, day DATE NOT NULL, job_id VARCHAR NOT NULL, n BIGINT NOT NULL, cents BIGINT NOT NULL,
        operator VARCHAR NOT NULL, reason VARCHAR NOT NULL, happened_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (site, day, job_id, n)""",
    "invitation_event": """
        site VARCHAR NOT NULL, coworker_id BIGINT NOT NULL, n BIGINT NOT NULL, operator VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (site, coworker_id, n)""",
    "return_event": """
        site VARCHAR NOT NULL, row_id VARCHAR NOT NULL, n BIGINT NOT NULL, state VARCHAR NOT NULL,
        stamped_at TIMESTAMPTZ NOT NULL, username VARCHAR NOT NULL, printer VARCHAR NOT NULL, pages BIGINT NOT NULL,
        job_id VARCHAR, prints VARCHAR NOT NULL, operator VARCHAR NOT NULL, reason VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (site, row_id, n)""",
    "memory": """
        site VARCHAR NOT NULL, name VARCHAR NOT NULL, n BIGINT NOT NULL, value VARCHAR NOT NULL,
        happened_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (site, name, n)""",
}
"""What is only appended, with its columns."""

_SQL_TYPES: dict[Any, str] = {
    pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.Boolean: "BOOLEAN", pl.Date: "DATE",
    pl.Datetime: "TIMESTAMPTZ", pl.Decimal: "DECIMAL(18,6)",
}  # fmt: skip

STEPS: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE papercut_users RENAME TO print_users",
        "ALTER TABLE papercut_print_jobs RENAME TO print_jobs",
        "ALTER TABLE papercut_user_sync RENAME TO print_user_sync",
        "ALTER TABLE reconciliation RENAME COLUMN papercut_cents TO printed_cents",
        f"CREATE TABLE stop_event ({BOOKS['stop_event']})",
        # The rows of a phase are counted in the order of their insertion, which in one file is that of the row ids.
        """INSERT INTO stop_event BY NAME
           SELECT site, phase, row_number() OVER (PARTITION BY site, phase ORDER BY rowid) - 1 AS n, state, happened_at,
                  reason FROM safety_event""",
        "DROP TABLE safety_event",
        f"CREATE TABLE memory ({BOOKS['memory']})",
        "INSERT INTO memory SELECT site, name, 0, value, happened_at FROM bookmark",
        "DROP TABLE bookmark",
        "ALTER TABLE print_jobs ADD COLUMN twin VARCHAR",
        "ALTER TABLE charge ADD COLUMN product_id BIGINT",
        "ALTER TABLE print_charges ADD COLUMN product_id BIGINT",
        f"CREATE TABLE access_event ({BOOKS['access_event']})",
        f"CREATE TABLE rules_event ({BOOKS['rules_event']})",
        f"CREATE TABLE site_event ({BOOKS['site_event']})",
        f"CREATE TABLE assignment_event ({BOOKS['assignment_event']})",
        f"CREATE TABLE default_event ({BOOKS['default_event']})",
        "ALTER TABLE ownership_event ADD COLUMN password_length BIGINT",
        "ALTER TABLE user_sync_plan ADD COLUMN code VARCHAR",
        "ALTER TABLE print_user_sync ADD COLUMN changes VARCHAR DEFAULT ''",
    ),
    3: (
        "ALTER TABLE print_users ADD COLUMN expected DECIMAL(18,6)",
        "ALTER TABLE print_users ADD COLUMN fell_at TIMESTAMPTZ",
        "ALTER TABLE user_sync_plan ADD COLUMN ask VARCHAR",
        "ALTER TABLE print_user_sync ADD COLUMN balance DECIMAL(18,6)",
        "ALTER TABLE print_user_sync ADD COLUMN target DECIMAL(18,6)",
        "ALTER TABLE print_user_sync ADD COLUMN ask VARCHAR",
        f"CREATE TABLE grant_event ({BOOKS['grant_event']})",
        """CREATE TABLE nexudus_teams (
            team_id BIGINT, name VARCHAR, business_id BIGINT, payer_id BIGINT, shares BOOLEAN, combines BOOLEAN,
            members VARCHAR, updated_on TIMESTAMPTZ, read_at TIMESTAMPTZ)""",
        f"CREATE TABLE sharing_event ({BOOKS['sharing_event']})",
        "ALTER TABLE print_accounts ADD COLUMN shared_credits BIGINT DEFAULT 0",
        "ALTER TABLE charge ADD COLUMN credit_coworker_id BIGINT",
        "ALTER TABLE print_charges ADD COLUMN credit_coworker_id BIGINT",
    ),
    4: (f"CREATE TABLE acceptance_event ({BOOKS['acceptance_event']})",),
    5: (
        f"CREATE TABLE invitation_event ({BOOKS['invitation_event']})",
        "ALTER TABLE print_jobs ADD COLUMN paper VARCHAR",
        "ALTER TABLE print_users ADD COLUMN remote_id VARCHAR",
        "ALTER TABLE nexudus_customers ADD COLUMN ezeep_blue BOOLEAN",
        "ALTER TABLE nexudus_customers ADD COLUMN ezeep_blue_free BOOLEAN",
        "ALTER TABLE nexudus_customers ADD COLUMN ezeep BOOLEAN",
        "ALTER TABLE nexudus_customers ADD COLUMN ezeep_free BOOLEAN",
    ),
    6: (
        f"CREATE TABLE return_event ({BOOKS['return_event']})",
        "ALTER TABLE print_jobs ADD COLUMN lacked_by VARCHAR",
    ),
}
"""For each version the statements that lead to it from the one before. A step that has landed is never changed."""


def ensure(con: Connection, backups: Path | None = None) -> None:
    """Make the tables of an empty file, or bring an older file to this version, with a backup of it made first.

    Args:
        con: an open connection, outside a transaction.
        backups: the folder of the backups; without one, an older file is migrated without a backup.

    Raises:
        PermanentError: the file has no version, or one that this program does not know.
    """
    version = _version(con)
    if version == VERSION:
        return
    if version is None and not con.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        con.begin()
        for table, columns in BOOKS.items():
            con.execute(f"CREATE TABLE {table} ({columns})")
        for table in tables.TABLES:
            con.execute(_definition(table))
        con.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
        con.execute("INSERT INTO schema_version VALUES (?)", [VERSION])
        con.commit()
        return
    if version is None or version > VERSION:
        raise PermanentError(
            f"The warehouse has version {version or 'none'}, this program needs {VERSION}",
            "use the program version that made the file, or restore a backup made by this one",
        )
    if backups:
        proven_export(con, backups / f"before-version-{VERSION}")
    migrate(con, version)


def migrate(con: Connection, version: int | None = None) -> None:
    """Carry out the steps that lead from a version to this one, each in one transaction, so that each is whole.

    Args:
        con: an open connection, outside a transaction.
        version: the version of the file; by default the one it says.
    """
    for target in range((version or _version(con) or 1) + 1, VERSION + 1):
        con.begin()
        try:
            for statement in STEPS[target]:
                con.execute(statement)
            con.execute("INSERT INTO schema_version VALUES (?)", [target])
        except BaseException:
            con.rollback()
            raise
        con.commit()


def _version(con: Connection) -> int | None:
    try:
        row = con.execute("SELECT max(version) FROM schema_version").fetchone()
    except duckdb.CatalogException:
        return None
    return row[0] if row else None


def _definition(table: str) -> str:
    columns = ", ".join(f"{name} {_SQL_TYPES[dtype.base_type()]}" for name, dtype in tables.columns(table).items())
    return f"CREATE TABLE {table} ({columns})"
