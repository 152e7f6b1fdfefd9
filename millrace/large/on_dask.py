"""LightGBM's trees grown by the workers of a Dask cluster, each on rows of its own.

The rows are sent to the workers once, in single precision, and stay in their memory for all folds and fits:
the workers need no way to the source or to where the rows are stored. While it learns, LightGBM connects the
workers by sockets of its own, on all addresses of their machines and without a password: let nobody else into
their network.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import dask
import dask.array as da
import lightgbm
import numpy as np
from dask.delayed import delayed
from distributed import Client, Future
from lightgbm.dask import DaskLGBMClassifier, DaskLGBMRegressor
from numpy.typing import NDArray

from millrace.clusters import connected, short
from millrace.errors import EngineError
from millrace.large.rows import BATCH
from millrace.large.training import Bins, Grow, quiet
from millrace.models.boosting import LightGBMModel, LightGBMSettings, parameters

# Who was connected to whom while the trees grew is no part of a model.
NETWORK = re.compile(r"^\[(machines|local_listen_port|num_machines|time_out|pre_partition): .*\]\n", re.M)


class Block(NamedTuple):
    """Some consecutive rows, with their matrix, targets and weights in the memory of a worker."""

    start: int
    stop: int
    worker: str
    sent: "Future[Any]"


@contextmanager
def growing(scheduler: str | None, bins: Bins) -> Iterator[Grow]:
    """Trees grown by the workers of a scheduler (`tcp://HOST:PORT`), or else by some of this machine's own.

    Each split is chosen by the histograms of all workers; the bins' edges are by a worker's own rows, so the
    trees are not quite those of one machine.

    Raises:
        EngineError: no scheduler answers, it has no workers, these have other libraries, or one was lost.
    """
    quiet()
    # What is sent is larger than what Dask thinks is a task.
    large = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
    with dask.config.set(large), connected(scheduler) as client:
        try:
            blocks = _send(client, bins)
        except Exception as error:
            raise _lost(scheduler, error) from None

        def grow(rows: NDArray[np.int32], settings: LightGBMSettings, seed: int) -> LightGBMModel:
            try:
                return _grow(client, bins, blocks, rows, settings, seed)
            except Exception as error:
                raise _lost(scheduler, error) from None

        yield grow


def _lost(scheduler: str | None, error: Exception) -> EngineError:
    who = f"--scheduler {scheduler}" if scheduler else "--engine dask"
    return EngineError(
        f"{who}: the workers did not grow the trees to the end: {short(error)}. If one was lost, perhaps for "
        "want of memory, give them more; the same command goes on from the finished steps."
    )


def _send(client: Client, bins: Bins) -> list[Block]:
    """All rows, consecutive ones to each worker, so that it has its share."""
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    # Also of a table with few rows, each worker has some.
    size = min(BATCH, -(-bins.rows.rows // len(workers)))
    starts = range(0, bins.rows.rows, size)
    learnt, weights = bins.about.learnt, bins.about.weights
    blocks = []
    for number, start in enumerate(starts):
        stop = min(start + size, bins.rows.rows)
        worker = workers[number * len(workers) // len(starts)]
        part = (
            bins.matrix(start, stop).astype(np.float32),
            learnt[start:stop],
            None if weights is None else weights[start:stop],
        )
        # Not by what it holds: a future of the same rows may be about to go.
        [sent] = client.scatter([part], workers=[worker], hash=False)
        blocks.append(Block(start, stop, worker, sent))
    return blocks


def _grow(
    client: Client,
    bins: Bins,
    blocks: list[Block],
    rows: NDArray[np.int32],
    settings: LightGBMSettings,
    seed: int,
) -> LightGBMModel:
    width = len(bins.state.columns)
    matrices, targets, weights = [], [], []
    for block in blocks:
        first, last = np.searchsorted(rows, [block.start, block.stop]).tolist()
        if first == last:
            continue
        inside = (rows[first:last] - block.start).astype(np.int32)
        [chosen] = client.scatter([inside], workers=[block.worker], hash=False)
        taken = [delayed(_take)(delayed(block.sent), delayed(chosen), which) for which in range(3)]
        count = last - first
        matrices.append(da.from_delayed(taken[0], (count, width), np.float32))
        targets.append(da.from_delayed(taken[1], (count,), np.float64))
        weights.append(da.from_delayed(taken[2], (count,), np.float64))
    told = parameters(settings, bins.about, len(rows), seed=seed, threads=1)
    # Each worker uses the threads it has.
    del told["num_threads"]
    kind = DaskLGBMClassifier if bins.rows.problem.classes else DaskLGBMRegressor
    estimator = kind(client=client, n_estimators=settings.n_estimators, tree_learner="data", **told)
    # LightGBM persists and waits without saying by which client.
    with client.as_current():
        estimator.fit(
            da.concatenate(matrices),
            da.concatenate(targets),
            sample_weight=None if bins.about.weights is None else da.concatenate(weights),
            feature_name=[f"f{i}" for i in range(width)],
            categorical_feature=bins.state.categorical,
        )
    text = NETWORK.sub("", estimator.booster_.model_to_string())
    return LightGBMModel(lightgbm.Booster(model_str=text), bins.about.task)


def _take(sent: tuple[Any, ...], chosen: NDArray[np.int32], which: int) -> Any:
    """What a worker does: some rows of a block's matrix, targets or weights."""
    return sent[which][chosen]
