"""LightGBM's trees grown by the workers of a Dask cluster, each on rows of its own.

The workers read the stored rows themselves, so these are in a folder that all of them see. While it learns,
LightGBM connects the workers by sockets of its own, on all addresses of their machines and without a
password: let nobody else into their network.
"""

from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import Client
from lightgbm.dask import DaskLGBMClassifier, DaskLGBMRegressor

from millrace.errors import UserError
from millrace.large.training import Bins, quiet
from millrace.metrics import Floats
from millrace.models.boosting import LightGBMModel, LightGBMSettings, parameters


def grow(client: Client, bins: Bins, settings: LightGBMSettings, *, seed: int) -> LightGBMModel:
    """Trees on all rows to train on, a share of them on each worker.

    Each split is chosen by the histograms of all workers; the bins' edges are by a worker's own rows, so the
    trees are not quite those of one machine.

    Raises:
        UserError: the contract weighs classes, which is for one machine.
    """
    quiet()
    if bins.about.weights is not None:
        raise UserError(
            "Classes are weighted on one machine alone; take `class_weights` out of the contract."
        )
    workers = len(client.scheduler_info()["workers"])
    # Without what it has read so far: a worker reads that itself.
    sent = Bins(bins.rows, bins.state)
    edges = np.linspace(0, bins.rows.rows, workers + 1, dtype=np.int64)
    matrices, targets = [], []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        count = int(np.searchsorted(bins.used, stop) - np.searchsorted(bins.used, start))
        matrix = delayed(_matrix)(sent, start, stop)
        target = delayed(_target)(sent, start, stop)
        matrices.append(da.from_delayed(matrix, (count, len(bins.state.columns)), np.float32))
        targets.append(da.from_delayed(target, (count,), np.float64))
    told = parameters(settings, bins.about, bins.rows.rows, seed=seed, threads=1)
    # Each worker uses the threads it has.
    del told["num_threads"]
    kind = DaskLGBMClassifier if bins.rows.problem.classes else DaskLGBMRegressor
    estimator = kind(client=client, n_estimators=settings.n_estimators, tree_learner="data", **told)
    # LightGBM persists and waits without saying by which client.
    with client.as_current():
        estimator.fit(
            da.concatenate(matrices),
            da.concatenate(targets),
            feature_name=[f"f{i}" for i in range(len(bins.state.columns))],
            categorical_feature=bins.state.categorical,
        )
    return LightGBMModel(estimator.booster_, bins.about.task)


def _matrix(bins: Bins, start: int, stop: int) -> Any:
    """Some rows' matrix in single precision, which halves what is held twice here."""
    return bins.matrix(start, stop)[_used(bins, start, stop)].astype(np.float32)


def _target(bins: Bins, start: int, stop: int) -> Floats:
    learnt: Floats = bins.about.learnt[start:stop][_used(bins, start, stop)]
    return learnt


def _used(bins: Bins, start: int, stop: int) -> Any:
    inside = bins.used[(bins.used >= start) & (bins.used < stop)]
    return inside - start
