"""SQLite and PostgreSQL, real ones."""

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millrace.contract import Column
from millrace.errors import UserError
from millrace.sources import Source, read
from tests.millrace.test_sources import refusal

PASSWORD = "s3cr@t/pass#word"
HOUSES = "houses(id, town, price, built, sold)"
ROWS = [("007", "north", 1.5, 1990, "2020-01-01"), ("008", "south", None, 2001, "2021-06-30")]
WANTED = {"price": Column(type="number"), "id": Column(type="id")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Database:
    """A database with the table houses; the URL has a placeholder for its password."""

    url: str
    dialect: str


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    path = tmp_path_factory.mktemp("sqlite") / "town data.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE houses (id text, town text, price real, built int, sold date)")
        connection.executemany(f"INSERT INTO {HOUSES} VALUES (?, ?, ?, ?, ?)", ROWS)
        connection.execute('CREATE VIEW "old houses" AS SELECT * FROM houses WHERE built < 2000')
        connection.execute("CREATE TABLE mixed (a)")
        connection.executemany("INSERT INTO mixed VALUES (?)", [(1,), ("x",), (2.5,), (None,)])
    return Database(f"sqlite:///{path}", "sqlite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    """A cluster of its own on loopback; PostgreSQL refuses to run as root, so as Debian's user for it."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.fail("PostgreSQL is not installed; run deploy/system-packages.sh postgresql")
    # Not below pytest's own folder: each session that starts closes that to other users.
    folder = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
    port = free_port()
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    if as_user:
        subprocess.run(["chown", "postgres", folder], check=True)

    def pg(program: str, *arguments: str) -> None:
        command = [*as_user, str(binaries[-1] / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=folder)

    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data = str(folder / "data")
    pg("initdb", "-D", data, "-U", "owner", "-A", "scram-sha-256", f"--pwfile={folder}/password", "-N")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    pg("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        _fill_postgres(port)
        yield Database(f"postgresql+psycopg://owner:${{PG_PASSWORD}}@127.0.0.1:{port}/postgres", "postgresql")
    finally:
        pg("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def _fill_postgres(port: int) -> None:
    import psycopg

    with psycopg.connect(
        host="127.0.0.1", port=port, user="owner", password=PASSWORD, dbname="postgres"
    ) as connection:
        connection.execute(
            "CREATE TABLE houses (id text, town text, price numeric(10, 2), built int, sold date)"
        )
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {HOUSES} VALUES (%s, %s, %s, %s, %s)", ROWS)
        connection.execute('CREATE VIEW "old houses" AS SELECT * FROM houses WHERE built < 2000')
        connection.execute(
            "CREATE SEQUENCE counter; CREATE SCHEMA archive; "
            "CREATE TABLE archive.flats AS SELECT * FROM houses"
        )
        connection.execute(
            "CREATE TABLE many AS SELECT n, n * 0.5::float8 AS x FROM generate_series(1, 120000) n"
        )


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    found: Database = request.getfixturevalue(request.param)
    return found


def refused(source: Any, cache: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(Source.model_validate(source), cache)
    message = str(caught.value)
    assert PASSWORD not in message
    assert "s3cr" not in message
    assert len(message.splitlines()) == 1
    return message


def test_a_table_is_read_with_the_wanted_columns(database: Database, tmp_path: Path) -> None:
    raw = read(f"{database.url}#houses", tmp_path, WANTED)
    rows = sorted((row["id"], row["price"] and float(row["price"])) for row in raw.table.to_pylist())
    assert rows == [("007", 1.5), ("008", None)]
    assert raw.names == ["id", "town", "price", "built", "sold"]
    assert raw.origin == f"{database.url}#houses"
    assert raw.format == f"SQL: {database.dialect}"


def test_a_query_is_read_in_its_order(database: Database, tmp_path: Path) -> None:
    query = (
        "SELECT id, built AS \"the year\" FROM houses -- newest\nWHERE town LIKE '%th' ORDER BY built DESC;"
    )
    source = Source(uri=database.url, query=query)
    table = read(source, tmp_path).table
    assert table.to_pylist() == [{"id": "008", "the year": 2001}, {"id": "007", "the year": 1990}]
    assert read(f"{database.url}#{query}", tmp_path).table == table


def test_with_and_views_are_read(database: Database, tmp_path: Path) -> None:
    query = "WITH old AS (SELECT * FROM houses WHERE built < 2000) SELECT id, ':x' AS note FROM old"
    assert read(f"{database.url}#{query}", tmp_path).table.to_pylist() == [{"id": "007", "note": ":x"}]
    assert read(f"{database.url}#old houses", tmp_path).table.num_rows == 1


@pytest.mark.parametrize("query", ["houses", "SELECT * FROM houses"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("built", ">", 1995)], ["008"]),
        ([("town", "in", ["north", "west"])], ["007"]),
        ([("sold", ">=", "2020-06-01"), ("town", "!=", "x")], ["008"]),
        ([("price", "<", 2)], ["007"]),
        ([("id", "==", "it's")], []),
    ],
    ids=str,
)
def test_filters_are_pushed_down(
    database: Database, tmp_path: Path, query: str, where: list[Any], expected: list[str]
) -> None:
    source = Source.model_validate({"uri": database.url, "query": query, "where": where})
    if expected:
        assert read(source, tmp_path, WANTED).table.column("id").to_pylist() == expected
    else:
        assert "no row fulfils 'where'" in refused(source, tmp_path)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("hoses", "Did you mean 'houses'?"),
        ("SELEC * FROM houses", "only a SELECT, or WITH and a SELECT, is run, not 'SELEC'"),
        ("SELECT * FORM houses", "the database does not accept it"),
        ("SELECT prize FROM houses", "prize"),
        ("SELECT * FROM hoses", "hoses"),
        ("DELETE FROM houses", "is run, not 'DELETE'"),
        ("/* SELECT */ DROP TABLE houses", "is run, not"),
        ("SELECT 1; DROP TABLE houses", "holds several statements"),
        ("WITH gone AS (DELETE FROM houses RETURNING *) SELECT * FROM gone", "the statement has DELETE"),
        ("SELECT * INTO copy FROM houses", "the statement has INTO"),
        ("", "name a table or a SELECT after a #. Tables: houses"),
    ],
)
def test_what_cannot_be_read_is_refused(
    database: Database, tmp_path: Path, query: str, expected: str
) -> None:
    assert expected in refused({"uri": f"{database.url}#{query}"}, tmp_path)
    assert read(f"{database.url}#houses", tmp_path).table.num_rows == 2


def test_a_word_in_quotes_is_no_statement(database: Database, tmp_path: Path) -> None:
    query = "SELECT 'drop; delete' AS note FROM houses WHERE built = 1990"
    assert read(f"{database.url}#{query}", tmp_path).table.to_pylist() == [{"note": "drop; delete"}]


def test_the_database_itself_refuses_to_write(postgres: Database, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    query = "SELECT nextval('counter')"
    assert "read-only transaction" in refused({"uri": postgres.url, "query": query}, tmp_path)


def test_a_column_of_two_types_becomes_text(sqlite: Database, tmp_path: Path) -> None:
    assert read(f"{sqlite.url}#mixed", tmp_path).table.column("a").to_pylist() == ["1", "x", "2.5", None]


def test_many_rows_come_in_batches(postgres: Database, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    table = read(f"{postgres.url}#SELECT * FROM many ORDER BY n", tmp_path).table
    assert table.num_rows == 120_000
    assert table.column("n").num_chunks == 3
    assert table.column("n").to_pylist() == list(range(1, 120_001))


def test_a_table_of_a_schema_is_read(postgres: Database, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    assert read(f"{postgres.url}#archive.flats", tmp_path).table.num_rows == 2
    assert "Did you mean 'flats'?" in refused({"uri": f"{postgres.url}#archive.flat"}, tmp_path)


def test_a_wrong_password_is_refused_without_showing_it(
    postgres: Database, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PG_PASSWORD", "s3cr3t-wrong")
    message = refused({"uri": f"{postgres.url}#houses"}, tmp_path)
    assert 'password authentication failed for user "owner"' in message
    assert "${PG_PASSWORD}" in message


def test_a_whole_url_may_come_from_the_environment(
    postgres: Database, tmp_path: Path, monkeypatch: Any
) -> None:
    from urllib.parse import quote

    monkeypatch.setenv("TOWN", postgres.url.replace("${PG_PASSWORD}", quote(PASSWORD, safe="")))
    raw = read("${TOWN}#houses", tmp_path)
    assert (raw.table.num_rows, raw.origin) == (2, "${TOWN}#houses")
    monkeypatch.setenv("TOWN", postgres.url.replace("${PG_PASSWORD}", "s3cr3t-wrong"))
    assert "password authentication failed" in refused({"uri": "${TOWN}#houses"}, tmp_path)


def test_a_refused_connection_is_one_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    uri = f"postgresql://owner:${{PG_PASSWORD}}@127.0.0.1:{free_port()}/x#t"
    message = refused({"uri": uri}, tmp_path)
    assert "the database cannot be reached" in message
    assert "refused" in message


def test_a_sqlite_file_that_is_not_there_is_refused_and_not_created(sqlite: Database, tmp_path: Path) -> None:
    assert "no such file. Did you mean 'town data.db'?" in refusal(
        sqlite.url.replace("town", "twon") + "#houses", tmp_path
    )
    assert "no such file" in refusal(f"sqlite:///{tmp_path}/none.db#t", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("a,b\n" * 1000)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path}/x.db#t", tmp_path)


def test_an_unknown_or_absent_driver_is_refused(tmp_path: Path) -> None:
    assert "Did you mean 'postgresql'?" in refusal("postgrsql://h/db#t", tmp_path)
    message = refusal("mysql+mysqldb://h/db#t", tmp_path)
    assert "needs a package that is not installed" in message
    assert "pip install mysqlclient" in message


def test_what_is_for_files_is_refused(sqlite: Database, tmp_path: Path) -> None:
    assert "are for files" in refused({"uri": sqlite.url, "query": "houses", "sheet": "x"}, tmp_path)
    assert "keep one" in refused({"uri": f"{sqlite.url}#houses", "query": "houses"}, tmp_path)
    assert "'query' is for databases" in refused({"uri": "x.csv", "query": "houses"}, tmp_path)
