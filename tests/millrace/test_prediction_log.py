"""What is answered is logged and read again as it was; nothing is lost without being counted."""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.contract import Task
from millrace.errors import UserError
from millrace.prediction_log import (
    Entry,
    LogSettings,
    LogStatus,
    Outcome,
    Outcomes,
    PredictionLog,
    count_outcomes,
    forget,
    read_labelled,
    read_log,
)
from millrace.prediction_log.queue import RowQueue, size_of
from tests.conftest import forget_object_stores
from tests.millrace.cases import FEATURES, TASKS, make_problem
from tests.millrace.logged import HOME, MODEL, PREPARED, logged, make_entry, requests, run, wait

PROBLEM = make_problem()
DAY = 86_400
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
homes = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-100, 100),
        "floor": st.integers(1 - 2**53, 2**53 - 1),
        "kind": st.sampled_from(["flat", "house", "boat", None]),
        "lift": st.none() | st.booleans(),
        "built": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),
        "id": st.none() | names,
    }
)
ANSWERS: dict[Task, dict[str, Any]] = {
    "regression": {"prediction": -2.5e-7, "interval": [None, 1e300]},
    "binary": {"prediction": "true", "probabilities": {"false": 0.25, "true": 0.75}, "set": ["true"]},
    "multiclass": {"prediction": "low", "probabilities": {"low": 0.5, "middle": 0.25, "high": 0.25}},
}


@pytest.fixture(params=["sqlite", "parquet"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log of each kind, where nothing is yet."""
    return (
        f"sqlite:///{tmp_path}/logs/log.db" if request.param == "sqlite" else str(tmp_path / "logs" / "log")
    )


def write(uri: str, *items: Entry | Outcomes, problem: Any = PROBLEM, **settings: Any) -> LogStatus:
    """Log and close."""
    log = PredictionLog(LogSettings(uri=uri, **settings), problem)
    assert all(log.offer(item) for item in items)
    return log.close(60)


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
@given(rows=st.lists(homes, min_size=1, max_size=4))
def test_rows_are_read_as_they_were_sent(
    kind: str, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    uri = f"sqlite:///{folder}/log.db" if kind == "sqlite" else str(folder)
    sent = [row | {"built": row["built"].isoformat()} if row["built"] is not None else row for row in rows]
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000)
    status = write(uri, make_entry("r", *sent, time=moment.replace(tzinfo=UTC).timestamp(), seconds=0.25))
    assert status == LogStatus(waiting=0, written=len(rows))
    table = logged(uri)
    for name in PROBLEM.features:
        found = [None if pd.isna(value) else value for value in table[name]]
        assert found == [row[name] for row in rows], name
    assert list(table["_key"]) == [row["id"] for row in rows]
    assert list(table["_row"]) == list(range(len(rows)))
    assert table["_time"].dtype == "datetime64[us]"
    own = table[["_time", "_request", "_variant", "_model", "_version", "_digest", "_seconds", "_prediction"]]
    assert set(own.itertuples(index=False, name=None)) == {
        (pd.Timestamp(moment), "r", "champion", *MODEL, 0.25, 2.5)
    }


@pytest.mark.parametrize("task", TASKS)
def test_answers_become_columns(uri: str, task: Task) -> None:
    problem, answer = make_problem(task), ANSWERS[task]
    bare = {name: value for name, value in answer.items() if name not in ("interval", "set")}
    write(uri, make_entry(1, HOME, HOME, problem=problem, answers=[answer, bare]), problem=problem)
    table = logged(uri, problem)
    assert list(table["_prediction"]) == [answer["prediction"]] * 2
    if task == "regression":
        np.testing.assert_array_equal(table[["_low", "_high"]], [[np.nan, 1e300], [np.nan, np.nan]])
    for name, chance in answer.get("probabilities", {}).items():
        assert list(table[f"_probability_{name}"]) == [chance] * 2


def test_types_are_those_of_training(uri: str) -> None:
    empty = dict.fromkeys(HOME) | {"floor": 1}
    write(uri, make_entry(1, HOME, empty), make_entry(2, empty))
    for table in (logged(uri), next(read_log(uri, PROBLEM, size=1))):
        kinds = {name: str(table[name].dtype) for name in PROBLEM.features}
        assert kinds == {
            "size": "float64", "floor": "float64", "kind": "object", "lift": "boolean",
            "built": "datetime64[us]", "id": "object",
        }  # fmt: skip
        assert table["_prediction"].dtype == table["_low"].dtype == "float64"


def test_a_log_is_read_in_pieces_and_by_time(uri: str) -> None:
    times = [1_700_000_000 + 3600 * hour for hour in range(10)]
    for time_ in times:
        write(uri, make_entry(int(time_), HOME, HOME, HOME, time=time_))
    tables = list(read_log(uri, PROBLEM, size=2))
    assert max(map(len, tables)) <= 2
    assert sum(map(len, tables)) == 30
    since = datetime.fromtimestamp(times[2], UTC)
    until = datetime.fromtimestamp(times[5], UTC).replace(tzinfo=None)
    chosen = list(logged(uri, since=since, until=until)["_request"])
    assert chosen == [str(time_) for time_ in times[2:5] for _ in range(3)]
    assert not list(read_log(uri, PROBLEM, since=since + timedelta(days=1)))


def test_many_rows_of_one_moment_are_all_read(uri: str) -> None:
    write(uri, *(make_entry(number, time=1e9) for number in range(50)))
    assert sum(len(table) for table in read_log(uri, PROBLEM, size=7)) == 50


@pytest.mark.parametrize("key", ["id", None])
def test_private_columns_are_never_logged(uri: str, key: str | None, tmp_path: Path) -> None:
    private = {name: FEATURES[name] | {"private": True} for name in ("kind", "id")}
    problem = make_problem(features=FEATURES | private, key=key)
    row = HOME | {"id": "secret id", "kind": "boat"}
    write(uri, make_entry(1, row, problem=problem), problem=problem)
    table = logged(uri, problem)
    assert table[["kind", "id", "_key"]].isna().all(axis=None)
    assert list(table["size"]) == [1.5]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        if path.suffix == ".parquet":
            assert not {"kind", "id"} & set(pq.read_schema(path).names)
        assert b"secret" not in path.read_bytes()
        assert b"boat" not in path.read_bytes()


def test_a_target_cannot_be_private() -> None:
    with pytest.raises(ValidationError, match="predictions of it are logged"):
        make_problem(target={"name": "y", "type": "number", "private": True})


def test_names_of_the_log_are_taken() -> None:
    with pytest.raises(ValidationError, match="'_request' is a name that Millrace uses"):
        make_problem(features=FEATURES | {"_request": {"type": "number"}})


def test_a_log_of_an_older_contract_stays_readable(uri: str) -> None:
    older = {name: FEATURES[name] for name in ("size", "id")}
    older |= {"floor": {"type": "category", "categories": ["ground", "7"]}, "gone": {"type": "number"}}
    problem = make_problem(features=older)
    rows = [{"size": 1, "id": "a", "floor": floor, "gone": 5} for floor in ("ground", "7")]
    write(uri, make_entry(1, *rows, problem=problem, time=1e9), problem=problem)
    write(uri, make_entry(2, time=2e9))
    table = logged(uri)
    assert set(PROBLEM.features) < set(table.columns)
    assert "gone" not in table
    np.testing.assert_array_equal(table["floor"], [np.nan, 7, 3])
    assert list(table["kind"].notna()) == [False, False, True]
    assert list(table["lift"].isna()) == [True, True, False]
    # And the other way round: a page that mixes both.
    assert list(logged(uri, problem)["floor"]) == ["ground", "7", "3"]


def test_old_rows_are_deleted_and_no_others(uri: str) -> None:
    now = time.time()
    old = [make_entry(f"old {n}", time=now - 3 * DAY - n) for n in range(20)]
    write(uri, *old, Outcomes(now - 3 * DAY, [Outcome(1.0, "old 1")]))
    write(uri, make_entry("new", time=now - DAY), Outcomes(now, [Outcome(1.0, "new")]))
    log = PredictionLog(LogSettings(uri=uri, keep_days=2, flush_seconds=0.01), PROBLEM)
    wait(lambda: requests(uri) == ["new"])
    wait(lambda: count_outcomes(uri, PROBLEM) == (1, 0, 1, 0))
    assert log.close().fault is None


def test_a_person_is_forgotten(uri: str, tmp_path: Path) -> None:
    rows = [HOME | {"id": name} for name in ("ann", "bob", "ann")]
    outcomes = [Outcome(1.0, "1", 0), Outcome(2.0, "1", 1), Outcome(3.0, key="ann"), Outcome(4.0, key="bob")]
    write(uri, make_entry(1, *rows), make_entry(2, HOME | {"id": None}), Outcomes(time.time(), outcomes))
    write(uri, make_entry(3, rows[0]))
    assert forget(uri, PROBLEM, "ann") == 3
    assert list(logged(uri)["_key"]) == ["bob", None]
    assert [list(table["y"]) for table in read_labelled(uri, PROBLEM)] == [[2.0]]
    assert count_outcomes(uri, PROBLEM) == (2, 0, 2, 0)
    assert forget(uri, PROBLEM, "ann") == 0
    assert not any(b"ann" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@given(
    keys=st.lists(
        st.lists(st.none() | st.sampled_from(["ann", "bob", 'a"nn']), min_size=1, max_size=6), min_size=1
    )
)
def test_what_is_left_of_a_request_keeps_its_numbers(
    keys: list[list[str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    uri = f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db"
    entries = [
        make_entry(
            number,
            *(HOME | {"id": key, "size": row} for row, key in enumerate(of_request)),
            answers=[{"prediction": 10.0 * row} for row in range(len(of_request))],
        )
        for number, of_request in enumerate(keys)
    ]
    write(uri, *entries)
    rows = [(str(n), row, key) for n, of_request in enumerate(keys) for row, key in enumerate(of_request)]
    left = sorted((row for row in rows if row[2] != "ann"), key=str)
    for forgotten in (len(rows) - len(left), 0):
        assert forget(uri, PROBLEM, "ann") == forgotten
        tables = list(read_log(uri, PROBLEM))
        if not left:
            assert not tables
            continue
        table = pd.concat(tables)
        own = table[["_request", "_row", "_key"]]
        assert sorted(own.itertuples(index=False, name=None), key=str) == left
        assert (table["size"] == table["_row"]).all()
        assert (table["_prediction"] == 10 * table["_row"]).all()


def test_sql_can_look_at_it(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/log.db", make_entry(1, HOME, HOME | {"size": 7, "id": None}))
    with sqlite3.connect(tmp_path / "log.db") as database:
        mode = database.execute("PRAGMA journal_mode").fetchone()
        found = database.execute(
            "SELECT row, key, features ->> '$.size', answer ->> '$.prediction' FROM predictions ORDER BY row"
        )
        assert (mode, found.fetchall()) == (("wal",), [(0, "home 1", 1.5, 2.5), (1, None, 7, 2.5)])


def test_moments_with_a_zone_are_read_in_utc(uri: str) -> None:
    write(uri, make_entry(1, HOME | {"built": "2020-01-02T03:04:05+02:00"}))
    assert list(logged(uri)["built"]) == [pd.Timestamp(2020, 1, 2, 1, 4, 5)]


def test_a_file_of_another_form_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE predictions (id INTEGER PRIMARY KEY, time REAL, features TEXT)")
        database.execute("INSERT INTO predictions VALUES (1, 1.0, '{}')")
    database.close()
    before, uri = path.read_bytes(), f"sqlite:///{path}"
    log = PredictionLog(LogSettings(uri=uri, flush_seconds=0.01), PROBLEM)
    log.offer(make_entry(1))
    wait(lambda: log.status.fault)
    told = "another version of Millrace wrote it; move it away"
    assert told in str(log.close(0.1).fault)
    assert log.status.lost == {"closed": 1}
    with pytest.raises(UserError, match=told):
        list(read_log(uri, PROBLEM))
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT * FROM predictions").fetchall() == [(1, 1.0, "{}")]
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("predictions",)]
    assert path.read_bytes()[100:] == before[100:]


def test_parquet_files_rotate_and_have_the_contracts_types(tmp_path: Path) -> None:
    log = PredictionLog(
        LogSettings(uri=str(tmp_path), flush_seconds=0.01, rotate_rows=10, spool=tmp_path / "spool"), PROBLEM
    )
    files = tmp_path / "predictions"
    for number in range(30):
        log.offer(make_entry(number))
        wait(lambda number=number: log.status.written > number)
    wait(lambda: len(list(files.glob("*.parquet"))) >= 2)
    assert {int(name) for name in requests(str(tmp_path))} <= set(range(30))
    log.close()
    assert sorted(map(int, requests(str(tmp_path)))) == list(range(30))
    schema = pq.read_schema(next(files.glob("*.parquet")))
    kinds = [str(schema.field(name).type) for name in (*PROBLEM.inputs, "_prediction")]
    assert kinds == ["double", "double", "string", "bool", "timestamp[us]", "double"]
    assert not list((tmp_path / "spool").iterdir())
    assert all(path.suffix == ".parquet" for path in files.iterdir())


def test_no_reader_ever_sees_half_a_file(tmp_path: Path) -> None:
    log = PredictionLog(LogSettings(uri=str(tmp_path), flush_seconds=0.001, rotate_rows=50), PROBLEM)
    seen = 0
    for number in range(3000):
        log.offer(make_entry(number))
        if number % 100 == 0 and any((tmp_path / "predictions").glob("*.parquet")):
            seen = max(seen, len(requests(str(tmp_path))))
    assert log.close(60).written == 3000
    assert len(requests(str(tmp_path))) == 3000 >= seen


def test_several_processes_write_one_log(uri: str) -> None:
    code = """
log = PredictionLog(LogSettings(uri=sys.argv[1], flush_seconds=0.01, rotate_rows=300), problem)
for number in range(1000):
    assert log.offer(entry(f"{sys.argv[2]} {number}"))
    if number % 50 == 0:
        time.sleep(0.01)
print(log.close(60).written)
"""
    processes = [run(code, uri, str(number)) for number in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out, err) == ("1000\n", "")
    expected = Counter(f"{process} {number}" for process in range(3) for number in range(1000))
    assert Counter(requests(uri)) == expected


# The queue


@given(
    limit=st.integers(1, 12),
    drop=st.sampled_from(["drop_newest", "drop_oldest"]),
    steps=st.lists(st.integers(1, 6) | st.sampled_from(["take", "done", "back"]), max_size=60),
)
def test_every_row_waits_is_done_or_is_counted(limit: int, drop: Any, steps: list[Any]) -> None:
    queue = RowQueue(limit, drop)
    offered = finished = 0
    held: list[Any] = []
    for number, step in enumerate(steps):
        if step == "take":
            held += queue.take(3)
        elif step == "done":
            queue.done(held)
            finished, held = finished + size_of(held), []
        elif step == "back":
            queue.put_back(held)
            held = []
        else:
            fits = queue.rows + step <= limit
            accepted = queue.put(Outcomes(number, [Outcome(1.0)] * step))
            assert accepted or not fits
            assert not accepted or fits or drop == "drop_oldest"
            offered += step
        assert queue.rows <= limit
        assert offered == finished + queue.rows + queue.lost.total()
    rest = held + queue.take(10**6)
    assert [item.time for item in rest] == sorted(item.time for item in rest)
    assert size_of(rest) == queue.rows


def test_threads_fill_and_empty_the_queue_and_no_row_goes_uncounted() -> None:
    queue = RowQueue(500, "drop_oldest")
    stop = threading.Event()
    done = 0

    def take() -> None:
        nonlocal done
        while not stop.is_set() or queue.rows:
            items = queue.take(50)
            done += size_of(items)
            queue.done(items)

    def put() -> None:
        for _ in range(5000):
            queue.put(Outcomes(0.0, [Outcome(1.0)] * 3))

    taker, putters = threading.Thread(target=take), [threading.Thread(target=put) for _ in range(4)]
    for thread in (taker, *putters):
        thread.start()
    for thread in putters:
        thread.join()
    stop.set()
    taker.join()
    assert done + queue.lost.total() == 4 * 5000 * 3


@pytest.mark.parametrize(("drop", "kept"), [("drop_newest", "0"), ("drop_oldest", "9999")])
def test_a_full_queue_loses_by_its_policy_and_counts(drop: str, kept: str, uri: str) -> None:
    # Nothing is written before the end.
    settings = LogSettings(uri=uri, flush_seconds=60, flush_rows=10**6, queue_rows=10_000, when_full=drop)
    log = PredictionLog(settings, PROBLEM)
    two = make_entry(0, HOME, HOME)
    answers = [log.offer(msgspec.structs.replace(two, request=str(number))) for number in range(10_000)]
    assert sum(answers) == (5000 if drop == "drop_newest" else 10_000)
    assert log.close(60) == LogStatus(0, 10_000, {"full": 10_000})
    found = set(requests(uri))
    assert len(found) == 5000
    assert kept in found


def test_what_comes_after_the_end_is_refused_and_counted(uri: str) -> None:
    log = PredictionLog(LogSettings(uri=uri), PROBLEM)
    log.close()
    assert not log.offer(make_entry(1, HOME, HOME))
    assert log.status.lost == {"closed": 2}


def test_a_row_that_cannot_be_encoded_takes_no_other_with_it(uri: str) -> None:
    bad = msgspec.structs.replace(make_entry("bad"), answers=b"\xff")
    two = make_entry("two", HOME, HOME)
    worse = msgspec.structs.replace(two, question=msgspec.structs.replace(two.question, body=b"\xff"))
    status = write(uri, make_entry(1), bad, make_entry(2), worse, make_entry(3), flush_seconds=0.2)
    assert status == LogStatus(0, 3, {"unencodable": 3})
    assert requests(uri) == ["1", "2", "3"]


class Recorder:
    """A watcher that remembers, and fails at what it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.status = LogStatus()

    def watch(self, entries: Any) -> None:
        self.seen += [entry.request for entry in entries]
        raise ValueError("a watcher's own fault")

    def report(self, status: LogStatus) -> None:
        self.status = status


def test_the_watcher_is_told_once_of_each_entry_and_may_fail(uri: str) -> None:
    watcher = Recorder()
    log = PredictionLog(LogSettings(uri=uri, flush_seconds=0.01), PROBLEM, watcher)
    for number in range(20):
        log.offer(make_entry(number))
    log.offer(Outcomes(1.0, [Outcome(1.0, "1")]))
    status = log.close(60)
    assert watcher.seen == [str(number) for number in range(20)]
    assert watcher.status == status == LogStatus(0, 21)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uri": "sqlite://log.db"}, "sqlite:///PATH"),
        ({"uri": "sqlite:///"}, "sqlite:///PATH"),
        ({"queue_rows": 9_999}, "greater than or equal to 10000"),
        ({"when_full": "wait"}, "drop_newest"),
        ({"keep_days": 0}, "greater than 0"),
        ({"keep": 1}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LogSettings(**({"uri": "sqlite:///log.db"} | changes))


def test_where_no_log_is_a_sentence_says_so(uri: str) -> None:
    for read in (read_log, read_labelled):
        with pytest.raises(UserError, match="there is no prediction log"):
            list(read(uri, PROBLEM))
    with pytest.raises(UserError, match="there is no prediction log"):
        count_outcomes(uri, PROBLEM)


def test_a_damaged_log_is_a_sentence(uri: str, tmp_path: Path) -> None:
    write(uri, make_entry(1))
    for path in (path for path in tmp_path.rglob("*") if path.suffix in (".db", ".parquet")):
        path.write_bytes(b"not what it was" * 100)
    with pytest.raises(UserError, match="the prediction log cannot be read"):
        list(read_log(uri, PROBLEM))


def test_a_missing_package_is_named() -> None:
    code = """
sys.modules["s3fs"] = None
from millrace.errors import UserError
try:
    PredictionLog(LogSettings(uri="s3://logs/homes"), problem)
except UserError as error:
    print(error)
"""
    out, err = run(code).communicate(timeout=120)
    assert "s3://logs/homes: a log of Parquet files needs the packages fsspec and s3fs" in out, err
    assert PREPARED not in out


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The endpoint of an S3 server with the bucket `logs`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="logs")
    forget_object_stores()
    yield endpoint
    forget_object_stores()
    server.stop()


def test_an_object_store_keeps_a_log(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    for name, value in keys.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    uri, spool, now = "s3://logs/homes", tmp_path / "spool", time.time()
    write(uri, make_entry("old", HOME | {"id": "ann"}, time=now - 5 * DAY), spool=spool)
    outcomes = Outcomes(now, [Outcome(7.0, "new", 1)])
    write(uri, make_entry("new", HOME, HOME | {"id": "bob"}), outcomes, spool=spool)
    assert requests(uri) == ["old", "new", "new"]
    assert [list(table["y"]) for table in read_labelled(uri, PROBLEM)] == [[7.0]]
    assert forget(uri, PROBLEM, "ann") == 1
    assert forget(uri, PROBLEM, "bob") == 1
    assert requests(uri) == ["new"]
    write(uri, make_entry("older", time=now - 9 * DAY), spool=spool)
    assert json.dumps(sorted(requests(uri))) == '["new", "older"]'
    log = PredictionLog(LogSettings(uri=uri, keep_days=6, flush_seconds=0.01, spool=spool), PROBLEM)
    wait(lambda: requests(uri) == ["new"])
    log.close()
    assert not list(spool.iterdir())
