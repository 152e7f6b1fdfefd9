"""How often prediction intervals and sets hold the truth, over splits of several seeds.

    python benchmarks/interval_coverage.py [SEEDS [CALIFORNIA_CSV]]

California Housing (from ../shared/data, if nothing else is said) by LightGBM; then the two small problems
with classes by the linear model, on four times as many seeds, as their holdouts are small. Everything as in
training: the contract's cleaning, a holdout by hash, out-of-fold predictions of five folds, a model fitted
on all training rows. Beside each coverage stands its standard error.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from millrace.bundle import FittedModel  # noqa: E402
from millrace.casting import cast  # noqa: E402
from millrace.cleaning import clean  # noqa: E402
from millrace.contract import load_problem  # noqa: E402
from millrace.features import encode_target  # noqa: E402
from millrace.intervals import SHOWN, Intervals, fit_intervals, holds  # noqa: E402
from millrace.metrics import Outcome  # noqa: E402
from millrace.models import CandidateSettings, TrainingRows, fit_model  # noqa: E402
from millrace.models.boosting import LightGBMSettings  # noqa: E402
from millrace.models.linear import LinearSettings  # noqa: E402
from millrace.selection import cross_validate, make_folds, read_out_of_fold  # noqa: E402
from millrace.sources import read  # noqa: E402
from millrace.splitting import split  # noqa: E402

CALIFORNIA = str(ROOT.parent / "shared" / "data" / "california_housing.csv")
FOLDS = 5
THREADS = 2
BAD_ROWS_LIMIT = 0.05


def judged(name: str, candidate: CandidateSettings, source: str, seed: int) -> tuple[Intervals, Outcome]:
    """A model's intervals, and its predictions of the rows held out by this seed."""
    problem = load_problem(name, ROOT / "configs" / "problems")
    problem = problem.model_copy(update={"split": problem.split.model_copy(update={"seed": seed})})
    raw = read(source, Path(), problem.columns)
    silver = clean(cast(raw.table, problem, raw.origin), problem, BAD_ROWS_LIMIT).silver
    training, holdout, _ = split(silver, problem)
    rows = TrainingRows.of(training, problem)
    folds = make_folds(training, problem, FOLDS, seed)
    _, table = cross_validate(name, candidate, rows, folds, seed=seed, threads=THREADS)
    fitted = FittedModel(problem, rows.state, fit_model(candidate, rows, seed=seed, threads=THREADS))
    truth = encode_target(holdout[problem.target.name], problem)
    intervals = fit_intervals(read_out_of_fold(table, problem), table["row"].to_numpy())
    return intervals, Outcome(problem, truth, fitted.predict(holdout))


def percent(hits: np.ndarray) -> str:
    """A share with its standard error, in percent."""
    share = hits.mean()
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / len(hits)):.1f}"


def regression(name: str, candidate: CandidateSettings, source: str, seeds: int) -> None:
    runs = [judged(name, candidate, source, seed) for seed in range(seeds)]
    predicted = np.concatenate([outcome.predicted for _, outcome in runs])
    thirds = np.searchsorted(np.quantile(predicted, [1 / 3, 2 / 3]), predicted)
    unit = runs[0][1].problem.target.unit
    print(f"\n{name}, {candidate.kind}, {len(predicted):,} holdout rows of {seeds} seeds")
    print(f"{'level':>6}{'held, %':>14}{'by seed, %':>34}{'low/middle/high third, %':>27}{'mean width':>12}")
    for level in SHOWN:
        parts = [holds(intervals, outcome, level) for intervals, outcome in runs]
        held = np.concatenate([part for part, _ in parts])
        widths = np.concatenate([part for _, part in parts])
        by_seed = " ".join(f"{100 * part.mean():.1f}" for part, _ in parts)
        by_third = " / ".join(f"{100 * held[thirds == third].mean():.1f}" for third in range(3))
        print(f"{100 * level:>5.0f}%{percent(held):>14}{by_seed:>34}{by_third:>27}{widths.mean():>12.3f}")
    print(f"widths in {unit}")


def classes(name: str, candidate: CandidateSettings, seeds: int) -> None:
    runs = [judged(name, candidate, f"sklearn://{name}", seed) for seed in range(seeds)]
    truth = np.concatenate([outcome.target for _, outcome in runs]).astype(int)
    accuracy = np.mean(np.concatenate([outcome.labels == outcome.target for _, outcome in runs]))
    print(
        f"\n{name}, {candidate.kind}, {len(truth):,} holdout rows of {seeds} seeds, accuracy {accuracy:.1%}"
    )
    print(f"{'level':>6}{'held, %':>14}{'without the answer, %':>23}{'classes in a set':>18}  each class, %")
    for level in SHOWN:
        parts = [holds(intervals, outcome, level) for intervals, outcome in runs]
        held = np.concatenate([part for part, _ in parts])
        sizes = np.concatenate([part for _, part in parts])
        members = np.concatenate([intervals.members(outcome.predicted, level) for intervals, outcome in runs])
        bare = members[np.arange(len(members)), truth]
        by_class = ", ".join(
            f"{kind} {percent(bare[truth == position])}"
            for position, kind in enumerate(runs[0][1].problem.classes)
        )
        print(f"{100 * level:>5.0f}%{percent(held):>14}{percent(bare):>23}{sizes.mean():>18.2f}  {by_class}")
    print("A set always holds the answer; without it, and class by class, is what the level promises.")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    california = sys.argv[2] if len(sys.argv) > 2 else CALIFORNIA
    regression("california_housing", LightGBMSettings(), california, count)
    classes("breast_cancer", LinearSettings(), 4 * count)
    classes("iris", LinearSettings(), 4 * count)
