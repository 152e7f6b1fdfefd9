"""Broken tables, configurations and URIs, made by code: what each is, and what its refusal must say.

The sound table under all of them has a column of every type; `sound()` and `PROBLEM` are its rows and
its contract.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import yaml

ROWS = 300
PROBLEM: dict[str, Any] = {
    "name": "stalls",
    "title": "Market stalls",
    "task": "regression",
    "source": "stalls.csv",
    "key": "stall",
    "target": {"name": "takings", "type": "number", "unit": "EUR a day", "range": [0, 10000]},
    "features": {
        "stall": {"type": "id"},
        "area": {"type": "number", "unit": "m2", "range": [1, 100]},
        "staff": {"type": "integer", "range": [0, 20]},
        "goods": {"type": "category", "categories": ["fish", "fruit", "tools"]},
        "covered": {"type": "boolean"},
        "opened": {"type": "datetime"},
    },
}


@dataclass(frozen=True)
class Case:
    """One bad input: `make` writes it into a folder and returns the command line's arguments.

    In them and in `says`, `{http}` and `{s3}` stand for servers that the test starts.
    """

    name: str
    make: Callable[[Path], list[str]]
    says: str


CASES: list[Case] = []


def sound() -> pd.DataFrame:
    """Rows that keep the contract."""
    rng = np.random.default_rng(0)
    area, staff = rng.uniform(2, 90, ROWS).round(1), rng.integers(1, 9, ROWS)
    return pd.DataFrame(
        {
            "stall": [f"{number:04d}" for number in range(ROWS)],
            "area": area,
            "staff": staff,
            "goods": rng.choice(["fish", "fruit", "tools"], ROWS),
            "covered": rng.choice(["true", "false"], ROWS),
            "opened": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), unit="D"),
            "takings": (area * 10 + staff * 40 + rng.normal(0, 30, ROWS)).clip(1).round(2),
        }
    )


def data(path: Path) -> list[str]:
    """The arguments that train on a file."""
    return ["--data", str(path)]


def files(name: str, file: str, content: bytes | Callable[[], bytes], says: str) -> None:
    """A file with bytes that are no table, or not the table that its name says."""

    def make(folder: Path) -> list[str]:
        (folder / file).write_bytes(content() if callable(content) else content)
        return data(folder / file)

    CASES.append(Case(name, make, says))


def tables(name: str, spoil: Callable[[pd.DataFrame], pd.DataFrame], says: str, file: str = "t.csv") -> None:
    """The sound table with one thing wrong in it."""

    def make(folder: Path) -> list[str]:
        spoilt = spoil(sound())
        path = folder / file
        spoilt.to_csv(path, index=False) if file.endswith(".csv") else spoilt.to_parquet(path, index=False)
        return data(path)

    CASES.append(Case(name, make, says))


def contracts(name: str, edit: Callable[[dict[str, Any]], object] | bytes, says: str) -> None:
    """A problem's file with one thing wrong in it; the run finds it as problem `spoilt`."""

    def make(folder: Path) -> list[str]:
        path = folder / "configs" / "problems" / "spoilt.yaml"
        if isinstance(edit, bytes):
            path.write_bytes(edit)
        else:
            problem = {**yaml.safe_load(yaml.safe_dump(PROBLEM)), "name": "spoilt"}
            problem["source"] = str(folder / "stalls.csv")
            sound().to_csv(folder / "stalls.csv", index=False)
            edit(problem)
            path.write_text(yaml.safe_dump(problem, sort_keys=False), encoding="utf-8")
        return ["--problem", "spoilt"]

    CASES.append(Case(name, make, says))


def uris(name: str, uri: str, says: str) -> None:
    """An address where nothing is to be had; `{folder}` is the case's own."""
    CASES.append(Case(name, lambda folder: ["--data", uri.replace("{folder}", str(folder))], says))


def arguments(name: str, given: list[str], says: str) -> None:
    """A wrong argument."""
    CASES.append(Case(name, lambda _: given, says))


def others(name: str, says: str) -> Callable[[Callable[[Path], list[str]]], None]:
    """A case with a maker of its own."""
    return lambda make: CASES.append(Case(name, make, says))


def csv(frame: pd.DataFrame | None = None) -> bytes:
    """A table as CSV; the sound one unless another is given."""
    content: bytes = (sound() if frame is None else frame).to_csv(index=False).encode()
    return content


def parquet(frame: pd.DataFrame | None = None) -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    (sound() if frame is None else frame).to_parquet(buffer, index=False)
    return buffer.getvalue()


def arrow() -> bytes:
    """The sound table as an Arrow file."""
    buffer = io.BytesIO()
    feather.write_feather(pa.Table.from_pandas(sound()), buffer)
    return buffer.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return buffer.getvalue()


def line(number: int, text: str) -> bytes:
    """The sound CSV with one of its lines replaced; the header is line 1."""
    lines = csv().decode().splitlines()
    lines[number - 1] = text
    return "\n".join([*lines, ""]).encode()


def cells(column: str, value: object, share: float = 0.5) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Puts a value into a share of a column's cells."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        spoilt = frame[column].astype(object)
        spoilt.iloc[: round(share * len(frame))] = value
        return frame.assign(**{column: spoilt})

    return spoil


# --- no file, or no table in it ---------------------------------------------------------------------

uris("no such file", "{folder}/absent.csv", "no such file")
uris("no such folder", "{folder}/absent/t.csv", "no such file")
uris("no suffix", "{folder}/table", "file type")
uris("unknown suffix", "{folder}/table.docx", "file type")
uris("a very long path", "{folder}/" + "a" * 300 + ".csv", "cannot be read")
files("empty", "t.csv", b"", "empty")
files("blank lines", "t.csv", b"\n  \n\n", "empty")
files("only a byte order mark", "t.csv", b"\xef\xbb\xbf", "no rows")
files("a header without a line end", "t.csv", csv().splitlines()[0], "header but no rows")
files("a header and no rows", "t.csv", csv().splitlines()[0] + b"\n", "header but no rows")
files("random bytes", "t.csv", np.random.default_rng(0).bytes(5000), "not")
files("a NUL byte in a cell", "t.csv", line(9, "0007,12.\x005,2,fish,true,2020-05-05,100"), "binary")
files("a program", "t.csv", b"\x7fELF" + bytes(range(256)) * 20, "binary")
files("a picture", "t.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "binary")
files("a workbook called CSV", "t.csv", archive({"[Content_Types].xml": b"<a/>"}), "no rows")
files("a web page", "t.csv", b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", "missing")
files("JSON called CSV", "t.csv", b'[{"area": 1,\n"staff": 2}]\n', "line 2")
files("ragged: a short row", "t.csv", line(5, "0003,12.5,2"), "line 5")
files("ragged: a long row", "t.csv", line(7, "0005,12.5,2,fish,true,2020-05-05,100,7"), "line 7")
files("a quote that never closes", "t.csv", line(3, '"0001,12.5,2,fish,true,2020-05-05,100'), "CSV")
files("a title above the header", "t.csv", b"Takings of 2020\n" + csv(), "")
files("no header at all", "t.csv", b"\n".join(csv().splitlines()[1:]), "missing")
files("separated by spaces", "t.csv", csv().replace(b",", b" "), "missing")
files("UTF-16, cut within a character", "t.csv", csv().decode().encode("utf-16")[:-1], "line 301")
files("Shift JIS", "t.csv", "店,円\n売り場,一二三\n".encode("shift-jis"), "UTF-8")
files("cut within a character", "t.csv", line(1, "ställe,area").replace(b"\xc3\xa4", b"\xc3"), "line 2")

# --- compressed -------------------------------------------------------------------------------------

files("gzip, cut short", "t.csv.gz", lambda: gzip.compress(csv())[:-200], "gzip")
files("gzip, damaged", "t.csv.gz", lambda: gzip.compress(csv())[:-8] + b"damaged!", "gzip")
files("bzip2, cut short", "t.csv.bz2", lambda: bz2.compress(csv())[:-200], "bz2")
files("xz, cut short", "t.csv.xz", lambda: lzma.compress(csv())[:-200], "xz")
files("zstd, cut short", "t.csv.zst", lambda: pa.compress(csv(), "zstd", asbytes=True)[:-200], "zstd")
files("a zip of two tables", "t.csv.zip", lambda: archive({"a.csv": csv(), "b.csv": csv()}), "2 files")
files("an empty zip", "t.csv.zip", lambda: archive({}), "zip")
files("a zip in a zip", "t.csv.zip", lambda: archive({"a.zip": archive({"a.csv": csv()})}), "zip")


@others("a zip bomb", "decompress")
def _(folder: Path) -> list[str]:
    path = folder / "t.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as writer, writer.open("t.csv", "w") as member:
        for _ in range(1200):
            member.write(b"0" * 2**20)
    return data(path)


@others("a gzip bomb", "decompress")
def _(folder: Path) -> list[str]:
    path = folder / "t.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(1200):
            file.write(b"0" * 2**20)
    return data(path)


# --- Parquet, Arrow, JSON lines, Excel --------------------------------------------------------------

files("no Parquet", "t.parquet", b"not parquet at all", "Parquet")
files("Parquet, cut short", "t.parquet", lambda: parquet()[:-100], "Parquet")
files(
    "Parquet, damaged inside", "t.parquet", lambda: parquet()[:40] + b"!" * 400 + parquet()[440:], "Parquet"
)
files("Parquet, empty file", "t.parquet", b"", "0 bytes")
files("Parquet without rows", "t.parquet", lambda: parquet(sound().iloc[:0]), "no rows")
files("no Arrow", "t.arrow", b"not arrow at all", "Arrow")
files("Arrow, cut short", "t.feather", lambda: arrow()[:-100], "Arrow")
files("JSON lines, a broken line", "t.jsonl", b'{"area": 1}\n{"area": \n', "JSON")
files("JSON lines of lists", "t.jsonl", b"[1, 2]\n[3, 4]\n", "JSON")
files("JSON lines, an empty file", "t.jsonl", b"", "empty")
files(
    "JSON lines, objects in a cell", "t.ndjson", b'{"takings": {"a": 1}}\n{"takings": {"a": 2}}\n', "missing"
)
files("no workbook", "t.xlsx", b"not a workbook", ".xlsx")
files("an old or locked workbook", "t.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), ".xlsx")


@others("an empty sheet", "no header")
def _(folder: Path) -> list[str]:
    pd.DataFrame().to_excel(folder / "t.xlsx", index=False)
    return data(folder / "t.xlsx")


@others("a folder without Parquet", "no .parquet")
def _(folder: Path) -> list[str]:
    (folder / "parts").mkdir()
    (folder / "parts" / "readme.txt").write_text("nothing here")
    return data(folder / "parts")


@others("a folder with a damaged part", "Parquet")
def _(folder: Path) -> list[str]:
    (folder / "parts").mkdir()
    (folder / "parts" / "0.parquet").write_bytes(parquet())
    (folder / "parts" / "1.parquet").write_bytes(parquet()[:-50])
    return data(folder / "parts")


@others("Parquet with a column twice", "one name")
def _(folder: Path) -> list[str]:
    table = pa.Table.from_pandas(sound())
    pq.write_table(table.append_column("area", table.column("area")), folder / "t.parquet")
    return data(folder / "t.parquet")


# --- the file system --------------------------------------------------------------------------------


@others("a folder called CSV", "directory")
def _(folder: Path) -> list[str]:
    (folder / "t.csv").mkdir()
    return data(folder / "t.csv")


@others("a loop of links", "link")
def _(folder: Path) -> list[str]:
    (folder / "a.csv").symlink_to(folder / "b.csv")
    (folder / "b.csv").symlink_to(folder / "a.csv")
    return data(folder / "a.csv")


@others("a link to nothing", "no such file")
def _(folder: Path) -> list[str]:
    (folder / "a.csv").symlink_to(folder / "gone.csv")
    return data(folder / "a.csv")


@others("a pipe that nobody writes to", "not a file")
def _(folder: Path) -> list[str]:
    os.mkfifo(folder / "t.csv")
    return data(folder / "t.csv")


@others("a name that is almost there", "Did you mean 'stalls.csv'")
def _(folder: Path) -> list[str]:
    (folder / "stalls.csv").write_bytes(csv())
    return data(folder / "stals.csv")


# --- addresses --------------------------------------------------------------------------------------

uris("an unknown protocol", "ftpp://host/t.csv", "ftpp")
uris("a file URI of nothing", "file://{folder}/absent.csv", "no such file")
uris("a malformed address", "http://[::1/t.csv", "")
uris("no web server there", "http://127.0.0.1:9/t.csv", "127.0.0.1")
uris("a page that is not there", "{http}/absent.csv", "no such file")
uris("no bucket", "s3://no-such-bucket/t.csv", "bucket")
uris("no object in the bucket", "s3://stalls/absent.csv", "no such file")
uris("Google's storage without its package", "gs://stalls/t.csv", "gcsfs")
uris("an unset variable", "s3://${MILLRACE_NO_SUCH_BUCKET}/t.csv", "MILLRACE_NO_SUCH_BUCKET")
uris("a password in the open", "postgresql+psycopg://me:secret@127.0.0.1/db#stalls", "password")
uris("an unknown data set of scikit-learn", "sklearn://irsi", "Did you mean 'iris'")
uris("an unknown sample", "sample://housng", "Did you mean 'housing'")

# --- databases --------------------------------------------------------------------------------------


def database(name: str, fragment: str, says: str) -> None:
    """A question that the sound table in SQLite has no answer to."""

    def make(folder: Path) -> list[str]:
        with sqlite3.connect(folder / "market.db") as connection:
            sound().astype({"opened": str}).to_sql("stalls", connection, index=False)
        connection.close()
        return ["--data", f"sqlite:///{folder / 'market.db'}{fragment}"]

    CASES.append(Case(name, make, says))


database("no such table", "#stals", "Did you mean 'stalls'")
database("neither table nor query", "", "table")
database("wrong SQL", "#SELECT FROM WHERE", "SELECT FROM WHERE")
database("no such column", "#SELECT aria FROM stalls", "aria")
database("a query that deletes", "#DELETE FROM stalls", "SELECT")
database("two statements", "#SELECT * FROM stalls; DROP TABLE stalls", "")
database("a query without rows", "#SELECT * FROM stalls WHERE area < 0", "no rows")
database("a query without the target", "#SELECT stall, area FROM stalls", "missing")
uris("no such database", "sqlite:///{folder}/absent.db#stalls", "absent.db")
uris("no database server", "postgresql+psycopg://me@127.0.0.1:9/db#stalls", "127.0.0.1")
uris("an unknown dialect", "orcale://host/db#stalls", "orcale")
uris("a driver that is not installed", "mysql+pymysql://me@127.0.0.1/db#stalls", "pymysql")


@others("no database in the file", "database")
def _(folder: Path) -> list[str]:
    (folder / "market.db").write_bytes(csv())
    return ["--data", f"sqlite:///{folder / 'market.db'}#stalls"]


# --- DVC --------------------------------------------------------------------------------------------


def versioned(folder: Path) -> Path:
    """A repository in which DVC tracks the sound table, tagged v1, its content lost."""
    repository = folder / "repository"
    repository.mkdir()
    (repository / "stalls.csv").write_bytes(csv())
    settings = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [sys.executable, "-m", "dvc", "add", "-q", "stalls.csv"],
        ["git", "add", "-A"],
        ["git", *settings, "commit", "-qm", "One table"],
        ["git", "tag", "v1"],
    ):
        subprocess.run(command, cwd=repository, check=True, capture_output=True, env=environment)
    shutil.rmtree(repository / ".dvc" / "cache")
    (repository / "stalls.csv").unlink()
    return repository


@others("no repository", "repository")
def _(folder: Path) -> list[str]:
    return ["--data", f"dvc://{folder}?path=stalls.csv&rev=v1"]


@others("an unknown revision", "v2")
def _(folder: Path) -> list[str]:
    return ["--data", f"dvc://{versioned(folder)}?path=stalls.csv&rev=v2"]


@others("a path that is not tracked", "Did you mean 'stalls.csv'")
def _(folder: Path) -> list[str]:
    return ["--data", f"dvc://{versioned(folder)}?path=stals.csv&rev=v1"]


@others("a revision whose content was never pushed", "stalls.csv")
def _(folder: Path) -> list[str]:
    return ["--data", f"dvc://{versioned(folder)}?path=stalls.csv&rev=v1"]


# --- rows that break the contract -------------------------------------------------------------------

tables("the target is missing", lambda t: t.drop(columns="takings"), "target 'takings'")
tables("a misspelt column", lambda t: t.rename(columns={"staff": "stafff"}), "Did you mean 'stafff'")
tables("columns in upper case", lambda t: t.rename(columns=str.upper), "missing")
tables("two columns are missing", lambda t: t.drop(columns=["area", "goods"]), "'area', 'goods'")
tables("another table", lambda t: t[["area"]].rename(columns={"area": "depth"}), "missing")
tables("a column twice", lambda t: t.rename(columns={"staff": "area"}), "twice")
tables("an empty column", cells("area", None, 1), "hold a value")
tables("half the targets are missing", cells("takings", None), "takings")
tables("an infinite feature", cells("area", "inf"), "infinite")
tables("an infinite target", cells("takings", "-inf"), "infinite")
tables("a target that never varies", cells("takings", 5.0, 1), "different values")
tables("too few rows", lambda t: t.head(6), "at least")
tables("one row", lambda t: t.head(1), "at least")
tables("one row many times", lambda t: pd.concat([t.head(1)] * 200), "different values")
tables("keys that contradict", lambda t: t.assign(stall="0001"), "key")
tables("keys that are missing", cells("stall", None), "stall")
tables("words for numbers", cells("area", "wide"), "'wide' is not a number")
tables("separators of thousands", cells("area", "1,200.5"), "is not a number")
tables("commas for points", cells("area", "12,5"), "is not a number")
tables("a currency", cells("takings", "EUR 100"), "is not a number")
tables("a per cent sign", cells("area", "12%"), "is not a number")
tables("hexadecimal numbers", cells("area", "0x1F"), "is not a number")
tables("digits of another script", cells("area", "١٢"), "is not a number")
tables("numbers with a joint", cells("area", "1_2"), "is not a number")
tables("numbers without bound", cells("area", "1e999"), "")
tables("fractions for integers", cells("staff", 2.5), "is not an integer")
tables("above the range", cells("area", 1000), "above 100")
tables("below the range", cells("staff", -1), "below 0")
tables("an unknown category", cells("goods", "flesh"), "not a known category")
tables("a category in capitals", cells("goods", "Fish"), "not a known category")
tables("empty categories", cells("goods", "  "), "goods")
tables("neither true nor false", cells("covered", "perhaps"), "is not a boolean")
tables("dates the other way round", cells("opened", "31/12/2020"), "is not a datetime")
tables("a day that never was", cells("opened", "2021-02-30"), "is not a datetime")
tables("seconds for dates", cells("opened", "1600000000"), "is not a datetime")
tables("words for dates", cells("opened", "last May"), "is not a datetime")
tables("emoji for numbers", cells("staff", "🐟"), "is not an integer")
tables("the target in a feature", lambda t: t.assign(area=t["takings"] / 100), "give the target away")
tables("missing targets in Parquet", cells("takings", np.nan), "takings", "t.parquet")
tables("lists in Parquet", lambda t: t.assign(area=[[1.0]] * ROWS), "is not a number", "t.parquet")
tables("dates for numbers in Parquet", lambda t: t.assign(area=t["opened"]), "is not a number", "t.parquet")
tables("numbers for dates in Parquet", lambda t: t.assign(opened=t["area"]), "is not a datetime", "t.parquet")
tables("bytes in Parquet", lambda t: t.assign(goods=b"\xff\xfe"), "UTF-8", "t.parquet")
tables("records in Parquet", lambda t: t.assign(takings=[{"a": 1}] * ROWS), "takings", "t.parquet")

# --- contracts --------------------------------------------------------------------------------------

contracts("an empty contract", b"", "empty")
contracts("a contract of bytes", bytes(range(256)), "")
contracts("a contract that is a list", b"- a\n- b\n", "")
contracts("tabs in YAML", b"name: spoilt\n\ttitle: x\n", "line 2")
contracts("Python in YAML", b"name: !!python/object/apply:os.getcwd []\n", "line 1")
contracts("a bomb of YAML", b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (97 + i, 97 + i, b",".join([b"*%c" % (96 + i)] * 9)) for i in range(1, 20)
), "")  # fmt: skip
contracts("a key twice", b"name: spoilt\nname: spoilt\n", "twice")
contracts("Latin-1 in YAML", "name: spoilt\ntitle: M\xe4rkte\n".encode("latin-1"), "")
contracts("an unknown key", lambda p: p.update(tittle="x"), "Did you mean 'title'")
contracts("an unknown key of a column", lambda p: p["features"]["area"].update(rnage=[0, 1]), "'range'")
contracts("an unknown type", lambda p: p["features"]["area"].update(type="nummer"), "number")
contracts("an unknown task", lambda p: p.update(task="regresion"), "regression")
contracts("another name than the file's", lambda p: p.update(name="stalls"), "spoilt.yaml")
contracts(
    "a transform of an unknown kind",
    lambda p: p.update(transforms=[{"kind": "ratios"}]),
    "Did you mean 'ratio'",
)
contracts(
    "a transform with an unknown key",
    lambda p: p.update(transforms=[{"kind": "log", "off": "area"}]),
    "Did you mean 'of'",
)
contracts(
    "a transform of an absent column",
    lambda p: p.update(transforms=[{"kind": "log", "of": "arae"}]),
    "Did you mean 'area'",
)
contracts(
    "a transform of the target",
    lambda p: p.update(transforms=[{"kind": "log", "of": "takings"}]),
    "nknown column 'takings'",
)
contracts(
    "a transform of the wrong type",
    lambda p: p.update(transforms=[{"kind": "date_parts", "of": "area"}]),
    "datetime",
)
contracts(
    "two transforms of one name",
    lambda p: p.update(transforms=[{"kind": "log", "of": "area"}] * 2),
    "transform 2",
)
contracts(
    "bins without edges",
    lambda p: p.update(transforms=[{"kind": "bins", "of": "area"}]),
    "'edges' or a 'count'",
)
contracts(
    "a place that is not on Earth",
    lambda p: p.update(
        transforms=[
            {"kind": "distances", "latitude": "area", "longitude": "staff", "places": {"x": [100, 0]}}
        ]
    ),
    "90",
)
contracts("no features", lambda p: p.update(features={}), "features")
contracts("no target", lambda p: p.pop("target"), "target")
contracts("a range that falls", lambda p: p["features"]["area"].update(range=[9, 1]), "range")
contracts("a range of text", lambda p: p["features"]["area"].update(range=["a", "b"]), "range")
contracts("an infinite range", lambda p: p["features"]["area"].update(range=[0, float("inf")]), "range")
contracts("a category without any", lambda p: p["features"]["goods"].pop("categories"), "categories")
contracts("categories for numbers", lambda p: p["features"]["area"].update(categories=["a", "b"]), "categor")
contracts("a class that is a number", lambda p: p.update(task="binary"), "category")
contracts(
    "the target among the features", lambda p: p["features"].update(takings={"type": "number"}), "takings"
)
contracts("a key that is no column", lambda p: p.update(key="stal"), "Did you mean 'stall'")
contracts("nothing to learn from", lambda p: p.update(features={"stall": {"type": "id"}}), "learn")
contracts("a column with our own name", lambda p: p["features"].update(_reason={"type": "id"}), "_reason")
contracts("a holdout of everything", lambda p: p.update(split={"holdout": 1}), "holdout")
contracts("an unknown way to split", lambda p: p.update(split={"by": "tiem", "column": "opened"}), "time")
contracts("a split by no column", lambda p: p.update(split={"by": "time", "column": "opend"}), "'opened'")
contracts("a split by a wrong type", lambda p: p.update(split={"by": "time", "column": "goods"}), "goods")
contracts("a group without a column", lambda p: p.update(split={"by": "group"}), "column")
contracts("weights of no class", lambda p: p.update(class_weights={"fish": 2}), "class_weights")
contracts(
    "costs of a regression", lambda p: p.update(costs={"false_positive": 1, "false_negative": 5}), "costs"
)
contracts("the logarithm of a loss", lambda p: p["target"].update(transform="log", range=[-5, 9]), "log")
contracts(
    "a direction of categories", lambda p: p["features"]["goods"].update(monotonic="increasing"), "category"
)
contracts(
    "an unknown direction", lambda p: p["features"]["area"].update(monotonic="incresing"), "'increasing'?"
)
contracts(
    "a direction of what is not learnt",
    lambda p: p["features"]["area"].update(monotonic="increasing", input=False),
    "'input: false'",
)
contracts("a sensitive id", lambda p: p["features"]["stall"].update(sensitive=True), "sensitive")
contracts("a sensitive target", lambda p: p["target"].update(sensitive=True), "not for the target")
contracts("sensitive in words", lambda p: p["features"]["goods"].update(sensitive="very"), "sensitive")
contracts(
    "nothing that is learnt",
    lambda p: [column.update(input=False) for column in p["features"].values()],
    "no feature is left",
)
contracts("a source of two kinds", lambda p: p.update(source={"uri": "a.csv", "rev": "v1"}), "source")
contracts("an unknown key of a source", lambda p: p.update(source={"url": "a.csv"}), "Did you mean 'uri'")
contracts("a password in a contract", lambda p: p.update(source="postgresql://me:pw@host/db#t"), "password")
contracts(
    "a filter on no column",
    lambda p: p.update(source={"uri": p["source"], "where": [["aera", ">", 1]]}),
    "Did you mean 'area'",
)
contracts(
    "a filter that cannot be",
    lambda p: p.update(source={"uri": p["source"], "where": [["area", "><", 1]]}),
    "where",
)


def classes(name: str, spoil: Callable[[pd.DataFrame], object], says: str) -> None:
    """The sound table with its goods as classes to predict, and with one thing wrong in them."""

    def make(folder: Path) -> list[str]:
        table = sound()
        spoil(table)
        table.to_csv(folder / "stalls.csv", index=False)
        features = {**PROBLEM["features"], "takings": {"type": "number"}}
        target = {"name": "goods", **features.pop("goods")}
        problem = {**PROBLEM, "name": "spoilt", "task": "multiclass", "target": target, "features": features}
        path = folder / "configs" / "problems" / "spoilt.yaml"
        path.write_text(yaml.safe_dump(problem), encoding="utf-8")
        return ["--problem", "spoilt", *data(folder / "stalls.csv")]

    CASES.append(Case(name, make, says))


def only(table: pd.DataFrame, rows: int) -> None:
    """Leave this many stalls with tools."""
    tools = np.flatnonzero(table["goods"] == "tools")
    table.loc[tools[rows:], "goods"] = "fish"


classes("a class with one row", lambda table: only(table, 1), "'tools' has a single usable row")
classes("a class with two rows", lambda table: only(table, 2), "smallest class has 1 training rows")
classes("a class without rows", lambda table: only(table, 0), "smallest class has 0 training rows")
classes("one class", lambda table: table.update({"goods": ["fish"] * ROWS}), "at least two classes")


@others("repeats of a split by time", "--set repeats=1")
def _(folder: Path) -> list[str]:
    problem = {**PROBLEM, "name": "spoilt", "split": {"by": "time", "column": "opened"}}
    path = folder / "configs" / "problems" / "spoilt.yaml"
    path.write_text(yaml.safe_dump(problem), encoding="utf-8")
    return ["--problem", "spoilt", "--set", "repeats=3"]


@others("a sheet that is not there", "Did you mean 'Stalls'")
def _(folder: Path) -> list[str]:
    sound().to_excel(folder / "t.xlsx", sheet_name="Stalls", index=False)
    problem = {**PROBLEM, "name": "spoilt", "source": {"uri": str(folder / "t.xlsx"), "sheet": "Stals"}}
    path = folder / "configs" / "problems" / "spoilt.yaml"
    path.write_text(yaml.safe_dump(problem), encoding="utf-8")
    return ["--problem", "spoilt"]


# --- arguments --------------------------------------------------------------------------------------

arguments("an unknown pipeline", ["--pipeline", "trainign"], "Did you mean 'training'")
arguments("an unknown problem", ["--problem", "stals"], "Did you mean 'stalls'")
arguments("an unknown stack", ["--stack", "locl"], "Did you mean 'local'")
arguments("no such configuration", ["--config", "absent.yaml"], "absent.yaml: no such run configuration")
arguments("an unknown setting", ["--set", "seeds=3"], "Did you mean 'seed'")
arguments("a setting without a value", ["--set", "seed"], "key=value")
arguments("a setting of the wrong type", ["--set", "seed=many"], "'seed'")
arguments("one fold", ["--set", "folds=1"], "folds")
arguments("more folds than allowed", ["--set", "folds=500"], "folds")
arguments("no repeat", ["--set", "repeats=0"], "repeats")
arguments("more repeats than allowed", ["--set", "repeats=100"], "repeats")
arguments("a candidate with the baseline's name", ["--set", "candidates.baseline.kind=linear"], "baseline")
arguments("a slice that must get better", ["--set", "promotion.worst_slice=0.5"], "worst_slice")
arguments("a latency of nothing", ["--set", "promotion.latency_ms=0"], "latency_ms")
arguments("a size in words", ["--set", "promotion.size_mb=small"], "size_mb")
arguments("an unknown rule of promotion", ["--set", "promotion.latency=5"], "Did you mean 'latency_ms'")
arguments("no candidate", ["--set", "candidates=null"], "candidate")
arguments("an unknown candidate", ["--set", "candidates.mine.kind=lightbgm"], "Did you mean 'lightgbm'")
arguments("an unknown hyperparameter", ["--set", "candidates.lightgbm.num_leafs=3"], "'num_leaves'")


def searches(name: str, settings: list[str], says: str) -> None:
    """A search for hyperparameters that cannot be made."""
    given = ["tuning.trials=5", "candidates.lightgbm.n_estimators=40", *settings]
    arguments(name, [f"--set={setting}" for setting in given], says)


LEAVES = "tuning.spaces.lightgbm.num_leaves"
searches("a space of an unknown candidate", ["tuning.spaces.lightgbn.alpha.low=1"], "'low' and 'high'")
searches(
    "a whole space of an unknown candidate",
    ["tuning.spaces.lightgbn={alpha: {low: 1, high: 2}}"],
    "unknown candidate 'lightgbn'. Did you mean 'lightgbm'",
)
searches(
    "a space of an unknown hyperparameter",
    ["tuning.spaces.lightgbm.num_leafs={low: 8, high: 64}"],
    "Did you mean 'num_leaves'",
)
searches(
    "a space of a candidate taken out",
    ["tuning.spaces.random_forest={max_features: {low: 0.2, high: 0.8}}", "candidates.random_forest=null"],
    "unknown candidate 'random_forest'",
)
searches("a space with an unknown key", [f"{LEAVES}.hihg=9"], "Did you mean 'high'")
searches("a space upside down", [f"{LEAVES}.low=200"], "200 is not below 80")
searches("a space past what the model takes", [f"{LEAVES}.high=9999"], "does not take 9999")
searches("a space below what the model takes", [f"{LEAVES}.low=1"], "does not take 1")
searches("a logarithmic space from nothing", [f"{LEAVES}.low=0"], "'log' needs a 'low' above 0")
searches("half a leaf", [f"{LEAVES}.low=8.5"], "valid integer")
searches("a space of words", [f"{LEAVES}.low=few"], "valid number")
searches("a space of nothing", [f"{LEAVES}={{choices: []}}"], "at least two different values")
searches("choices that the model does not take", [f"{LEAVES}={{choices: [40, many]}}"], "does not take many")
searches("a space and choices", [f"{LEAVES}.choices=[20, 40]"], "not both")
searches("a space without the hand-set value", [f"{LEAVES}.low=50"], "hand-set value 40 is not in its space")
searches("trials of nothing", ["tuning.spaces=null"], "names nothing to search")
searches("seconds without trials", ["tuning.trials=0", "tuning.seconds=60"], "set tuning.trials as well")
searches("negative trials", ["tuning.trials=-1"], "greater than or equal to 0")
searches("a search for ever", ["tuning.seconds=.inf"], "finite")
arguments("a summary in no folder", ["--summary", "absent/folder/out.json"], "no such folder")
arguments("profiling without a target", ["--pipeline", "profiling", "--data", "sample://housing"], "--target")
arguments("training with a target", ["--target", "takings"], "--target")
arguments(
    "profiling for a target that is not there",
    ["--pipeline", "profiling", "--data", "sample://housing", "--target", "MedHouseVale", "--problem", "new"],
    "Did you mean 'MedHouseVal'",
)
