"""A small neural network for tables, learnt by PyTorch and answering by NumPy alone.

Each number is encoded by how far it has passed through the bins between its quantiles, and each such
encoding has a linear embedding of its own: piecewise-linear embeddings (Gorishniy, Rubachev and
Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022). What follows
is a multilayer perceptron. Weights are a safetensors file.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from millrace.contract import Task
from millrace.errors import UserError
from millrace.features import FeatureState
from millrace.models import background
from millrace.models.base import TrainingRows, need_torch
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import torch

FILE = "model.safetensors"
# The share of the rows that says when to stop, and how many there must be for it to say anything.
VALIDATION, MIN_ROWS = 0.15, 40
BATCHES, SMALLEST_BATCH, LARGEST_BATCH = 32, 16, 256
# Rows encoded at once: their bins take some hundred megabytes.
BLOCK = 4096


class NetworkSettings(Strict):
    """`bins` of each number, numbers in its `embedding`, units of each of `layers`.

    `epochs` are passes over the rows, over which the learning rate falls to nothing; after `patience` of
    them without a better validation loss it stops early.
    """

    kind: Literal["network"] = "network"
    epochs: int = Field(30, ge=1, le=1000)
    patience: int = Field(8, ge=1)
    learning_rate: float = Field(4e-3, gt=0, le=1)
    weight_decay: float = Field(1e-2, ge=0, allow_inf_nan=False)
    dropout: float = Field(0.25, ge=0, lt=1)
    layers: int = Field(2, ge=1, le=8)
    width: int = Field(256, ge=1, le=4096)
    bins: int = Field(32, ge=1, le=256)
    embedding: int = Field(8, ge=1, le=256)

    @model_validator(mode="after")
    def _installed(self) -> "NetworkSettings":
        need_torch(self.kind)
        return self


class NetworkModel:
    """A perceptron on embedded numbers and on 0/1 columns for categories and gaps."""

    kind = "network"

    def __init__(
        self, weights: dict[str, NDArray[Any]], task: Task, state: FeatureState, kept: Matrix
    ) -> None:
        self.weights = weights
        self.task = task
        self.state = state
        self.background = kept
        self._exact = {name: values.astype(np.float64) for name, values in weights.items()}

    @classmethod
    def fit(cls, settings: NetworkSettings, rows: TrainingRows, *, seed: int, threads: int) -> "NetworkModel":
        """Always in one thread: a sum over several would depend on their number."""
        dense = rows.state.dense(rows.matrix)
        target, centre, spread = rows.learnt, 0.0, 1.0
        if rows.task == "regression":
            centre, spread = float(target.mean()), float(target.std()) or 1.0
        weights = _bins(dense[:, : len(rows.state.filled)], settings.bins)
        weights |= {"centre": np.array([centre]), "spread": np.array([spread])}
        outputs = len(rows.problem.classes) if rows.task == "multiclass" else 1
        weights |= _Fit(settings, rows, weights, dense, (target - centre) / spread, outputs, seed).run()
        return cls(weights, rows.task, rows.state, background.choose(rows.matrix, seed))

    def raw(self, matrix: Matrix) -> NDArray[np.float64]:
        """What the last layer says [rows, outputs]: values on the scale learnt, or log-odds."""
        blocks = [self._forward(matrix[start : start + BLOCK]) for start in range(0, len(matrix), BLOCK)]
        return np.concatenate(blocks) if blocks else self._forward(matrix)

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        from scipy.special import expit, softmax

        raw = self.raw(matrix)
        if self.task == "regression":
            return raw[:, 0]
        if self.task == "binary":
            return np.hstack([expit(-raw), expit(raw)])
        return np.asarray(softmax(raw, axis=1), dtype=np.float64)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save

        (folder / FILE).write_bytes(save(self.weights))
        background.save(self.background, folder)

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "NetworkModel":
        try:
            from safetensors.numpy import load
        except ModuleNotFoundError:
            raise UserError(
                f"{folder / FILE}: holds a network's weights; safetensors reads them: run `make torch`."
            ) from None
        return cls(load((folder / FILE).read_bytes()), task, state, background.load(folder))

    def _forward(self, matrix: Matrix) -> Matrix:
        weights, numbers = self._exact, len(self.state.filled)
        dense = self.state.dense(matrix)
        with np.errstate(over="ignore"):
            passed = (dense[:, :numbers, None] - weights["starts"]) * weights["slopes"]
        embedded = np.clip(passed, 0, 1).transpose(1, 0, 2) @ weights["embedding"] + weights["offset"]
        embedded = np.maximum(embedded, 0).transpose(1, 0, 2).reshape(len(dense), -1)
        hidden = np.hstack([embedded, dense[:, numbers:]])
        for layer in range(_layers(weights)):
            hidden = np.maximum(hidden @ weights[f"weight_{layer}"] + weights[f"bias_{layer}"], 0)
        answer: Matrix = hidden @ weights["answer"] + weights["answer_bias"]
        return answer * weights["spread"] + weights["centre"]


class _Fit:
    """One training: parameters by name, drawn and updated by a generator of its own.

    PyTorch's global generator would be shared by the folds, which run in parallel threads.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        rows: TrainingRows,
        bins: dict[str, NDArray[Any]],
        dense: Matrix,
        target: NDArray[np.float64],
        outputs: int,
        seed: int,
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self.settings, self.task = settings, rows.task
        self.generator = torch.Generator().manual_seed(seed)
        self.numbers = bins["starts"].shape[0]
        self.starts, self.slopes = (torch.from_numpy(bins[name]) for name in ("starts", "slopes"))
        self.dense = torch.from_numpy(dense)
        self.target = torch.from_numpy(target.astype(np.int64 if rows.task == "multiclass" else np.float32))
        given = np.ones(len(target)) if rows.weights is None else rows.weights
        self.weights = torch.from_numpy(given.astype(np.float32))
        self.parameters = self._draw(dense.shape[1] - self.numbers, outputs)

    def run(self) -> dict[str, NDArray[np.float32]]:
        """Learn, and return the parameters that did best on the rows held back."""
        import torch

        settings = self.settings
        order = torch.randperm(len(self.dense), generator=self.generator)
        held = int(len(order) * VALIDATION) if len(order) >= MIN_ROWS else 0
        validation, fitted = order[:held], order[held:]
        size = min(max(len(fitted) // BATCHES, SMALLEST_BATCH), LARGEST_BATCH)
        steps = settings.epochs * math.ceil(len(fitted) / size)
        optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        best, kept, waited = math.inf, self._snapshot(), 0
        for _ in range(settings.epochs):
            shuffled = fitted[torch.randperm(len(fitted), generator=self.generator)]
            for batch in torch.split(shuffled, size):
                optimiser.zero_grad()
                self._loss(batch, settings.dropout).backward()
                optimiser.step()
                schedule.step()
            if not held:
                kept = self._snapshot()
                continue
            with torch.no_grad():
                loss = float(self._loss(validation, 0.0))
            if loss < best:
                best, kept, waited = loss, self._snapshot(), 0
            else:
                waited += 1
                if waited >= settings.patience:
                    break
        return kept

    def _draw(self, flags: int, outputs: int) -> "dict[str, torch.Tensor]":
        """Uniform within 1 / sqrt(inputs), as PyTorch's linear layers begin."""
        settings = self.settings
        shapes: dict[str, tuple[int, ...]] = {
            "embedding": (self.numbers, settings.bins, settings.embedding),
            "offset": (self.numbers, 1, settings.embedding),
        }
        inputs = dict.fromkeys(shapes, settings.bins)
        before = self.numbers * settings.embedding + flags
        for layer in range(settings.layers):
            shapes |= {f"weight_{layer}": (before, settings.width), f"bias_{layer}": (settings.width,)}
            inputs |= {f"weight_{layer}": before, f"bias_{layer}": before}
            before = settings.width
        shapes |= {"answer": (before, outputs), "answer_bias": (outputs,)}
        inputs |= {"answer": before, "answer_bias": before}
        return {name: self._uniform(shape, inputs[name]) for name, shape in shapes.items()}

    def _uniform(self, shape: tuple[int, ...], inputs: int) -> "torch.Tensor":
        import torch

        drawn = 2 * torch.rand(shape, generator=self.generator) - 1
        return (drawn / math.sqrt(inputs)).requires_grad_()

    def _loss(self, batch: "torch.Tensor", dropout: float) -> "torch.Tensor":
        """The weighted mean loss of some rows: squared error, or log loss."""
        from torch.nn import functional

        raw, target, weights = (
            self._forward(self.dense[batch], dropout),
            self.target[batch],
            self.weights[batch],
        )
        if self.task == "regression":
            losses = (raw[:, 0] - target) ** 2
        elif self.task == "binary":
            losses = functional.binary_cross_entropy_with_logits(raw[:, 0], target, reduction="none")
        else:
            losses = functional.cross_entropy(raw, target, reduction="none")
        return (losses * weights).sum() / weights.sum()

    def _forward(self, dense: "torch.Tensor", dropout: float) -> "torch.Tensor":
        """The same as the model's own, with dropout, in single precision."""
        import torch

        passed = (dense[:, : self.numbers, None] - self.starts) * self.slopes
        embedded = torch.bmm(passed.clamp(0, 1).float().transpose(0, 1), self.parameters["embedding"])
        embedded = torch.relu(embedded + self.parameters["offset"]).transpose(0, 1).flatten(1)
        hidden = torch.hstack([embedded, dense[:, self.numbers :].float()])
        for layer in range(self.settings.layers):
            weight, bias = self.parameters[f"weight_{layer}"], self.parameters[f"bias_{layer}"]
            hidden = torch.relu(hidden @ weight + bias)
            if dropout:
                stays = torch.rand(hidden.shape, generator=self.generator) >= dropout
                hidden = hidden * stays / (1 - dropout)
        return hidden @ self.parameters["answer"] + self.parameters["answer_bias"]

    def _snapshot(self) -> dict[str, NDArray[np.float32]]:
        return {name: values.detach().numpy().copy() for name, values in self.parameters.items()}


def _bins(numbers: Matrix, count: int) -> dict[str, NDArray[Any]]:
    """Where the bins between quantiles start and 1 / width, 0 for an empty one: [numbers, bins]."""
    edges = np.quantile(numbers, np.linspace(0, 1, count + 1), axis=0).T
    widths = np.diff(edges, axis=1)
    wide = widths > 1e-300
    slopes = wide / np.where(wide, widths, 1)
    return {"starts": np.ascontiguousarray(edges[:, :-1]), "slopes": np.ascontiguousarray(slopes)}


def _layers(weights: dict[str, NDArray[Any]]) -> int:
    return sum(name.startswith("weight_") for name in weights)
