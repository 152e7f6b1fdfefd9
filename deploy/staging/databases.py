"""PostgreSQL, where MLflow keeps its runs and accounts, and MariaDB, where ZenML keeps its lineage."""

import os
import pwd
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil

from deploy.staging.programs import call, find, find_postgresql
from deploy.staging.server import Server
from deploy.staging.settings import Settings, write_private
from millrace.errors import UserError

MLFLOW_DATABASES = ("mlflow", "mlflow_auth")


def postgresql(settings: Settings) -> Server:
    """PostgreSQL with a role and two databases for MLflow; no socket file, passwords by SCRAM."""
    # It refuses to run as root; Debian's package makes a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    data = settings.folder / "postgresql" / "data"

    def make() -> None:
        _may_enter(settings, user)
        password = data.with_name("password")
        write_private(password, settings.secrets["postgresql"])
        if user:
            shutil.chown(password, user)
        accounts = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
        initdb = [find_postgresql("initdb"), "-D", str(data), "-E", "UTF8", "--locale=C.UTF-8", *accounts]
        call(initdb, user=user)
        password.unlink()

    def configure() -> None:
        # What a killed one leaves. PostgreSQL takes it for a running one's as long as its pid is not buried.
        _wait_for_others(data)
        (data / "postmaster.pid").unlink(missing_ok=True)

    def complete() -> None:
        from psycopg import sql

        with _postgresql(settings) as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'mlflow'").fetchone() is None:
                password = sql.Literal(settings.secrets["mlflow_database"])
                connection.execute(sql.SQL("CREATE ROLE mlflow LOGIN PASSWORD {}").format(password))
            known = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in sorted({*MLFLOW_DATABASES} - known):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER mlflow").format(sql.Identifier(name)))

    def answers() -> bool:
        with _postgresql(settings) as connection:
            return bool(connection.execute("SELECT 1").fetchone())

    options = {
        "listen_addresses": "127.0.0.1",
        "port": settings.ports["postgresql"],
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
    }
    given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Server(
        name="postgresql",
        folder=settings.folder,
        command=[find_postgresql("postgres"), "-D", str(data), *given],
        address=f"127.0.0.1:{settings.ports['postgresql']}",
        user=user,
        make=make,
        configure=configure,
        complete=complete,
        answers=answers,
        # Ends transactions and goes, instead of waiting for clients to leave.
        stop_signal=signal.SIGINT,
    )


def mariadb(settings: Settings) -> Server:
    """MariaDB with a database for ZenML; its root comes in by its socket only, as the system's user."""
    folder = settings.folder / "mariadb"
    me = pwd.getpwuid(os.geteuid()).pw_name
    # The socket's path is relative to `datadir`: a whole one may be too long for a socket.
    common = ["--no-defaults", f"--datadir={folder}/data", f"--user={me}", "--socket=mariadb.sock"]

    def make() -> None:
        quiet = ["--skip-test-db", "--skip-name-resolve", f"--auth-root-socket-user={me}"]
        call([find("mariadb-install-db", "mariadb-server-core"), *common, *quiet])

    def configure() -> None:
        account = "zenml@'127.0.0.1' IDENTIFIED BY"
        statements = (
            "CREATE DATABASE IF NOT EXISTS zenml CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS {account} '{settings.secrets['mariadb']}';\n"
            "GRANT ALL ON zenml.* TO zenml@'127.0.0.1';\n"
        )
        write_private(folder / "accounts.sql", statements)

    def answers() -> bool:
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1",
            port=settings.ports["mariadb"],
            user="zenml",
            password=settings.secrets["mariadb"],
            database="zenml",
            connect_timeout=2,
            read_timeout=5,
        )
        with connection, connection.cursor() as cursor:
            return bool(cursor.execute("SELECT 1"))

    options = [
        "--bind-address=127.0.0.1",
        f"--port={settings.ports['mariadb']}",
        f"--init-file={folder}/accounts.sql",
        f"--pid-file={folder}/mariadb.pid",
        "--skip-name-resolve",
        "--performance-schema=off",
        "--innodb-buffer-pool-size=64M",
        # A commit goes to the system at once and to the disk within a second: a kill loses nothing.
        "--innodb-flush-log-at-trx-commit=2",
    ]
    return Server(
        name="mariadb",
        folder=settings.folder,
        command=[find("mariadbd", "mariadb-server-core"), *common, *options],
        address=f"127.0.0.1:{settings.ports['mariadb']}",
        make=make,
        configure=configure,
        answers=answers,
    )


def _postgresql(settings: Settings) -> Any:
    import psycopg

    return psycopg.connect(
        host="127.0.0.1",
        port=settings.ports["postgresql"],
        user="postgres",
        password=settings.secrets["postgresql"],
        dbname="postgres",
        connect_timeout=2,
        autocommit=True,
    )


def _wait_for_others(data: Path) -> None:
    """Wait for a killed PostgreSQL's workers, which work in its folder, to notice and end."""
    end = time.monotonic() + 30
    while any(process.info["cwd"] == str(data) for process in psutil.process_iter(["cwd"])):
        if time.monotonic() > end:
            raise UserError(f"another PostgreSQL works in {data}.")
        time.sleep(0.1)


def _may_enter(settings: Settings, user: str | None) -> None:
    folder = settings.folder / "postgresql"
    try:
        call(["/bin/ls", str(folder)], user=user)
    except UserError:
        raise UserError(
            f"PostgreSQL does not run as root, and its user '{user}' may not enter {folder}. "
            "Set MILLRACE_HOME to a folder that others may enter, or run as another user than root."
        ) from None
