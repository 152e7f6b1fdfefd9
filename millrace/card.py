"""The model card: what is known of a model, once as facts, for people as HTML and as Markdown.

After Mitchell et al., 2019, doi:10.1145/3287560.3287596. The two files are part of the bundle's identity, so
nothing in them tells when, where or by which run the model was made; `shown` puts that in.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from millrace.bundle import CARD, CARD_MARKDOWN, PROVENANCE, read_json
from millrace.contract import NUMERIC, Column, Problem
from millrace.evaluation import Evaluation
from millrace.explanation import scale
from millrace.fairness import GroupScore
from millrace.intervals import DEFAULT, HIGHEST, LOWEST
from millrace.metrics import Interval
from millrace.pages import render
from millrace.slices import MIN_ROWS_TO_JUDGE, Slice

if TYPE_CHECKING:
    from millrace.packing import Training

# Where `shown` puts the provenance; text from a contract or a table cannot look like this, it is escaped.
PLACE = "<!-- provenance -->"
HEAD_LENGTH = 5000
WEAKEST, IMPORTANT, LISTED = 15, 20, 8
IN_UNIT = frozenset({"rmse", "mae"})
DEPENDENCE = "dependence_"
INTERVALS = "intervals"
# What a picture shows, for those who cannot see it.
PICTURES = {
    "residuals": "Predicted against actual values of the holdout, and how often which error occurs",
    "calibration": "How often what was predicted with a probability was so, in ten bins of the probability",
    "confusion": "How often each class was answered with each class",
    "roc": "ROC curve: share of positives found, by the share of negatives answered as positive",
    "precision_recall": "Precision of the positive answers, by the share of positives found",
    "cost": "Mean cost of a row, by the probability from which the positive class is the answer",
    "intervals": "Some holdout rows with what was predicted, its interval or set, and what was so",
    "importance": "Features by their mean absolute contribution to a prediction",
}
PROMISE = {
    False: "At 90% the truth is below the interval in at most 5% of cases and above it in at most 5%.",
    True: "At 90% a set holds the truth for at least 90% of the rows of each class, and always the answer.",
}


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text; the columns in `numbers` are aligned to the right."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A PNG image, and what it shows in words."""

    shows: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A title, then sentences, tables and pictures; Markdown leaves the pictures out."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


def write_card(folder: Path, training: "Training") -> None:
    """Write the card as HTML and as Markdown; the same bytes for the same training."""
    problem = training.fitted.problem
    sections = tuple(_sections(training))
    for name in (CARD, CARD_MARKDOWN):
        title = f"Model card: {problem.name}"
        card = render("card", _form(name), title=title, problem=problem, sections=sections, place=PLACE)
        (folder / name).write_text(card, encoding="utf-8")


def shown(folder: Path, name: str) -> str:
    """The card of a bundle, `card.html` or `card.md`, with the bundle's provenance in its place."""
    card = (folder / name).read_text(encoding="utf-8")
    table = _provenance(read_json(folder / PROVENANCE))
    return card.replace(PLACE, render("table", _form(name), table=table))


def head(markdown: str) -> str:
    """The first sections of a card, as many as MLflow takes for a description."""
    taken = ""
    for section in re.split(r"^(?=## )", markdown, flags=re.MULTILINE):
        if len(taken) + len(section) > HEAD_LENGTH:
            break
        taken += section
    return taken.strip() or markdown[:HEAD_LENGTH]


def weakest(evaluation: Evaluation) -> list[Slice]:
    """The holdout's slices with rows enough to judge, first the one that is surely weakest."""
    known = [part for part in evaluation.slices if part.rows >= MIN_ROWS_TO_JUDGE]
    return sorted(known, key=lambda part: -part.low)


def _sections(training: "Training") -> Iterator[Section]:
    """All but the provenance, whose place is at the end of the templates."""
    problem, evaluation = training.fitted.problem, training.evaluation
    yield Section("At a glance", tables=(_glance(training),))
    yield Section("Intended use", (problem.intended_use or "Not stated.",))
    yield Section("Limits", tuple(_limits(problem)))
    yield _data(training)
    yield _how_good(training)
    yield _how_sure(training)
    yield _weak(evaluation)
    if evaluation.fairness:
        yield _fair(evaluation)
    yield _candidates(training)
    yield _explanations(training)
    yield Section("Licence", (f"Of the data: {problem.licence or 'not stated'}",))


def _glance(training: "Training") -> Table:
    problem, evaluation, split = training.fitted.problem, training.evaluation, training.split
    candidates = training.leaderboard.results
    name = evaluation.metric_name
    facts = {
        "About": problem.description,
        "Task": problem.task,
        "Predicts": _target(problem),
        "Answer": _answer(problem, evaluation),
        "Model": f"{candidates[0].candidate}, the best of {len(candidates)} candidates",
        "Learnt from": f"{split.training_rows:,} rows",
        "Judged on": f"{evaluation.rows:,} rows held out: {split.sentence(problem)}",
        f"Holdout {name}": f"{_with_interval(evaluation.metrics[name])}; "
        f"baseline {_number(evaluation.baseline[name])}",
        "Class weights": _class_weights(problem),
    }
    for coverage in evaluation.coverage:
        if coverage.level == DEFAULT:
            facts[f"{DEFAULT:.0%} {_kind(problem)}"] = (
                f"held the truth in {coverage.held.value:.1%} of the holdout"
            )
    facts["Weakest slice"] = evaluation.worst.removeprefix("Worst: ")
    return Table("The model in short", ("Fact", "Value"), tuple((k, v) for k, v in facts.items() if v))


def _limits(problem: Problem) -> Iterator[str]:
    yield problem.limits or "None are stated."
    yield (
        "A row that breaks the contract below is refused, not answered. What moves a prediction need not be "
        "what causes the target."
    )
    if problem.class_weights:
        yield "Classes were weighted: probabilities lean towards the heavier ones."
    if problem.split.by == "time":
        yield "The model knows nothing later than its training rows; their likeness to new rows fades."


def _data(training: "Training") -> Section:
    problem, split = training.fitted.problem, training.split
    rows = pd.concat([training.training_rows, training.holdout_rows], ignore_index=True)
    facts = {
        "Rows": f"{split.training_rows + split.holdout_rows:,}: {split.training_rows:,} to learn from, "
        f"{split.holdout_rows:,} held out",
        "Columns": f"{len(problem.columns)}: {len(problem.inputs)} inputs, the target"
        + (f", {unused} not used" if (unused := len(problem.features) - len(problem.inputs)) else ""),
        "Digest of the table": training.data_digest[:16],
        "Synthetic": "yes, every row is generated" if problem.synthetic else "no",
    }
    for name, column in problem.features.items():
        if column.type == "datetime":
            facts[f"Period of {name}"] = _seen(rows[name], column)
    columns = [
        (
            name,
            _role(name, problem),
            column.type,
            column.unit,
            column.meaning,
            _allowed(column),
            f"{rows[name].isna().mean():.1%}",
            _seen(rows[name], column),
        )
        for name, column in problem.columns.items()
    ]
    made = [
        (
            ", ".join(column.name for column in fitted.makes),
            fitted.declared.kind,
            ", ".join(fitted.declared.reads),
        )
        for fitted in training.fitted.state.transforms
    ]
    header = ("Column", "Role", "Type", "Unit", "Meaning", "Allowed", "Missing", "Seen")
    tables = (
        Table("The table", ("Fact", "Value"), tuple(facts.items())),
        Table("Its columns", header, tuple(columns), frozenset({6})),
        Table("Columns made from these", ("Columns", "How", "From"), tuple(made)),
    )
    stayed = (training.account.sentence,) if training.account else ()
    return Section("Data", stayed, tuple(table for table in tables if table.rows))


def _how_good(training: "Training") -> Section:
    problem, evaluation = training.fitted.problem, training.evaluation
    unit = f" ({problem.target.unit})" if problem.target.unit else ""
    metrics = [
        (
            f"{name}{unit if name in IN_UNIT else ''}{', decides' if name == evaluation.metric_name else ''}",
            _number(interval.value),
            f"{_number(interval.low)} to {_number(interval.high)}",
            _number(evaluation.baseline[name]),
        )
        for name, interval in evaluation.metrics.items()
    ]
    classes = [
        (
            score.name,
            f"{score.rows:,}",
            *map(_number, (score.precision, score.recall, score.f1, score.calibration_error)),
        )
        for score in evaluation.classes
    ]
    tables = [
        Table(
            "Metrics",
            ("Metric", "Holdout", f"{training.confidence:.0%} interval", "Baseline"),
            tuple(metrics),
            frozenset(range(1, 4)),
        ),
        Table(
            "Each class",
            ("Class", "Rows", "Precision", "Recall", "F1", "Calibration error"),
            tuple(classes),
            frozenset(range(1, 6)),
        ),
    ]
    pictures = [
        Picture(PICTURES.get(name, name.replace("_", " ")), png)
        for name, png in training.evaluation_plots.items()
        if name != INTERVALS
    ]
    return Section(
        "How good",
        (f"{evaluation.rows:,} holdout rows, scored once. The baseline knows no feature.",),
        tuple(table for table in tables if table.rows),
        tuple(pictures),
    )


def _how_sure(training: "Training") -> Section:
    problem, kind = training.fitted.problem, _kind(training.fitted.problem)
    unit = f" ({problem.target.unit})" if problem.target.unit else ""
    size = "Mean number of classes" if problem.classes else f"Mean width{unit}"
    rows = [
        (
            f"{coverage.level:.0%}",
            f"{coverage.held.value:.1%}",
            f"{coverage.held.low:.1%} to {coverage.held.high:.1%}",
            "no end" if coverage.size is None else _number(coverage.size),
        )
        for coverage in training.evaluation.coverage
    ]
    header = ("Level", "Held the truth", f"{training.confidence:.0%} interval", size)
    return Section(
        "How sure",
        (
            f"Conformal {kind}, calibrated on out-of-fold predictions of the training rows; any level from "
            f"{LOWEST:.0%} to {HIGHEST:.0%} may be asked for. {PROMISE[bool(problem.classes)]} That is so "
            "where new rows are like the training rows; here is how it was on the holdout.",
        ),
        (Table("Coverage of the holdout", header, tuple(rows), frozenset(range(4))),),
        tuple(
            Picture(PICTURES[name], png)
            for name, png in training.evaluation_plots.items()
            if name == INTERVALS
        ),
    )


def _weak(evaluation: Evaluation) -> Section:
    ranked, name = weakest(evaluation), evaluation.metric_name
    if not ranked:
        return Section("Where it is weak", ("No slice of the holdout has enough rows to tell.",))
    rows = [
        (
            part.feature,
            part.value,
            f"{part.rows:,}",
            _number(part.metric),
            f"{_number(part.low)} to {_number(part.high)}",
        )
        for part in ranked[:WEAKEST]
    ]
    header = ("Feature", "Slice", "Rows", name, "Interval")
    return Section(
        "Where it is weak",
        (
            evaluation.worst,
            f"{len(rows)} of {len(ranked)} slices; all are in metrics.json.",
        ),
        (Table("Slices, weakest first", header, tuple(rows), frozenset({2, 3, 4})),),
    )


def _fair(evaluation: Evaluation) -> Section:
    answers = evaluation.fairness[0].answer is not None
    rates = ("Answered so", "True positives", "False positives") if answers else ()
    rows = [
        (
            score.feature,
            score.group,
            *((score.answer,) if score.answer is not None else ()),
            f"{score.rows:,}",
            f"{_number(score.metric)} ({_number(score.low)} to {_number(score.high)})",
            _number(score.bias),
            *(_share(rate) for rate in _rates(score) if answers),
        )
        for score in evaluation.fairness
    ]
    answer = ("Answer",) if answers else ()
    header = ("Feature", "Group", *answer, "Rows", evaluation.metric_name, "Bias", *rates)
    numbers = frozenset(range(2 + answers, len(header)))
    return Section(
        "Groups of sensitive columns",
        (
            *evaluation.fairness_gaps,
            "Bias is the mean prediction less the mean truth; of classes, mean probability less share.",
        ),
        (Table("Each group", header, tuple(rows), numbers),),
    )


def _rates(score: GroupScore) -> tuple[float | None, ...]:
    return score.selection_rate, score.true_positive_rate, score.false_positive_rate


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _candidates(training: "Training") -> Section:
    rows = [
        (
            result.candidate + (", chosen" if place == 0 else ""),
            _number(result.metric),
            _number(result.std),
            str(len(result.folds)),
            "" if result.p_value is None else f"{result.p_value:.3f}",
        )
        for place, result in enumerate(training.leaderboard.rows)
    ]
    mean = f"{training.evaluation.metric_name}, mean of folds"
    header = ("Candidate", mean, "Deviation", "Folds", "p against the chosen")
    return Section(
        "Candidates",
        (
            "Compared by cross-validation on the training rows; the best was fitted on all of them. p is "
            "that of a one-sided paired t-test on the same folds; above 0.05 no difference is clear.",
        ),
        (Table("Candidates, best first", header, tuple(rows), frozenset({1, 2, 3, 4})),),
    )


def _explanations(training: "Training") -> Section:
    whole = sum(item.value for item in training.importance) or 1.0
    rows = [
        (item.feature, _number(item.value), f"{item.value / whole:.1%}")
        for item in training.importance[:IMPORTANT]
    ]
    header = ("Feature", "Mean absolute contribution", "Share")
    names = training.fitted.state.names
    pictures = [Picture(PICTURES["importance"], training.explanation_plots["importance"])]
    for name, png in training.explanation_plots.items():
        if name.startswith(DEPENDENCE):
            feature = names[int(name.removeprefix(DEPENDENCE))]
            pictures.append(Picture(f"What {feature} adds to a prediction, by its value", png))
    return Section(
        "What it looks at",
        (f"SHAP values of training rows, measured in {scale(training.fitted)}.",),
        (Table("Importance of features", header, tuple(rows), frozenset({1, 2})),),
        tuple(pictures),
    )


def _provenance(facts: dict[str, Any]) -> Table:
    data, run = facts["data"], facts["run"]
    known = {
        "Made": facts["created"],
        "By the run": f"{run['name']}, {run['id']}",
        "Commit": facts["git_revision"],
        "Data from": data["origin"],
        **{f"DVC {name}": value for name, value in data.get("dvc", {}).items()},
        "Digest of the data": data["digest"],
        "Rows read": f"{data['rows']:,}",
        "Seed": facts["seed"],
        "Libraries": ", ".join(f"{name} {version}" for name, version in facts["libraries"].items()),
    }
    rows = tuple((name, str(value)) for name, value in known.items() if value not in (None, ""))
    return Table("Where this model comes from", ("Fact", "Value"), rows)


def _form(name: str) -> Literal["html", "md"]:
    return "html" if name == CARD else "md"


def _kind(problem: Problem) -> str:
    return "sets of classes" if problem.classes else "prediction intervals"


def _target(problem: Problem) -> str:
    target = problem.target
    unit = f" in {target.unit}" if target.unit else ""
    meaning = f": {target.meaning}" if target.meaning else ""
    learnt = "; learnt as log(1 + value)" if target.transform else ""
    return f"{target.name}{unit}{meaning}{learnt}"


def _answer(problem: Problem, evaluation: Evaluation) -> str:
    if evaluation.threshold is None:
        return ""
    costs = problem.costs
    why = (
        f", which costs least where a false one costs {costs.false_positive:g} and a missed one "
        f"{costs.false_negative:g}"
        if costs
        else ""
    )
    return f"'{problem.classes[1]}' from a probability of {evaluation.threshold:.4g} on{why}"


def _class_weights(problem: Problem) -> str:
    weights = problem.class_weights
    if isinstance(weights, dict):
        return ", ".join(f"{name}: {weight:g}" for name, weight in weights.items())
    return weights or ""


def _role(name: str, problem: Problem) -> str:
    if name == problem.target.name:
        return "target"
    return "input" if name in problem.inputs else "key" if name == problem.key else "not used"


def _allowed(column: Column) -> str:
    if column.type == "category":
        return _listed(column.categories) + (
            "; others count as missing" if column.unseen == "missing" else ""
        )
    low, high = column.range or (None, None)
    if low is None and high is None:
        return "any"
    if low is None or high is None:
        return f"at most {high:,.10g}" if low is None else f"at least {low:,.10g}"
    return f"{low:,.10g} to {high:,.10g}"


def _seen(values: "pd.Series[Any]", column: Column) -> str:
    """What the rows hold, in few words; nothing of columns that identify."""
    known = values.dropna()
    if column.type == "id" or known.empty:
        return ""
    if column.type == "datetime":
        return f"{known.min():%Y-%m-%d} to {known.max():%Y-%m-%d}"
    if column.type in NUMERIC:
        return f"{known.min():,.5g} to {known.max():,.5g}, median {known.median():,.5g}"
    counts = known.astype(str).str.lower() if column.type == "boolean" else known.astype(str)
    shares = counts.value_counts(normalize=True)
    # By share and then by name: equal shares have an order of their own.
    ranked = sorted(shares.items(), key=lambda item: (-item[1], str(item[0])))
    return _listed([f"{name} {share:.0%}" for name, share in ranked])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f", and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _with_interval(interval: Interval) -> str:
    return f"{_number(interval.value)} ({_number(interval.low)} to {_number(interval.high)})"


def _number(value: float) -> str:
    """Four decimals, or two of what has several digits before them; never a negative zero."""
    places = 4 if abs(value) < 10 else 2
    return f"{round(value, places) + 0.0:,.{places}f}"
