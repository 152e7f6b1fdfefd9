"""A neural network that looks up the nearest training rows and weighs what each of them answers.

A row's numbers are turned into normal scores and embedded as waves (Gorishniy et al., NeurIPS 2022).
Each of its nearest training rows is a token: what it is like, how it differs, how far it is and which
way, and its target. Attention, asked by the row's own embedding, weighs the tokens; a small network
corrects the weighted target. Looking training rows up is what TabR does (Gorishniy et al., ICLR 2024);
here they are found once, by distance, before anything is learnt.

A training row never sees its own target. The answer is the mean of several such networks. The training
rows' inputs and targets are part of the model, and so of its bundle, as safetensors.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from millrace.contract import Task
from millrace.errors import UserError, unknown
from millrace.features import FeatureState
from millrace.models.base import TrainingRows, need_torch
from millrace.strict import Strict
from millrace.transforms import Matrix
from millrace.transforms.geography import Distances, RotatedCoordinates
from millrace.transforms.neighbours import Neighbours

if TYPE_CHECKING:
    from torch import Tensor

FILE, ABOUT = "model.safetensors", "network.json"
QUANTILES = 512
# Normal scores end here: of a thousand rows, the one at either end.
LARGEST_SCORE = 3.1
FREQUENCIES, EMBEDDED, HEADS = 16, 8, 2
BLOCK = 2048
BACKGROUND = 16
# A score that leaves no weight; finite, as all neighbours of a row may be dropped.
UNSEEN = -1e4
# More than members: no two networks of different models learn from the same numbers.
SEEDS = 1000
Rows = NDArray[np.int64]
Weights = dict[str, NDArray[Any]]
Parameters = dict[str, "Tensor"]


class NeighbourNetworkSettings(Strict):
    """Rows are near by the columns in `by`, each times its weight; without any, by all inputs' scores."""

    kind: Literal["neighbour_network"] = "neighbour_network"
    by: dict[str, float] = Field(default_factory=dict)
    neighbours: int = Field(24, ge=1, le=500)
    members: int = Field(4, ge=1, le=100)
    epochs: int = Field(12, ge=1, le=1000)
    learning_rate: float = Field(4e-3, gt=0, le=1)
    weight_decay: float = Field(0.1, ge=0, le=1)
    batch: int = Field(256, ge=8, le=65_536)
    width: int = Field(256, ge=8, le=4096)
    token: int = Field(64, ge=4, le=1024)
    dropout: float = Field(0.15, ge=0, lt=1)
    neighbour_dropout: float = Field(0.3, ge=0, lt=1)

    @field_validator("by")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not 0 < weight < 1e9 for weight in value.values()):
            raise ValueError("the weights in 'by' are above 0")
        return value

    @model_validator(mode="after")
    def _installed(self) -> "NeighbourNetworkSettings":
        need_torch(self.kind)
        return self


class Lookup:
    """Training rows as tensors of plain numbers, and how to find and describe those near a row.

    `tensors` are what is stored: `grid` [quantiles, read], `described` [rows, described] in
    normal scores, `points` [rows, by], `targets` [rows, outputs], `unit` [1], the median distance to the
    nearest, `target_scale` [2], the mean and the spread that a regression's targets are measured by, and
    `background` [rows, columns], a few rows of the matrix that predictions are explained against.
    """

    def __init__(self, by: dict[str, float], state: FeatureState, tensors: dict[str, Any]) -> None:
        from scipy.spatial import cKDTree

        self.by, self.state, self.tensors = by, state, tensors
        self.read, self.described = _read(state)
        self.tree = cKDTree(tensors["points"])

    @classmethod
    def learn(cls, by: dict[str, float], rows: TrainingRows) -> "Lookup":
        """Take all training rows."""
        from scipy.spatial import cKDTree

        read, described = _read(rows.state)
        dense = rows.state.dense(rows.matrix)[:, read]
        grid = np.quantile(dense, np.linspace(0, 1, QUANTILES), axis=0)
        scores = _scores(dense, grid)
        points = _points(rows.matrix, by, rows.state, scores[:, described])
        apart = cKDTree(points).query(points, k=[2])[0]
        unit = float(np.median(apart)) or float(np.mean(apart[np.isfinite(apart)])) or 1.0
        if rows.task == "regression":
            shift, scale = rows.learnt.mean(), rows.learnt.std() or 1.0
            targets = ((rows.learnt - shift) / scale)[:, None]
        else:
            shift, scale = 0.0, 1.0
            targets = np.eye(len(rows.problem.classes))[rows.target.astype(int)]
        tensors = {
            "grid": grid,
            "described": scores[:, described].astype(np.float32),
            "points": points,
            "targets": targets.astype(np.float32),
            "unit": np.array([unit]),
            "target_scale": np.array([shift, scale]),
            "background": rows.matrix[:: -(-len(rows.matrix) // BACKGROUND)],
        }
        return cls(by, rows.state, tensors)

    def place(self, matrix: Matrix) -> tuple[Matrix, Matrix]:
        """Normal scores [rows, read] and points [rows, by] of rows."""
        scores = _scores(self.state.dense(matrix)[:, self.read], self.tensors["grid"])
        return scores, _points(matrix, self.by, self.state, scores[:, self.described])

    def tokens(self, scores: Matrix, points: Matrix, near: Rows) -> Matrix:
        """What is known of each near row but its target: [rows, near, token inputs]."""
        away = self.tensors["points"][near] - points[:, None]
        distance = np.linalg.norm(away, axis=2, keepdims=True) / self.tensors["unit"]
        theirs = self.tensors["described"][near]
        difference = theirs - scores[:, None, self.described]
        ways = np.tanh(away / (5 * self.tensors["unit"]))
        parts = [theirs, difference, np.log1p(distance), np.exp(-distance / 2), ways]
        return np.concatenate(parts, axis=2)

    def nearest_others(self, rows: TrainingRows, count: int) -> tuple[Rows, Rows]:
        """Of each training row that has so many, the nearest that may teach it: [taught], [taught, count].

        By rows these are all but itself. By group they are in other parts, as the group of a new row is
        unknown; by time in earlier parts. Where no row has `count` of them, it is as many as there are.

        Raises:
            UserError: no row may teach another.
        """
        from scipy.spatial import cKDTree

        points, by = self.tensors["points"], rows.problem.split.by
        if by == "rows":
            count = min(count, len(points) - 1)
            every = np.arange(len(points))
            found = self.tree.query(points, k=np.arange(1, count + 2))[1]
            own = found == every[:, None]
            # Among too many rows at the same place it may be missing from its own list.
            own[~own.any(axis=1), -1] = True
            return every, found[~own].reshape(len(points), count)
        teachers = {
            part: np.flatnonzero(rows.parts < part if by == "time" else rows.parts != part)
            for part in np.unique(rows.parts)
        }
        count = min(count, max(map(len, teachers.values())))
        if not count:
            raise UserError(
                "a candidate of kind 'neighbour_network' finds no training rows that may teach others: all "
                f"are in one {by}; bring more rows or take the candidate out."
            )
        taught, nearest = [], []
        for part, others in teachers.items():
            if len(others) >= count:
                taught.append(np.flatnonzero(rows.parts == part))
                found = cKDTree(points[others]).query(points[taught[-1]], k=np.arange(1, count + 1))[1]
                nearest.append(others[found])
        return np.concatenate(taught), np.concatenate(nearest)

    def nearest(self, points: Matrix, count: int) -> Rows:
        """The nearest training rows of new ones: [rows, count]."""
        return np.asarray(self.tree.query(points, k=np.arange(1, count + 1))[1], dtype=np.int64)


class NeighbourNetworkModel:
    """Networks of the same shape, and the training rows that they look up; PyTorch learns, NumPy answers."""

    kind = "neighbour_network"

    def __init__(
        self, settings: NeighbourNetworkSettings, lookup: Lookup, members: list[Weights], task: Task
    ) -> None:
        self.settings, self.lookup, self.members, self.task = settings, lookup, members, task
        self._exact = [{name: values.astype(np.float64) for name, values in one.items()} for one in members]

    @classmethod
    def fit(
        cls, settings: NeighbourNetworkSettings, rows: TrainingRows, *, seed: int, threads: int
    ) -> "NeighbourNetworkModel":
        """Networks learn in `threads`, each in one: a sum over several would depend on their number."""
        import torch

        lookup = Lookup.learn(settings.by, rows)
        taught, near = lookup.nearest_others(rows, settings.neighbours)
        settings = settings.model_copy(update={"neighbours": near.shape[1]})
        scores, points = lookup.place(rows.matrix[taught])
        targets = lookup.tensors["targets"]
        weights = np.ones(len(targets)) if rows.weights is None else rows.weights
        described = lookup.tokens(scores, points, near)
        arrays = (scores, described, targets[near], targets[taught], weights[taught])
        data = [torch.tensor(values, dtype=torch.float32) for values in arrays]
        seeds = [seed * SEEDS + member for member in range(settings.members)]
        with ThreadPoolExecutor(threads) as pool:
            members = list(pool.map(lambda own: _train(settings, data, rows.task, own), seeds))
        return cls(settings, lookup, members, rows.task)

    @property
    def background(self) -> Matrix:
        """Training rows that predictions are explained against: [rows, columns]."""
        return np.asarray(self.lookup.tensors["background"], dtype=np.float64)

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        blocks = [self._block(matrix[start : start + BLOCK]) for start in range(0, len(matrix), BLOCK)]
        mean = np.concatenate(blocks) if blocks else self._block(matrix)
        if self.task == "regression":
            shift, scale = self.lookup.tensors["target_scale"]
            return np.asarray(mean[:, 0] * scale + shift)
        return mean

    def _block(self, matrix: Matrix) -> NDArray[np.float64]:
        from scipy.special import softmax

        scores, points = self.lookup.place(matrix)
        near = self.lookup.nearest(points, self.settings.neighbours)
        given = scores, self.lookup.tokens(scores, points, near), self.lookup.tensors["targets"][near]
        outputs = np.stack([_answer(weights, *given) for weights in self._exact])
        if self.task != "regression":
            outputs = softmax(outputs, axis=2)
        return np.asarray(outputs.mean(axis=0), dtype=np.float64)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save

        networks = {
            f"{number}.{name}": values
            for number, weights in enumerate(self.members)
            for name, values in weights.items()
        }
        # safetensors writes memory as it lies, whatever the order of its axes.
        stored = {**self.lookup.tensors, **networks}
        content = save({name: np.ascontiguousarray(values) for name, values in stored.items()})
        (folder / FILE).write_bytes(content)
        about = json.dumps(self.settings.model_dump(mode="json"), indent=2, sort_keys=True)
        (folder / ABOUT).write_text(about + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "NeighbourNetworkModel":
        from safetensors.numpy import load

        # Not validated: who answers needs no PyTorch, and the bundle's digest vouches for the values.
        settings = NeighbourNetworkSettings.model_construct(**json.loads((folder / ABOUT).read_bytes()))
        members: list[Weights] = [{} for _ in range(settings.members)]
        tensors: Weights = {}
        for key, values in load((folder / FILE).read_bytes()).items():
            number, _, name = key.partition(".")
            (members[int(number)] if name else tensors)[name or key] = values
        return cls(settings, Lookup(settings.by, state, tensors), members, task)


def _read(state: FeatureState) -> tuple[list[int], list[int]]:
    """Positions in the dense matrix of what is read, and among these of what near rows are described by.

    Averages over neighbours are not read: the network looks at the rows themselves. Directions and
    distances to places do not describe a near row: how far it is says more.
    """
    made = [fitted.declared for fitted in state.transforms for _ in fitted.makes]
    makers = [None] * len(state.inputs) + made
    sources = [makers[position] for position in state.dense_sources]
    read = [i for i, maker in enumerate(sources) if not isinstance(maker, Neighbours)]
    described = [
        i for i, at in enumerate(read) if not isinstance(sources[at], RotatedCoordinates | Distances)
    ]
    return read, described


def _scores(dense: Matrix, grid: Matrix) -> Matrix:
    """Normal scores [rows, columns]: where each value lies among the training rows' quantiles."""
    from scipy.special import ndtri

    levels = np.linspace(0, 1, len(grid))
    ranks = np.empty_like(dense)
    for position, (values, known) in enumerate(zip(dense.T, grid.T, strict=True)):
        # From both ends: the rank of a value that many rows share is the middle of theirs.
        up, down = np.interp(values, known, levels), np.interp(-values, -known[::-1], levels)
        ranks[:, position] = (up + 1 - down) / 2
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(ndtri(ranks), -LARGEST_SCORE, LARGEST_SCORE))


def _points(matrix: Matrix, by: dict[str, float], state: FeatureState, scores: Matrix) -> Matrix:
    """Where rows are, [rows, by]; a missing coordinate is filled as in the dense matrix."""
    if not by:
        return scores
    names = [state.names[position] for position in state.filled]
    for name in by:
        if name not in names:
            raise unknown("column of numbers", name, names)
    positions = [names.index(name) for name in by]
    return np.asarray(state.dense(matrix)[:, positions] * np.array(list(by.values())))


def _train(settings: NeighbourNetworkSettings, data: list["Tensor"], task: Task, seed: int) -> Weights:
    """One network: AdamW under a learning rate that rises and falls, for so many epochs."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    scores, tokens, answers, targets, weights = data
    network = _initial(settings, scores.shape[1], tokens.shape[2], targets.shape[1], generator)
    optimizer = torch.optim.AdamW(
        network.values(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    batches = max(1, len(scores) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * batches, pct_start=0.1
    )
    for _ in range(settings.epochs):
        for chosen in torch.randperm(len(scores), generator=generator).tensor_split(batches):
            output = _forward(
                network,
                scores[chosen],
                tokens[chosen],
                answers[chosen],
                dropout=settings.dropout,
                neighbour_dropout=settings.neighbour_dropout,
                generator=generator,
            )
            if task == "regression":
                losses = ((output - targets[chosen]) ** 2)[:, 0]
            else:
                losses = -(targets[chosen] * output.log_softmax(dim=1)).sum(dim=1)
            optimizer.zero_grad()
            loss: Any = (losses * weights[chosen]).sum() / weights[chosen].sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.values(), 1.0)
            optimizer.step()
            schedule.step()
    return {name: tensor.detach().numpy() for name, tensor in network.items()}


def _initial(
    settings: NeighbourNetworkSettings, columns: int, described: int, outputs: int, generator: Any
) -> Parameters:
    """Random weights, as uniform as 1 / sqrt(inputs) of each layer."""
    import torch

    embedded, token, width = columns * EMBEDDED, settings.token, settings.width
    joined = embedded + HEADS * (token + outputs)
    shapes = {
        "embed": (columns, 2 * FREQUENCIES, EMBEDDED),
        "token1": (described + outputs, token),
        "token2": (token, token),
        "score_token": (token, token),
        "score_row": (embedded, token),
        "score": (token, HEADS),
        "hidden1": (joined, width),
        "hidden2": (width, width),
        "output": (width, outputs),
    }
    network = {"frequencies": torch.randn(columns, FREQUENCIES, generator=generator) * 0.3}
    for name, shape in shapes.items():
        weight = torch.rand(shape, generator=generator) * 2 - 1
        network[name] = weight / math.sqrt(shape[-2])
        network[f"{name}_bias"] = torch.zeros(shape[:-2] + shape[-1:])
    return {name: tensor.requires_grad_() for name, tensor in network.items()}


def _forward(
    network: Parameters,
    scores: "Tensor",
    tokens: "Tensor",
    answers: "Tensor",
    *,
    dropout: float,
    neighbour_dropout: float,
    generator: Any,
) -> "Tensor":
    """[rows, outputs] from scores [rows, columns], tokens and answers [rows, near, ...]."""
    import torch

    def layer(name: str, values: "Tensor") -> "Tensor":
        return values @ network[name] + network[f"{name}_bias"]

    def dropped(values: "Tensor") -> "Tensor":
        return values * (torch.rand(values.shape, generator=generator) >= dropout) / (1 - dropout)

    angles = 2 * math.pi * scores[:, :, None] * network["frequencies"]
    waves = torch.cat([angles.cos(), angles.sin()], dim=2)
    embedded = (
        (torch.einsum("bcf,cfe->bce", waves, network["embed"]) + network["embed_bias"]).relu().flatten(1)
    )
    token = layer("token2", layer("token1", torch.cat([tokens, answers], dim=2)).relu())
    asked = layer("score_token", token) + layer("score_row", embedded)[:, None]
    # What is not looked at in one step is in another: fewer rows are learnt by heart.
    hidden_rows = torch.rand((*asked.shape[:2], 1), generator=generator) < neighbour_dropout
    attention = layer("score", asked.relu()).masked_fill(hidden_rows, UNSEEN).softmax(dim=1)
    seen = torch.einsum("bkh,bkt->bht", attention, token).flatten(1)
    told = torch.einsum("bkh,bko->bho", attention, answers)
    hidden = dropped(layer("hidden1", torch.cat([embedded, seen, told.flatten(1)], dim=1)).relu())
    return told[:, 0] + layer("output", dropped(layer("hidden2", hidden).relu()))


def _answer(network: Weights, scores: Matrix, tokens: Matrix, answers: Matrix) -> Matrix:
    """What `_forward` does, without dropout, by NumPy."""
    from scipy.special import softmax

    def layer(name: str, values: Matrix) -> Matrix:
        return np.asarray(values @ network[name] + network[f"{name}_bias"])

    def flat(values: Matrix) -> Matrix:
        return values.reshape(len(values), values.shape[1] * values.shape[2])

    angles = 2 * np.pi * scores[:, :, None] * network["frequencies"]
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=2).swapaxes(0, 1)
    embedded = flat(_relu((waves @ network["embed"]).swapaxes(0, 1) + network["embed_bias"]))
    token = layer("token2", _relu(layer("token1", np.concatenate([tokens, answers], axis=2))))
    asked = layer("score_token", token) + layer("score_row", embedded)[:, None]
    attention = softmax(layer("score", _relu(asked)), axis=1).swapaxes(1, 2)
    seen, told = attention @ token, attention @ answers
    hidden = _relu(layer("hidden1", np.hstack([embedded, flat(seen), flat(told)])))
    return np.asarray(told[:, 0] + layer("output", _relu(layer("hidden2", hidden))))


def _relu(values: Matrix) -> Matrix:
    return np.maximum(values, 0)
