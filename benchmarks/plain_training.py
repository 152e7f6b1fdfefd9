"""The same machine-learning work as the training pipeline, as one plain script and nothing else.

Same split sizes, candidates (no blend), folds, fits, metrics, bootstrap, SHAP values and plots; no checks, no
tracking, no bundle. The yardstick of pipeline_overhead.py.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shap
import threadpoolctl
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit_lightgbm(X, y, threads):
    parameters = {
        "objective": "regression",
        "learning_rate": 0.04,
        "num_leaves": 40,
        "colsample_bytree": 0.4,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "num_threads": threads,
        "seed": 0,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return lightgbm.train(parameters, lightgbm.Dataset(X, y), 1000)


def fit_forest(X, y, threads):
    forest = RandomForestRegressor(
        60, max_features="sqrt", min_samples_leaf=3, random_state=0, n_jobs=threads
    )
    return forest.fit(X, y)


def fit_hist_boosting(X, y, threads):
    boosting = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.08, max_features=0.3, early_stopping=False, random_state=0
    )
    # As the pipeline does: on so few rows a second thread costs more than it saves.
    with threadpoolctl.threadpool_limits(threads, user_api="openmp"):
        return boosting.fit(X, y)


def fit_ridge(X, y, threads):  # noqa: ARG001
    return make_pipeline(StandardScaler(), Ridge()).fit(X, y)


def rmse(y, predicted):
    return float(np.sqrt(np.mean((y - predicted) ** 2)))


def main(path: Path, folder: Path, n_folds: int) -> None:
    table = pd.read_csv(path)
    target = table.columns[-1]
    X, y = table.drop(columns=target).to_numpy(), table[target].to_numpy()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    threads = len(os.sched_getaffinity(0))
    candidates = {
        "linear": fit_ridge,
        "random_forest": fit_forest,
        "hist_boosting": fit_hist_boosting,
        "lightgbm": fit_lightgbm,
    }
    scores = {}
    for name, fit in candidates.items():

        def run(fold, fit=fit):
            rows, validation = fold
            model = fit(X_train[rows], y_train[rows], 1)
            return rmse(y_train[validation], model.predict(X_train[validation]))

        with ThreadPoolExecutor(threads) as pool:
            folds = KFold(n_folds, shuffle=True, random_state=0).split(X_train)
            scores[name] = float(np.mean(list(pool.map(run, folds))))
    best = min(scores, key=scores.get)
    # One thread, as the pipeline's: with two, this fit is slower on so small a table.
    model = candidates[best](X_train, y_train, 1)
    predicted = model.predict(X_test)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        rows = rng.integers(0, len(y_test), len(y_test))
        error = y_test[rows] - predicted[rows]
        draws.append((rmse(y_test[rows], predicted[rows]), np.abs(error).mean()))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    axes[0].hexbin(y_test, predicted, gridsize=45, bins="log", mincnt=1)
    axes[1].hist(predicted - y_test, bins=60)
    figure.savefig(folder / "residuals.png", dpi=110)
    plt.close(figure)

    sample = X_train[rng.permutation(len(X_train))[:1000]]
    names = list(table.columns[:-1])
    raw = np.asarray(model.predict(sample, pred_contrib=True))
    values = shap.Explanation(raw[:, :-1], base_values=raw[:, -1], data=sample, feature_names=names)
    top = np.argsort(-np.abs(values.values).mean(axis=0))[:3]
    drawings = {
        "importance": lambda: plt.barh(names, np.abs(values.values).mean(axis=0)),
        "beeswarm": lambda: shap.plots.beeswarm(values, show=False),
        "waterfall": lambda: shap.plots.waterfall(values[0], show=False),
        **{f"dependence_{i}": lambda i=i: shap.plots.scatter(values[:, i], show=False) for i in top},
    }
    for name, draw in drawings.items():
        draw()
        plt.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
        plt.close("all")
    low, high = np.quantile([draw[0] for draw in draws], [0.025, 0.975])
    print(f"{best} rmse {rmse(y_test, predicted):.4f} ({low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
