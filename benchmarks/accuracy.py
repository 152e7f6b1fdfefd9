"""How well Californian houses are priced: Millrace beside other libraries, on the same rows.

    python benchmarks/accuracy.py [SEEDS]

Reads ../shared/data/california_housing.csv (scikit-learn's eight columns and the target). Each of the seeds
0, 1, ... parts it 80/20 by scikit-learn's `train_test_split`; everything is learnt from the 80, and scored
by RMSE on the 20 (100,000 USD; 1990). Millrace does what its training pipeline does between `split` and
`evaluate`: the contract's transforms, folds for every candidate of a configuration and for their blend,
the best one fitted on all training rows. The others are given the eight columns as they are. Prints each
figure as it comes: RMSE by seed, mean, standard deviation over the seeds, and the mean seconds of a
training, all of it included, on two processors at most.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, train_test_split

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from millrace.bundle import FittedModel  # noqa: E402
from millrace.contract import load_problem  # noqa: E402
from millrace.leaderboard import compare  # noqa: E402
from millrace.models import TrainingRows, fit_model  # noqa: E402
from millrace.selection import cross_validate, make_folds  # noqa: E402
from millrace.settings import TrainingSettings  # noqa: E402
from millrace.stacking import blend, fit_blend  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "california_housing.csv"
PROBLEM = load_problem("california_housing", ROOT / "configs" / "problems")
INPUTS, TARGET = list(PROBLEM.inputs), PROBLEM.target.name
THREADS = 2
Predictor = Callable[[pd.DataFrame], np.ndarray]
Trainer = Callable[[pd.DataFrame], Predictor]


def millrace(config: str) -> Trainer:
    """The candidates of a run configuration, as the pipeline trains and chooses them."""
    return lambda table: champion(config, table).predict


def champion(config: str, table: pd.DataFrame) -> FittedModel:
    """The best of a configuration's candidates and of their blend, fitted on all rows."""
    parameters = yaml.safe_load((ROOT / "configs" / config).read_text(encoding="utf-8"))["parameters"]
    settings = TrainingSettings.model_validate(parameters["settings"])
    rows = TrainingRows.of(table, PROBLEM)
    folds = make_folds(table, PROBLEM, settings.folds, settings.seed)
    scored = [
        cross_validate(name, candidate, rows, folds, seed=settings.seed, threads=THREADS)
        for name, candidate in settings.candidates.items()
    ]
    results, out_of_folds = [list(part) for part in zip(*scored, strict=True)]
    if settings.blend and len(results) > 1:
        results.append(blend(results, out_of_folds, PROBLEM)[0])
    best = compare(results, PROBLEM, rows.target, folds).results[0]
    if best.weights:
        model: Any = fit_blend(best.weights, settings.candidates, rows, seed=settings.seed, threads=THREADS)
    else:
        candidate = settings.candidates[best.candidate]
        model = fit_model(candidate, rows, seed=settings.seed, threads=THREADS)
    return FittedModel(PROBLEM, rows.state, model)


def library(make: Callable[[], Any]) -> Trainer:
    """A library's own estimator on the eight columns as they are."""
    return lambda table: make().fit(table[INPUTS], table[TARGET]).predict


def tuned(budgets: Iterable[float]) -> Trainer:
    """LightGBM on the eight columns, tuned by Optuna for so many seconds a seed."""
    import lightgbm
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    left = iter(budgets)

    def make(trial: optuna.Trial | optuna.trial.FrozenTrial) -> Any:
        return lightgbm.LGBMRegressor(
            n_estimators=trial.suggest_int("n_estimators", 200, 3000, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            num_leaves=trial.suggest_int("num_leaves", 8, 256, log=True),
            min_child_samples=trial.suggest_int("min_child_samples", 5, 100, log=True),
            colsample_bytree=trial.suggest_float("colsample_bytree", 0.2, 1.0),
            subsample=trial.suggest_float("subsample", 0.4, 1.0),
            subsample_freq=1,
            reg_lambda=trial.suggest_float("reg_lambda", 1e-3, 100, log=True),
            random_state=0,
            n_jobs=1,
            verbosity=-1,
        )

    def train(table: pd.DataFrame) -> Predictor:
        X, y = table[INPUTS].to_numpy(), table[TARGET].to_numpy()
        folds = list(KFold(5, shuffle=True, random_state=0).split(X))

        def score(trial: optuna.Trial) -> float:
            model = make(trial)
            return statistics.mean(
                rmse(y[held], model.fit(X[rows], y[rows]).predict(X[held])) for rows, held in folds
            )

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(score, timeout=next(left), n_jobs=THREADS)
        fitted = make(study.best_trial).fit(X, y)
        return lambda rows: fitted.predict(rows[INPUTS].to_numpy())

    return train


def peers() -> dict[str, tuple[str, Callable[[], Any]]]:
    """The other libraries with their own defaults: the module each needs, and its estimator."""

    def lightgbm() -> Any:
        from lightgbm import LGBMRegressor

        return LGBMRegressor(n_jobs=1, verbosity=-1)

    def xgboost() -> Any:
        from xgboost import XGBRegressor

        return XGBRegressor(n_jobs=THREADS)

    def catboost() -> Any:
        from catboost import CatBoostRegressor

        return CatBoostRegressor(thread_count=THREADS, verbose=False, allow_writing_files=False)

    return {
        "scikit-learn HistGradientBoosting": (
            "sklearn",
            lambda: HistGradientBoostingRegressor(random_state=0),
        ),
        "LightGBM": ("lightgbm", lightgbm),
        "XGBoost": ("xgboost", xgboost),
        "CatBoost": ("catboost", catboost),
    }


def rmse(target: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((target - predicted) ** 2)))


def run(name: str, train: Trainer, splits: list[tuple[pd.DataFrame, pd.DataFrame]]) -> list[float]:
    """Print one row of the table; the seconds of each training are returned."""
    print(f"{name:<36}", end="", flush=True)
    scores, seconds = [], []
    for training, test in splits:
        started = time.perf_counter()
        predict = train(training)
        seconds.append(time.perf_counter() - started)
        scores.append(rmse(test[TARGET].to_numpy(), predict(test[INPUTS])))
        print(f"{scores[-1]:>8.4f}", end="", flush=True)
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    print(f"{statistics.mean(scores):>9.4f}{spread:>8.4f}{statistics.mean(seconds):>9.1f}", flush=True)
    return seconds


def main(seeds: int) -> int:
    if not DATA.is_file():
        print(f"error: {DATA} is not there; put scikit-learn's California Housing into it as CSV.")
        return 2
    table = pd.read_csv(DATA)
    splits = [train_test_split(table, test_size=0.2, random_state=seed) for seed in range(seeds)]
    splits = [tuple(part.reset_index(drop=True) for part in split) for split in splits]
    print(f"{'RMSE by seed':<36}" + "".join(f"{seed:>8}" for seed in range(seeds)), end="")
    print(f"{'mean':>9}{'sd':>8}{'seconds':>9}", flush=True)
    for name, (module, make) in peers().items():
        if find_spec(module) is None:
            print(f"{name:<36}  not installed: pip install {module}")
        else:
            run(name, library(make), splits)
    run("Millrace, default", millrace("training.yaml"), splits)
    seconds = run("Millrace, best", millrace("training_best.yaml"), splits)
    run("LightGBM tuned by Optuna as long", tuned(seconds), splits)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
