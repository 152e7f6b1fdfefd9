"""Batch inference gives each row what a service would, and loses none, whatever happens to it."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import BatchSettings, Job, Manifest, Output, run_job
from millrace.batch.job import Progress
from millrace.batch.records import digest_of
from millrace.batch.rows import known_rows
from millrace.bundle import REFERENCE, Bundle, FittedModel
from millrace.casting import cast, joined
from millrace.cleaning import row_faults
from millrace.contract import Task
from millrace.errors import UserError
from millrace.prediction_log import LogSettings, ModelName, read_log
from millrace.requests import RequestReader
from millrace.scoring import Scorer
from millrace.sources.streams import find_parts
from tests.millrace.cases import TASKS, make_case, make_fitted, make_problem, make_table

ROOT = Path(__file__).parents[2]
DIGEST = "d" * 64
SMALL = BatchSettings(batch_rows=50, partition_rows=100, bad_rows_limit=1)
OWN = ["_version", "_digest", "_job"]
homes = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-100, 100),
        "floor": st.integers(1 - 2**53, 2**53 - 1),
        "kind": st.sampled_from(["flat", "house", "boat", None]),
        "lift": st.none() | st.booleans(),
        "built": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),
        "id": st.none() | st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8),
    }
)


def make_job(
    uri: object,
    task: Task = "regression",
    kind: str = "lightgbm",
    fitted: FittedModel | None = None,
    **changes: Any,
) -> Job:
    """A job for a table or folder, of small batches."""
    fitted = fitted or make_fitted(task, kind)
    changes = {"settings": SMALL} | changes
    every = changes["settings"].columns == "all"
    return Job(
        origin=str(uri),
        parts=find_parts(str(uri), Path(), fitted.problem.features, every),
        bundle=Bundle(Path(), DIGEST, fitted),
        model=ModelName("homes", "3", DIGEST),
        **changes,
    )


def write_table(
    path: Path, rows: int = 430, seed: int = 1, spoil: bool = True, **columns: Any
) -> pd.DataFrame:
    """A table of homes without its target, some rows of which break the contract."""
    table = make_table(rows=rows, seed=seed).drop(columns="y").assign(**columns)
    if spoil:
        table.loc[[3, 120], "size"] = 1e3
        table.loc[[120, 121, 428], "floor"] = [0.5, np.nan, np.inf]
        table.loc[7, "kind"] = "castle"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)
    return table


def output_rows(folder: Path, manifest: Manifest) -> pd.DataFrame:
    """The output's rows, by what its manifest lists."""
    files = [folder / partition.path for partition in manifest.partitions if partition.path]
    return pd.concat([pq.read_table(file).to_pandas() for file in files], ignore_index=True)


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(homes, min_size=1, max_size=20), task=st.sampled_from(TASKS))
@pytest.mark.parametrize("kind", ["lightgbm", "linear", "hist_boosting", "blend"])
def test_a_batch_is_its_rows_one_by_one_and_the_model_itself(
    kind: str, rows: list[dict[str, Any]], task: Task, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    fitted = make_fitted(task, kind)
    schema = {
        "size": pa.float64(),
        "floor": pa.int64(),
        "kind": pa.string(),
        "lift": pa.bool_(),
        "built": pa.timestamp("us"),
        "id": pa.string(),
    }
    table = pa.Table.from_pylist(rows, pa.schema(list(schema.items())))
    pq.write_table(table, folder / "in.parquet", row_group_size=3)
    small = BatchSettings(batch_rows=4, partition_rows=8)
    job = make_job(folder / "in.parquet", task, kind, settings=small, level=0.8)
    found = output_rows(folder / "out", run_job(job, Output(str(folder / "out")), "run", False))
    assert found["id"].tolist() == [row["id"] for row in rows]
    scorer, reader = Scorer(fitted), RequestReader(fitted.problem)
    texts = [{**row, "built": row["built"].isoformat() if row["built"] else None} for row in rows]
    ones = [scorer.predict(reader.read(json.dumps({"rows": [row]}).encode()).matrix) for row in texts]
    frame = pd.DataFrame(rows).astype({"built": "datetime64[us]", "size": float, "floor": float})
    target = pd.Series([0.0] * len(rows))
    typed = cast(table.append_column("y", pa.array(target)), make_problem("regression"), "homes")
    assert len(frame) == len(typed)
    for predictions in (np.concatenate(ones), fitted.predict(typed)):
        for name, values in fitted.columns(predictions, 0.8).items():
            if name == "_set":
                assert [list(names) for names in found[name]] == values
            elif name == "_prediction" and fitted.problem.classes:
                assert found[name].tolist() == values
            else:
                np.testing.assert_allclose(found[name].to_numpy(), np.asarray(values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["lightgbm", "network"])
def test_contributions_are_those_of_the_model_for_every_row(task: Task, kind: str, tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet", rows=60 if kind == "network" else 430, spoil=False)
    job = make_job(tmp_path / "in.parquet", task, kind, explain=True)
    rows = output_rows(tmp_path / "out", run_job(job, Output(str(tmp_path / "out")), "run", False))
    outputs = [f"{name}_" for name in job.bundle.problem.classes] if task == "multiclass" else [""]
    for output in outputs:
        parts = [name for name in rows if name.startswith(f"_contribution_{output}")]
        assert len(parts) == len(job.bundle.fitted.state.names)
        total = rows[parts].sum(axis=1) + rows[f"_base_{output}".rstrip("_")]
        if task == "regression":
            np.testing.assert_allclose(total, rows["_prediction"])
        elif task == "binary":
            np.testing.assert_allclose(1 / (1 + np.exp(-total)), rows["_probability_true"])
        else:
            assert np.isfinite(total).all()


def test_rows_that_break_the_contract_are_in_quarantine_for_training_s_reasons(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.parquet")
    table["id"] = "the same"
    table.to_parquet(tmp_path / "in.parquet", index=False)
    manifest = run_job(make_job(tmp_path / "in.parquet"), Output(str(tmp_path / "out")), "run", False)
    problem = make_problem(key=None)
    faults, _ = row_faults(cast(pa.Table.from_pandas(table.assign(y=0.0)), problem, "homes"), problem)
    bad = ds.dataset(tmp_path / "out" / "_quarantine").to_table().to_pandas()
    assert dict(zip(bad["_row"], bad["_reason"], strict=True)) == joined(faults).to_dict()
    assert bad["_file"].eq(str(tmp_path / "in.parquet")).all()
    assert table.loc[bad["_row"], "floor"].tolist() == pytest.approx(bad["floor"].tolist(), nan_ok=True)
    assert manifest.rows.model_dump() == {"read": 430, "scored": 425, "quarantined": 5}
    assert manifest.reasons == {
        "size: above 100": 2,
        "kind: not a known category": 1,
        "floor: cannot be read as integer": 1,
        "floor: missing": 1,
        "floor: infinite": 1,
    }
    assert len(output_rows(tmp_path / "out", manifest)) == 425


def test_all_columns_come_back_as_they_were(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.parquet", spoil=False, note=[f"n{i}" for i in range(430)])
    job = make_job(tmp_path / "in.parquet", settings=SMALL.model_copy(update={"columns": "all"}))
    rows = output_rows(tmp_path / "out", run_job(job, Output(str(tmp_path / "out")), "run", False))
    assert rows[list(table)].convert_dtypes().equals(table.convert_dtypes())
    assert list(rows)[len(table.columns) :] == ["_prediction", *OWN]
    assert set(rows["_version"]) == {"3"}
    assert set(rows["_digest"]) == {DIGEST}


@pytest.mark.parametrize("task", TASKS)
def test_csv_says_the_same(task: Task, tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    job = make_job(tmp_path / "in.parquet", task, level=0.9)
    rows = output_rows(tmp_path / "out", run_job(job, Output(str(tmp_path / "out")), "run", False))
    manifest = run_job(job, Output(str(tmp_path / "out.csv")), "run", False)
    files = [tmp_path / "out.csv" / str(partition.path) for partition in manifest.partitions]
    assert all(file.suffix == ".csv" for file in files)
    text = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    if task != "regression":
        rows["_set"] = ["|".join(names) for names in rows["_set"]]
        text[["_prediction", "_set"]] = text[["_prediction", "_set"]].astype(str)
        text["_prediction"] = text["_prediction"].str.replace("True", "true").str.replace("False", "false")
        text["_set"] = text["_set"].str.replace("True", "true").str.replace("False", "false")
    shared = [name for name in rows if name not in OWN]
    pd.testing.assert_frame_equal(text[shared], rows[shared], check_dtype=False)


REFUSED: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda table: table.drop(columns="floor"), "the column 'floor' of problem 'homes' is missing"),
    (lambda table: table.rename(columns={"size": "sizes"}), "Did you mean 'sizes'"),
    (lambda table: table.head(0), "has no rows to score"),
    (
        lambda table: table.assign(floor="ground"),
        r"more than the limit.*floor: cannot be read as integer \(4",
    ),
]


@pytest.mark.parametrize(("spoil", "expected"), REFUSED, ids=[expected for _, expected in REFUSED])
def test_what_cannot_be_scored_is_refused_and_nothing_is_left(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], expected: str, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "in.parquet")
    spoil(table).to_parquet(tmp_path / "in.parquet", index=False)
    job = make_job(tmp_path / "in.parquet", settings=SMALL.model_copy(update={"bad_rows_limit": 0.5}))
    with pytest.raises(UserError, match=expected):
        run_job(job, Output(str(tmp_path / "out")), "run", False)
    assert left(tmp_path) == ["in.parquet"]


def test_a_job_that_cannot_be_saved_ends_long_before_its_input(tmp_path: Path) -> None:
    for number in range(10):
        write_table(tmp_path / "in" / f"{number}.parquet", seed=number, spoil=False, floor="ground")
    limited = SMALL.model_copy(update={"bad_rows_limit": 0.1})
    read: list[int] = []
    with pytest.raises(UserError, match=r"2\d% of the input read, more than the limit.*be read as integer"):
        run_job(
            make_job(tmp_path / "in", settings=limited),
            Output(str(tmp_path / "out")),
            "run",
            False,
            lambda progress: read.append(progress.rows),
        )
    assert 860 < read[-1] < 1290
    assert left(tmp_path) == ["in", *(f"in/{number}.parquet" for number in range(10))]


def test_a_job_with_its_bad_rows_first_is_saved_by_the_others(tmp_path: Path) -> None:
    for number in range(10):
        spoilt = {"floor": "ground"} if number == 0 else {}
        write_table(tmp_path / "in" / f"{number}.parquet", seed=number, spoil=False, **spoilt)
    limited = SMALL.model_copy(update={"bad_rows_limit": 0.101})
    manifest = run_job(
        make_job(tmp_path / "in", settings=limited), Output(str(tmp_path / "out")), "run", False
    )
    assert manifest.rows.quarantined == 430


def test_columns_of_an_earlier_output_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet", _prediction=0.5)
    job = make_job(tmp_path / "in.parquet", settings=SMALL.model_copy(update={"columns": "all"}))
    with pytest.raises(UserError, match="has a column '_prediction'"):
        run_job(job, Output(str(tmp_path / "out")), "run", False)
    run_job(make_job(tmp_path / "in.parquet"), Output(str(tmp_path / "out")), "run", False)


def test_a_place_that_is_taken_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "a.parquet")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    job, before = make_job(tmp_path / "in"), left(tmp_path)
    for name, expected in (
        ("file", "is a file"),
        ("folder", "no output of inference"),
        ("in", "is the input"),
        ("in/a.parquet", "is the input"),
        ("file/out", "cannot be written"),
    ):
        for overwrite in (False, True):
            with pytest.raises(UserError, match=expected):
                run_job(job, Output(str(tmp_path / name)), "run", overwrite)
        assert left(tmp_path) == before


def test_an_output_is_replaced_only_when_asked_and_in_one_go(tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    first = run_job(make_job(tmp_path / "in.parquet"), Output(str(tmp_path / "out")), "run", False)
    write_table(tmp_path / "in.parquet", seed=2)
    job = make_job(tmp_path / "in.parquet")
    with pytest.raises(UserError, match="is there already"):
        run_job(job, Output(str(tmp_path / "out")), "run", False)
    there = left(tmp_path / "out")

    def see_the_old(_: Progress) -> None:
        assert left(tmp_path / "out") == there

    second = run_job(job, Output(str(tmp_path / "out")), "run", True, see_the_old)
    assert second.digest != first.digest
    assert not {path for path in left(tmp_path / "out") if first.job[:8] in path}
    assert left(tmp_path) == ["in.parquet", "out", *(f"out/{name}" for name in left(tmp_path / "out"))]


@pytest.mark.parametrize("task", TASKS)
def test_compiled_trees_write_the_same_files(task: Task, tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    case = make_case(task)
    case.table.to_parquet(tmp_path / REFERENCE)
    digests = []
    for trees in ("lightgbm", "compiled"):
        job = make_job(tmp_path / "in.parquet", task, settings=SMALL.model_copy(update={"trees": trees}))
        job = replace(job, bundle=replace(job.bundle, folder=tmp_path), level=0.9)
        assert job.compiled == (trees == "compiled")
        digests.append(run_job(job, Output(str(tmp_path / trees)), "run", False).digest)
    assert digests[0] == digests[1]
    np.testing.assert_array_equal(known_rows(job.bundle), case.rows.inputs)


def test_trees_are_compiled_for_large_inputs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "in.parquet")
    job = make_job(tmp_path / "in.parquet")
    assert not job.compiled
    monkeypatch.setattr("millrace.batch.job.LARGE", 10_000)
    assert job.compiled


class Stop(Exception):  # noqa: N818 - it is no fault
    """As if the process had ended."""


def stop_after(batches: int) -> Callable[[Progress], None]:
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == batches:
            raise Stop

    return report


@pytest.mark.parametrize("ending", ["", ".csv"])
@pytest.mark.parametrize("batches", [1, 3, 5, 9])
def test_a_stopped_job_goes_on_and_scores_nothing_twice(batches: int, ending: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / "in" / f"{name}.parquet")
    job = make_job(tmp_path / "in")
    whole = run_job(job, Output(f"{tmp_path}/whole{ending}"), "run", False)
    out = Path(f"{tmp_path}/out{ending}")
    with pytest.raises(Stop):
        run_job(job, Output(str(out)), "first", False, stop_after(batches))
    assert not out.exists()
    scored: list[int] = []
    manifest = run_job(job, Output(str(out)), "second", False, lambda progress: scored.append(progress.rows))
    assert manifest.digest == whole.digest == digest_of(manifest.partitions)
    assert manifest.rows == whole.rows
    assert manifest.runs == ("first", "second")
    # Of 100 rows a partition, and what was unfinished of one.
    finished = {1: 0, 3: 100, 5: 200, 9: 400}[batches]
    assert scored[-1] == 860 - finished
    assert left(out) == left(tmp_path / f"whole{ending}")


def test_another_job_does_not_go_on_with_what_is_unfinished(tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    with pytest.raises(Stop):
        run_job(make_job(tmp_path / "in.parquet"), Output(str(tmp_path / "out")), "run", False, stop_after(5))
    other = make_job(tmp_path / "in.parquet", level=0.9)
    with pytest.raises(UserError, match="holds an unfinished job of other input, model or settings"):
        run_job(other, Output(str(tmp_path / "out")), "run", False)
    assert run_job(other, Output(str(tmp_path / "out")), "run", True).rows.read == 430


def test_a_job_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    job = make_job(tmp_path / "in.parquet")

    def another(_: Progress) -> None:
        with pytest.raises(UserError, match="another process is writing"):
            run_job(job, Output(str(tmp_path / "out")), "other", False)

    assert run_job(job, Output(str(tmp_path / "out")), "run", False, another).rows.read == 430


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    for number in range(5):
        write_table(tmp_path / "in" / f"{number}.parquet", seed=number, spoil=False)
    damaged = tmp_path / "in" / "2.parquet"
    content = bytearray(damaged.read_bytes())
    content[200:6_000] = bytes(5_800)
    damaged.write_bytes(content)
    manifest = run_job(make_job(tmp_path / "in"), Output(str(tmp_path / "out")), "run", False)
    assert [file.name for file in manifest.set_aside] == [f"{tmp_path / 'in'}: 2.parquet"]
    assert "is not a readable Parquet file" in manifest.set_aside[0].reason
    assert manifest.rows.scored == 4 * 430
    assert not [name for name in left(tmp_path / "out") if name.startswith("part-00002")]
    strict = make_job(tmp_path / "in", settings=SMALL.model_copy(update={"bad_files": "fail"}))
    with pytest.raises(UserError, match=r"2\.parquet: is not a readable Parquet file"):
        run_job(strict, Output(str(tmp_path / "strict")), "run", False)
    assert not [name for name in left(tmp_path) if "strict" in name]


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in" / "a.parquet", spoil=False)
    table.assign(more=1).to_parquet(tmp_path / "in" / "b.parquet", index=False)
    table.drop(columns="floor").to_parquet(tmp_path / "in" / "c.parquet", index=False)
    table.assign(floor=table["floor"].astype(str)).to_parquet(tmp_path / "in" / "d.parquet", index=False)
    manifest = run_job(make_job(tmp_path / "in"), Output(str(tmp_path / "out")), "run", False)
    name = str(tmp_path / "in")
    assert manifest.notes == (
        f"{name}: b.parquet: has a column 'more' that the first file has not.",
        f"{name}: d.parquet: 'floor' is string, in the first file double.",
    )
    [aside] = manifest.set_aside
    assert "c.parquet: the column 'floor' of problem 'homes' is missing" in aside.reason
    assert manifest.rows.model_dump() == {"read": 1290, "scored": 1290, "quarantined": 0}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: the system writes no file beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_named_and_the_job_goes_on_later(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.parquet", spoil=False)
    # The last partitions are larger.
    pd.concat([table, *[table.assign(id="x" * 30 + table["id"])] * 4]).to_parquet(tmp_path / "in.parquet")
    job = make_job(tmp_path / "in.parquet")
    whole = run_job(job, Output(str(tmp_path / "whole")), "run", False)
    with (
        largest_file(whole.partitions[0].bytes + 100),
        pytest.raises(UserError, match="goes on from what is"),
    ):
        run_job(job, Output(str(tmp_path / "out")), "run", False)
    assert not (tmp_path / "out").exists()
    scored: list[int] = []
    manifest = run_job(job, Output(str(tmp_path / "out")), "again", False, lambda p: scored.append(p.rows))
    assert manifest.digest == whole.digest
    assert scored[-1] < 2150


@pytest.mark.parametrize("uri", ["sqlite:///{}/log.db", "{}/log"])
def test_rows_are_in_the_prediction_log_once_however_often_the_job_was_stopped(
    uri: str, tmp_path: Path
) -> None:
    write_table(tmp_path / "in.parquet")
    log = LogSettings(uri=uri.format(tmp_path))
    some = SMALL.model_copy(update={"log_rows": 20})
    job = make_job(tmp_path / "in.parquet", settings=some, log=log, level=0.8)
    out = Output(str(tmp_path / "out"))

    def stop(*_: object) -> None:
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        # Stopped between the log and the manifest.
        patch.setattr(Output, "publish", stop)
        with pytest.raises(Stop):
            run_job(job, out, "first", False, lambda _: None)
    manifest = run_job(job, Output(str(tmp_path / "out")), "second", False)
    logged = pd.concat(read_log(log.uri, job.bundle.problem))
    assert manifest.logged.fault is None
    # Of nine batches of up to 50 rows, evenly spread.
    assert manifest.logged.rows == len(logged)
    assert 9 * 15 <= len(logged) <= 9 * 20
    assert not logged.duplicated(["_request", "_row"]).any()
    assert set(logged["_variant"]) == {"batch"}
    rows = output_rows(tmp_path / "out", manifest).set_index("id")
    for name in ("_prediction", "_low", "_high"):
        found = rows.loc[logged["_key"], name].replace([np.inf, -np.inf], np.nan).to_numpy()
        np.testing.assert_allclose(logged[name].to_numpy(), found)


def test_a_log_that_cannot_be_written_does_not_undo_the_job(tmp_path: Path) -> None:
    write_table(tmp_path / "in.parquet")
    (tmp_path / "log.db").mkdir()
    log = LogSettings(uri=f"sqlite:///{tmp_path}/log.db")
    manifest = run_job(
        make_job(tmp_path / "in.parquet", log=log), Output(str(tmp_path / "out")), "run", False
    )
    assert manifest.logged.fault
    assert manifest.rows.scored == 425


def test_an_object_store_has_the_manifest_last(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    if store.exists("/bucket"):
        store.rm("/bucket", recursive=True)
    write_table(tmp_path / "in.parquet")
    job, uri = make_job(tmp_path / "in.parquet"), "memory://bucket/out"
    with pytest.raises(Stop):
        run_job(job, Output(uri), "first", False, stop_after(5))
    assert not store.exists("/bucket/out/_manifest.json")
    scored: list[int] = []
    first = run_job(job, Output(uri), "second", False, lambda progress: scored.append(progress.rows))
    assert scored[-1] == 430 - 200

    def listed(manifest: Manifest) -> list[str]:
        names = [name for p in manifest.partitions for name in (p.path, p.quarantine) if name]
        return sorted(f"/bucket/out/{name}" for name in [*names, "_manifest.json"])

    assert store.find("/bucket/out") == listed(first)
    with pytest.raises(UserError, match="is there already"):
        run_job(job, Output(uri), "run", False)
    write_table(tmp_path / "in.parquet", seed=2)
    other = make_job(tmp_path / "in.parquet")
    with pytest.raises(Stop):
        run_job(other, Output(uri), "run", True, stop_after(5))
    # Who reads by the manifest reads the old output, whole.
    assert set(listed(first)) <= set(store.find("/bucket/out"))
    assert Manifest.model_validate_json(store.cat_file("/bucket/out/_manifest.json")) == first
    second = run_job(other, Output(uri), "run", True)
    assert store.find("/bucket/out") == listed(second)
    local = run_job(other, Output(str(tmp_path / "out")), "run", False)
    assert local.digest == second.digest


KILLED = """
import os, signal, sys
import lightgbm, pyarrow.dataset
from pathlib import Path
from millrace.batch import Output, run_job
from millrace.bundle import FittedModel
from tests.millrace.test_batch import make_job
folder, points = Path(sys.argv[1]), [int(point) for point in sys.argv[2:]]


def killed_at(point):
    # Each name of `os` that changes the disk is a point to be killed at.
    passed = [0]
    def counted(real):
        def call(*arguments, **named):
            passed[0] += 1
            if passed[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)
        return call
    for name in ("replace", "rename", "makedirs", "unlink", "remove"):
        setattr(os, name, counted(getattr(os, name)))
    # Not before the fork: threads would not come along.
    job = make_job(folder / "in", fitted=FittedModel.load(folder / "model"))
    run_job(job, Output(str(folder / "out")), f"killed at {point}", False)


ended = []
for point in points:
    child = os.fork()
    if not child:
        killed_at(point)
        os._exit(0)
    ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(ended)
"""


def test_a_job_killed_at_many_points_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / "in" / f"{name}.parquet")
    (tmp_path / "model").mkdir()
    make_fitted("regression", "lightgbm").save(tmp_path / "model")
    whole = run_job(make_job(tmp_path / "in"), Output(str(tmp_path / "whole")), "run", False)
    points = [1, 2, 3, 5, 8, 13, 4, 9, 17, 6, 12]
    script = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *map(str, points)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert script.returncode == 0, script.stderr
    assert json.loads(script.stdout.splitlines()[-1]).count(-9) >= 10, script.stdout
    folder = tmp_path / "out"
    if not folder.exists():
        run_job(make_job(tmp_path / "in"), Output(str(folder)), "last", False)
    manifest = Manifest.model_validate_json((folder / "_manifest.json").read_bytes())
    assert manifest.digest == whole.digest
    assert manifest.rows == whole.rows
    assert left(folder) == left(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["in", "model", "out", "whole"]
