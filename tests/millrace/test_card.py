"""The model card: complete, the same in HTML and in Markdown, the same bytes twice, and safe to show."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace import slices
from millrace.bundle import CARD, CARD_MARKDOWN, PROVENANCE, FittedModel, write_json
from millrace.card import HEAD_LENGTH, PLACE, head, shown, weakest, write_card
from millrace.contract import Task
from millrace.evaluation import Evaluation, evaluate
from millrace.explanation import Importance
from millrace.features import encode_target
from millrace.intervals import fit_intervals
from millrace.leaderboard import Leaderboard
from millrace.metrics import Outcome
from millrace.models import TrainingRows, fit_model
from millrace.packing import Training
from millrace.pages import markdown
from millrace.promotion import baseline_predictions
from millrace.selection import CandidateResult
from millrace.splitting import split
from tests.millrace.cases import FEATURES, TASKS, make_case, make_problem, settings

PROVENANCE_FACTS: dict[str, Any] = {
    "created": "2025-01-01T00:00:00+00:00",
    "git_revision": None,
    "run": {"id": "17", "name": "training <1>"},
    "data": {"origin": "a|b.csv", "digest": "0" * 64, "rows": 240, "dvc": {"revision": "v1"}},
    "seed": 0,
    "settings": {},
    "libraries": {"numpy": "2.2"},
}
HOSTILE = "<script>alert('1')</script> | a *b* _c_ [d](http://e) `f` <!-- provenance --> $x$ & \\ # \n- g"


class Page(HTMLParser):
    """What a page is made of: tags with attributes, its text, and its tables as lists of rows."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def tables_of(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, unescaped; each must be of GitHub's form."""
    found, lines = [], text.split("\n")
    for number, line in enumerate(lines):
        if not re.fullmatch(r"\|( ---:? \|)+", line):
            continue
        assert lines[number - 2] == ""
        start, stop = number - 1, lines.index("", number)
        rows = [re.split(r"(?<!\\)\|", row) for row in lines[start:stop] if row != line]
        assert {len(row) for row in rows} == {line.count("|") + 1}
        assert all(row[0] == row[-1] == "" for row in rows)
        found.append([[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row[1:-1]] for row in rows])
    return found


def training_of(task: Task, **changes: Any) -> Training:
    """What a run of the training pipeline would pack."""
    case = make_case(task)
    problem = make_problem(task, **changes)
    rows = TrainingRows.of(case.table, problem)
    model = fit_model(settings("lightgbm"), rows, seed=0, threads=1)
    fitted = FittedModel(problem, rows.state, model)
    outcome = Outcome(problem, case.rows.target, fitted.predict(case.table))
    fitted = replace(fitted, intervals=fit_intervals(outcome, np.arange(len(case.table))))
    training_rows, holdout, record = split(case.table, problem)
    return Training(
        fitted=fitted,
        training_rows=training_rows,
        holdout_rows=holdout,
        evaluation=judged(fitted, holdout),
        leaderboard=Leaderboard(
            metric_name="m",
            results=(result("first"), result("second")),
            baseline=result("baseline"),
            reason="why",
        ),
        importance=[Importance(feature="size", value=3.0), Importance(feature="floor", value=1.0)],
        split=record,
        evaluation_plots={"residuals": b"\x89PNG", "intervals": b"\x89PNG", "new_plot": b"\x89PNG"},
        explanation_plots={"importance": b"\x89PNG", "dependence_1": b"\x89PNG", "waterfall": b"\x89PNG"},
        data_digest="0123456789abcdef" * 4,
        confidence=0.9,
    )


def result(name: str) -> CandidateResult:
    return CandidateResult(candidate=name, metric_name="m", folds=({"m": 1.0}, {"m": 2.0}), seconds=1)


def judged(fitted: FittedModel, holdout: Any) -> Evaluation:
    problem = fitted.problem
    target = encode_target(holdout["y"], problem)
    baseline = baseline_predictions(problem.task, target, len(target), len(problem.classes))
    outcome = Outcome(problem, target, fitted.predict(holdout), fitted.threshold)
    return evaluate(holdout, outcome, baseline, fitted.intervals, resamples=100, confidence=0.9, seed=0)


@cache
def cards_of(task: Task) -> tuple[str, str]:
    """The card of a task's model in both forms, as the bundle holds it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_card(Path(folder), training_of(task))
        page, text = (Path(folder, name).read_text(encoding="utf-8") for name in (CARD, CARD_MARKDOWN))
    return page, text


@pytest.mark.parametrize("task", TASKS)
def test_the_card_holds_every_column_metric_class_candidate_and_level(task: Task) -> None:
    training = training_of(task)
    problem, evaluation = training.fitted.problem, training.evaluation
    first = {row[0] for table in tables_of(cards_of(task)[1]) for row in table}
    assert set(problem.columns) | set(problem.classes) <= first
    assert {"80%", "90%", "95%", "first, chosen", "second", "size", "floor"} <= first
    for name, interval in evaluation.metrics.items():
        row = next(
            row for table in tables_of(cards_of(task)[1]) for row in table if row[0].split(",")[0] == name
        )
        assert [float(cell) for cell in row[1:2]] == [pytest.approx(interval.value, abs=5e-5)]
        assert len(row) == 4


@pytest.mark.parametrize("task", TASKS)
def test_both_forms_say_the_same(task: Task) -> None:
    page, text = cards_of(task)
    assert Page(page).tables == tables_of(text)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_training_has_the_same_card(task: Task, tmp_path: Path) -> None:
    write_card(tmp_path, training_of(task))
    found = tuple((tmp_path / name).read_text(encoding="utf-8") for name in (CARD, CARD_MARKDOWN))
    assert found == cards_of(task)


@pytest.mark.parametrize("task", TASKS)
def test_the_page_needs_nothing_and_says_everything_in_words(task: Task) -> None:
    page = Page(cards_of(task)[0])
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object"}
    images = [attributes for name, attributes in page.tags if name == "img"]
    # A waterfall shows one row of the training table.
    assert len(images) == 5
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    alts = [image["alt"] for image in images]
    assert all(alts)
    assert len(set(alts)) == 5
    assert "What floor adds to a prediction, by its value" in alts
    assert dict(page.tags)["html"]["lang"] == "en"
    assert all(attributes["scope"] in ("col", "row") for name, attributes in page.tags if name == "th")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert page.text.count("Model card: homes") == 2


def test_what_stands_in_a_contract_is_text(tmp_path: Path) -> None:
    said = dict.fromkeys(("title", "description", "intended_use", "limits", "licence"), HOSTILE)
    columns = {**FEATURES, "size": {**FEATURES["size"], "unit": "<b>|", "meaning": HOSTILE}}
    write_card(tmp_path, training_of("regression", **said, features=columns))
    write_json(tmp_path / PROVENANCE, PROVENANCE_FACTS)
    page, text = shown(tmp_path, CARD), shown(tmp_path, CARD_MARKDOWN)
    assert "script" not in {name for name, _ in Page(page).tags}
    assert Page(page).text.count("<script>alert('1')</script>") >= 5
    assert (tmp_path / CARD_MARKDOWN).read_text().count(PLACE) == 1
    assert "<script" not in text.replace(r"\<", "")
    assert "\n- g" not in text
    plain = [[[" ".join(cell.split()) for cell in row] for row in table] for table in Page(page).tables]
    assert plain == tables_of(text)


@given(st.text(max_size=80))
def test_any_text_stays_on_its_line_and_in_its_cell(text: str) -> None:
    written = markdown(text)
    assert "\n" not in written
    assert re.sub(r"\\(.)", r"\1", written) == " ".join(text.split())
    assert not re.search(r"(?<!\\)(\\\\)*[|<`*_\[]", written)
    assert not re.match(r"([-+]|\d+[.)])( |$)", written)


def test_made_columns_are_told_with_what_they_are_made_of(tmp_path: Path) -> None:
    made = {"kind": "ratio", "of": "size", "to": "floor", "name": "size_by_floor"}
    write_card(tmp_path, training_of("regression", transforms=[made]))
    rows = [row for table in tables_of((tmp_path / CARD_MARKDOWN).read_text()) for row in table]
    assert ["size_by_floor", "ratio", "size, floor"] in rows


def test_provenance_is_shown_and_not_part_of_the_card(tmp_path: Path) -> None:
    write_card(tmp_path, training_of("binary"))
    write_json(tmp_path / PROVENANCE, PROVENANCE_FACTS)
    for name in (CARD, CARD_MARKDOWN):
        bare, whole = (tmp_path / name).read_text(), shown(tmp_path, name)
        assert "provenance.json" in bare
        assert "2025-01-01" not in bare
        assert PLACE not in whole
    page, text = shown(tmp_path, CARD), shown(tmp_path, CARD_MARKDOWN)
    facts = dict(Page(page).tables[-1][1:])  # type: ignore[arg-type]
    assert facts["By the run"] == "training <1>, 17"
    assert facts["Data from"] == "a|b.csv"
    assert facts["DVC revision"] == "v1"
    assert facts["Seed"] == "0"
    assert "Commit" not in facts
    assert Page(page).tables == tables_of(text + "\n\n")


def test_synthetic_data_is_said_first_in_both_forms(tmp_path: Path) -> None:
    write_card(tmp_path, training_of("regression", synthetic=True))
    page, text = ((tmp_path / name).read_text() for name in (CARD, CARD_MARKDOWN))
    for card in (page, text):
        assert "Synthetic data" in card.partition("At a glance")[0]
    assert all("Synthetic data" not in card for card in cards_of("regression"))


def test_the_worst_slice_is_named() -> None:
    evaluation = training_of("regression").evaluation
    assert evaluation.worst.startswith("Worst: ")
    assert evaluation.worst in Page(cards_of("regression")[0]).text
    assert weakest(evaluation)[0] == slices.worst(evaluation.slices)


def test_a_descriptions_head_is_whole_sections_within_mlflows_limit() -> None:
    text = cards_of("multiclass")[1][:4000] + f"\n\n## More\n\n{'x' * HEAD_LENGTH}\n"
    taken = head(text)
    assert len(taken) <= HEAD_LENGTH
    assert text.startswith(taken)
    assert "## At a glance" in taken
    assert text[len(taken) :].strip().startswith("## More")
    assert head("# a\n\n## b\n") == "# a\n\n## b"
    assert len(head("x" * 9000)) == HEAD_LENGTH
