"""Columns that give the target away: known only with it, or made from it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import Task
from millrace.profiling.settings import ProfilingSettings
from millrace.quality import GOLD_TARGET, leakage_table
from millrace.quality.suites import LEAK_CORRELATION, LEAK_ROWS

SAMPLE = 20_000
FOLDS = 3


def find_leaks(gold: pd.DataFrame, task: Task, settings: ProfilingSettings) -> dict[str, str]:
    """Why a feature of a gold table is a leak, by feature.

    Either its rank correlation with the target, over all rows, or what a tree of this one column
    predicts of rows it has not seen, over a seeded sample, is as good as perfect.
    """
    correlations = leakage_table(gold).iloc[0]
    leaks = {
        str(name): f"leak: rank correlation {value:.4f} with the target"
        for name, value in correlations.items()
        if value >= LEAK_CORRELATION
    }
    sample = gold.sample(min(len(gold), SAMPLE), random_state=settings.seed)
    for name in correlations.index.difference(list(leaks), sort=False):
        known = sample[[name, GOLD_TARGET]].dropna()
        score = _predictability(known[[name]].to_numpy(), known[GOLD_TARGET].to_numpy(), task, settings.seed)
        if score >= LEAK_CORRELATION:
            leaks[str(name)] = f"leak: it predicts the target all by itself (score {score:.4f} of 1)"
    return leaks


def _predictability(
    feature: NDArray[np.float64], target: NDArray[np.float64], task: Task, seed: int
) -> float:
    """R squared; for classes, the share of the commonest class' wrong guesses that the feature mends."""
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if len(target) < LEAK_ROWS or len(np.unique(target)) < 2 or len(np.unique(feature)) < 2:
        return 0.0
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    tree: Any = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    predicted = cross_val_predict(tree(random_state=seed), feature, target, cv=folds)
    if task == "regression":
        scale = float(np.abs(target).max())
        error, spread = (predicted - target) / scale, (target - target.mean()) / scale
        return float(1 - (error**2).sum() / (spread**2).sum())
    wrong_without = 1 - np.bincount(target.astype(int)).max() / len(target)
    return float(1 - (predicted != target).mean() / wrong_without)
