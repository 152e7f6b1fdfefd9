"""Databases, by SQLAlchemy: a table or the rows of a SELECT. Nothing is ever written."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from millrace.errors import UserError, nearest, unknown
from millrace.sources.cells import combine, to_arrow
from millrace.sources.files import reason
from millrace.sources.source import Source
from millrace.sources.wanted import Found, Wanted

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

BATCH = 50_000
QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/", re.DOTALL)
READS = re.compile(r"\s*\(*\s*(select|with)\b", re.IGNORECASE)
# After WITH, some databases write. Each of these is a reserved word, so it names no column unquoted.
WRITES = re.compile(r"\b(insert|update|delete|merge|drop|alter|create|truncate|into)\b", re.IGNORECASE)
CONNECT_SECONDS = 10
# Where the module and the package that brings it have different names.
PACKAGES = {"MySQLdb": "mysqlclient"}


def read(uri: str, source: Source, wanted: Wanted) -> Found:
    """Read `URL#TABLE`, `URL#SELECT ...`, or the query of `source` at the URL.

    The order of rows is the database's own, which may differ from one time to the next, unless the query
    says ORDER BY.

    Raises:
        UserError: unreachable, no such table, or a statement that fails or does more than read.
    """
    import sqlalchemy as sa

    address, _, fragment = uri.partition("#")
    if fragment and source.query:
        raise UserError(f"{source.origin}: names a table or SELECT after the # and a 'query'; keep one.")
    if source.sheet or source.endpoint or source.encoding:
        raise UserError(f"{source.origin}: 'sheet', 'endpoint' and 'encoding' are for files, not databases.")
    asked = (source.query or fragment).strip().rstrip(";").strip()
    names: list[str] | None
    engine = _engine(address, source.origin)
    try:
        with _explained(source.origin, "the database cannot be reached"), engine.connect() as opened:
            connection = opened.execution_options(stream_results=True, max_row_buffer=BATCH)
            if engine.dialect.name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            with _explained(source.origin, "the database does not accept it"):
                if READS.match(QUOTED.sub(" ", asked)):
                    statement, names = _query(asked, source, wanted), None
                else:
                    statement, names = _table(asked, sa.inspect(engine), source.origin, wanted)
                return _fetch(connection, statement, names, engine.dialect.name, wanted)
    finally:
        engine.dispose()


def _engine(address: str, origin: str) -> Engine:
    import sqlalchemy as sa

    try:
        url = sa.make_url(address)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        options = {"connect_timeout": CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}
        if url.get_backend_name() == "sqlite":
            url = _existing(url, origin)
        return sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)
    except sa.exc.NoSuchModuleError:
        known = ["postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql", "s3", "gs", "https", "dvc"]
        scheme = address.partition("://")[0]
        raise UserError(
            f"{origin}: not a path or URI that can be read: '{scheme}' is neither a file system nor a "
            f"database that is known.{nearest(scheme, known)}"
        ) from None
    except ImportError as error:
        raise UserError(
            f"{origin}: reading it needs a package that is not installed: {reason(error)}; "
            f"pip install {PACKAGES.get(str(error.name), error.name)}."
        ) from None
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UserError(f"{origin}: not a database URL: {reason(error)}.") from None


def _existing(url: URL, origin: str) -> URL:
    """The URL of a SQLite file, opened for reading: opened otherwise, one that is not there is created."""
    path = Path(url.database or "")
    if not url.database or not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"{origin}: no such file.{nearest(path.name, names)}")
    return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})


@contextmanager
def _explained(origin: str, what: str) -> Iterator[None]:
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        raise UserError(f"{origin}: {what}: {reason(error.orig or error)}.") from None
    except sa.exc.SQLAlchemyError as error:
        raise UserError(f"{origin}: {what}: {reason(error)}.") from None


def _query(asked: str, source: Source, wanted: Wanted) -> Any:
    import sqlalchemy as sa

    bare = QUOTED.sub(" ", asked)
    if ";" in bare:
        raise UserError(f"{source.origin}: holds several statements; one SELECT is run.")
    write = WRITES.search(bare)
    if write:
        raise UserError(
            f"{source.origin}: only reading is allowed, and the statement has {write[0].upper()}."
        )
    # A colon is no parameter here.
    text = re.sub(r":(?=\w)", r"\\:", asked)
    if not wanted.where:
        return sa.text(text)
    rows = sa.select(sa.text("*")).select_from(sa.text(f"({text}\n) AS asked"))
    return _filtered(rows, wanted)


def _table(asked: str, inspector: Any, origin: str, wanted: Wanted) -> tuple[Any, list[str]]:
    import sqlalchemy as sa

    schema: str | None = None
    name, names = asked, _tables(inspector, None)
    if name not in names and "." in asked and " " not in asked:
        schema, _, name = asked.rpartition(".")
        names = _tables(inspector, schema)
    if name not in names:
        if re.search(r"[\s;(]", asked):
            verb = asked.split(maxsplit=1)[0]
            raise UserError(f"{origin}: only a SELECT, or WITH and a SELECT, is run, not '{verb}'.")
        if not asked:
            listed = ", ".join(sorted(names)) or "none"
            raise UserError(f"{origin}: name a table or a SELECT after a #. Tables: {listed}.")
        raise unknown(f"table in {origin.partition('#')[0]}:", name, names)
    with warnings.catch_warnings():
        # A column of a type that SQLAlchemy does not know can be read all the same.
        warnings.simplefilter("ignore")
        columns = [column["name"] for column in inspector.get_columns(name, schema=schema)]
    # Without types: a driver's own values, not SQLAlchemy's, which stop at a date that is none.
    chosen: list[Any] = [sa.column(column) for column in wanted.choose(columns)]
    wanted.filtered(columns)
    return _filtered(sa.select(*chosen).select_from(sa.table(name, schema=schema)), wanted), columns


def _tables(inspector: Any, schema: str | None) -> list[str]:
    return [*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)]


def _filtered(rows: Any, wanted: Wanted) -> Any:
    import sqlalchemy as sa

    for name, operator, value in wanted.where:
        # Without a type the database reads the value as its column's: '2020-01-01' is a date beside dates.
        given = sa.bindparam(None, value, type_=sa.types.NULLTYPE, expanding=operator == "in")
        sign = {"==": "=", "in": "IN"}.get(operator, operator)
        rows = rows.where(sa.column(name).op(sign, is_comparison=True)(given))
    return rows


def _fetch(
    connection: Connection, statement: Any, names: list[str] | None, dialect: str, wanted: Wanted
) -> Found:
    """Fetch in batches, each made Arrow before the next: Python objects for all rows would fill memory."""
    import pyarrow as pa

    result = connection.execute(statement)
    found = list(result.keys())
    names = names or found
    needed = wanted.choose(found)
    positions = range(len(found)) if needed == found else [found.index(name) for name in needed]
    batches = []
    for rows in result.partitions(BATCH):
        cells = list(zip(*rows, strict=True))
        batches.append([to_arrow(cells[position]) for position in positions])
    columns = [combine(parts) for parts in zip(*batches, strict=True)] or [pa.nulls(0)] * len(needed)
    return Found(pa.table(columns, names=needed), names, f"SQL: {dialect}")
