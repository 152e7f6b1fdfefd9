"""A window of the log: what is judged of it, what is only counted, and logs that are not sound."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from millrace.bundle import Bundle
from millrace.errors import UserError
from millrace.monitoring import Verdict, Window, monitor
from millrace.monitoring.settings import MonitoringSettings
from millrace.prediction_log import Entry, LogSettings, Outcome, Outcomes, sqlite_log
from millrace.prediction_log.stores import open_store
from millrace.requests import RequestReader
from tests.millrace.cases import FEATURES, make_problem
from tests.millrace.watched import MODEL, QUICK, Service, answered, make_bundle

UNTIL = datetime(2026, 3, 2, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=1)
NOON, OLD = UNTIL.timestamp() - 40_000, SINCE.timestamp() - 3 * 86_400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(params=["sqlite", "parquet"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db" if request.param == "sqlite" else f"{tmp_path}/log"


def watch(bundle: Bundle, uri: str, settings: MonitoringSettings = QUICK) -> tuple[Verdict, Window]:
    return monitor(uri, bundle, "1", SINCE, UNTIL, settings)


def rows(bundle: Bundle, count: int, seed: int = 9) -> pd.DataFrame:
    return answered(bundle.fitted, count, seed)


def test_rows_of_a_service_and_of_a_batch_are_judged_with_their_outcomes(bundle: Bundle, uri: str) -> None:
    service, table = Service(bundle, uri), rows(bundle, 300)
    service.answer(table[:200], NOON)
    service.answer(table[200:], NOON, "batch", variant="batch")
    service.learn(table["y"][:150], NOON + 60)
    service.close()
    verdict, window = watch(bundle, uri)
    assert verdict.counted.judged == {"champion": 200, "batch": 100}
    assert (verdict.drift.status, verdict.drift.rows) == ("no drift", 300)
    assert (verdict.performance.status, verdict.performance.labelled_rows) == ("no decay", 150)
    # By the library itself, on the same rows.
    expected = bundle.fitted.predict(table)
    assert sorted(window.predicted) == pytest.approx(sorted(expected))
    errors = table["y"][:150].to_numpy() - expected[:150]
    assert verdict.performance.metrics["rmse"].value == pytest.approx(float((errors**2).mean() ** 0.5))
    assert len(window.sample) == QUICK.report_rows
    assert window.sample["y"].notna().sum() > 0
    assert not any(
        getattr(verdict.counted, name)
        for name in ("shadow", "future", "unanswered", "damaged", "replaced", "unknown", "early")
    )


def test_what_is_not_judged_is_counted(bundle: Bundle, uri: str) -> None:
    service, table = Service(bundle, uri), rows(bundle, 120)
    other = MODEL._replace(version="7", digest="b" * 64)
    # Another version's rows are strange, and none of this one's business.
    service.answer(table.assign(size=99.0), NOON, "other", model=other)
    service.answer(table, NOON)
    service.answer(table[:30], NOON, "shadow", variant="shadow")
    service.answer(table[:20], UNTIL.timestamp() + 5_000, "future")
    service.answer(table[:25], OLD, "old")
    service.learn(table["y"][:40], NOON + 60)
    service.learn(table["y"][:10], NOON + 70)
    service.learn(table["y"][:3], NOON + 60, "nobody")
    service.learn(table["y"][:5], OLD - 9_999, "old")
    service.store.write_outcomes([Outcomes(UNTIL.timestamp() + 9_999, [Outcome(1.0, "r1", 20)])])
    service.close()
    verdict, _ = watch(bundle, uri)
    counted = verdict.counted
    assert (counted.judged, counted.others, counted.shadow) == ({"champion": 120}, {"7": 120}, 30)
    assert (counted.future, counted.future_outcomes) == (20, 1)
    assert (counted.outcomes, counted.replaced, counted.unknown) == (59, 10, 3)
    assert verdict.drift.status == "no drift"


def test_outcomes_that_come_late_count_when_they_come(bundle: Bundle, uri: str) -> None:
    service, table = Service(bundle, uri), rows(bundle, 250)
    service.answer(table[:150], OLD, "old")
    service.answer(table[150:], NOON)
    # Of old rows half came before the window, the others in it; one is dated before its answer.
    service.learn(table["y"][:50], OLD + 60, "old")
    known = [Outcome(float(table["y"][row]), f"old{row // 50}", row % 50) for row in range(50, 150)]
    service.store.write_outcomes([Outcomes(NOON, known), Outcomes(NOON - 999, [Outcome(1.0, "r0", 0)])])
    service.close()
    verdict, _ = watch(bundle, uri)
    assert verdict.performance.labelled_rows == 101
    assert (verdict.drift.rows, verdict.counted.early) == (100, 1)
    assert verdict.counted.unknown == 0
    short, _ = watch(bundle, uri, QUICK.model_copy(update={"label_days": 0}))
    assert short.performance.labelled_rows == 1
    # Rows that are older are looked for before an outcome is called unknown.
    assert short.counted.unknown == 0


def test_few_rows_and_none_are_no_verdict(bundle: Bundle, uri: str) -> None:
    service, table = Service(bundle, uri), rows(bundle, 30)
    service.answer(table.assign(size=99.0), NOON)
    service.close()
    verdict, _ = watch(bundle, uri)
    assert (verdict.drift.status, verdict.performance.status) == ("not enough data", "not enough data")
    empty, window = monitor(uri, bundle, "1", UNTIL, UNTIL + timedelta(days=1), QUICK)
    assert (empty.drift.status, empty.drift.rows, len(window.sample)) == ("not enough data", 0, 0)


def test_requests_that_are_half_written_are_left_out_and_counted(bundle: Bundle, tmp_path: Path) -> None:
    service, table = Service(bundle, f"sqlite:///{tmp_path}/log.db"), rows(bundle, 300)
    service.answer(table, NOON, each=10)
    service.close()
    with sqlite3.connect(tmp_path / "log.db") as database:
        database.execute("UPDATE requests SET body = substr(body, 1, 40) WHERE request = 'r3'")
        database.execute("UPDATE requests SET answers = '[]' WHERE request = 'r7'")
        database.execute(
            "UPDATE requests SET answers = replace(answers, 'prediction', 'p') WHERE request = 'r9'"
        )
    verdict, _ = watch(bundle, f"sqlite:///{tmp_path}/log.db")
    assert (verdict.counted.damaged, verdict.counted.unanswered) == (2, 10)
    assert verdict.counted.judged == {"champion": 270}
    assert verdict.drift.status == "no drift"


def test_a_log_that_cannot_be_read_is_one_sentence(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"
    service = Service(bundle, f"sqlite:///{path}")
    service.answer(rows(bundle, 600), NOON)
    service.close()
    with pytest.raises(UserError, match="there is no prediction log"):
        watch(bundle, f"sqlite:///{path}x")
    # Somebody has it for themselves.
    monkeypatch.setattr(sqlite_log, "PATIENCE", 0.05)
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            UserError, match=r"log\.db: the prediction log cannot be read: database is locked"
        ):
            watch(bundle, f"sqlite:///{path}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"log\.db: the prediction log cannot be read: "):
        watch(bundle, f"sqlite:///{path}")


def test_a_truncated_file_of_a_parquet_log_is_named(bundle: Bundle, tmp_path: Path) -> None:
    service = Service(bundle, str(tmp_path / "log"))
    service.answer(rows(bundle, 200), NOON)
    service.close()
    file = next((tmp_path / "log" / "predictions").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{file.name}: the prediction log cannot be read"):
        watch(bundle, str(tmp_path / "log"))


def test_a_log_of_another_contract_s_rows_is_no_drift_of_this_one(bundle: Bundle, uri: str) -> None:
    """After a change of the schema, older versions' rows lack columns: they are those versions' own."""
    older = {name: column for name, column in FEATURES.items() if name not in ("floor", "lift")}
    problem, service, table = make_problem(features=older), Service(bundle, uri), rows(bundle, 150)
    service.answer(table, NOON)
    sent = [{name: row[name] for name in older} for row in map(service.sent, table.to_dict("records"))]
    service.close()
    answers = msgspec.json.encode([{"prediction": 1.0}] * len(sent))
    question = RequestReader(problem).read(msgspec.json.encode({"rows": sent}))
    model = MODEL._replace(version="0", digest="c" * 64)
    store = open_store(LogSettings(uri=uri), problem)
    store.write([Entry(NOON, "before", "champion", model, 0.01, question, answers)])
    store.close()
    verdict, _ = watch(bundle, uri)
    assert (verdict.counted.judged, verdict.counted.others) == ({"champion": 150}, {"0": 150})
    assert verdict.drift.status == "no drift"
