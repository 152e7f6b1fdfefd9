"""Exact TreeSHAP of trees that scikit-learn has grown, computed by LightGBM.

LightGBM reads trees from its own text and explains them (Lundberg et al., 2020,
doi:10.1038/s42256-019-0138-9). shap's explainer knows nothing of histogram boosting's splits by
category, and the service has no shap installed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.metrics import Floats

if TYPE_CHECKING:
    import lightgbm

Array = NDArray[Any]
# LightGBM's decision types, as bits.
BY_CATEGORY, DEFAULT_LEFT, MISSING_IS_NAN = 1, 2, 8


@dataclass(frozen=True)
class Tree:
    """Nodes [nodes], the root first: where `left` < 0 is a leaf. A number goes left up to `threshold`.

    `bitsets` of a node that splits by category hold which go left; whatever else goes right.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    value: Array
    count: Array
    missing_left: Array
    bitsets: dict[int, Array]


def contributions(booster: "lightgbm.Booster", matrix: Floats) -> tuple[Floats, Floats]:
    """Contributions [rows, features, outputs] and base [outputs], on the scale of the leaves."""
    raw = np.asarray(booster.predict(matrix, pred_contrib=True))
    blocks = raw.reshape(len(matrix), -1, matrix.shape[1] + 1)
    return blocks[:, :, :-1].transpose(0, 2, 1), blocks[0, :, -1]


def of_forest(forest: Any, dense: Floats, outputs: int) -> tuple[Floats, Floats]:
    """The same for a random forest of scikit-learn; `outputs` are the last of its classes, or its value."""
    trees = (
        _forest_tree(estimator.tree_, output, len(forest.estimators_))
        for estimator in forest.estimators_
        for output in range(-outputs, 0)
    )
    # scikit-learn's forests compare in single precision.
    return contributions(
        _booster(trees, dense.shape[1], outputs), dense.astype(np.float32).astype(np.float64)
    )


def of_hist_boosting(booster: Any, matrix: Floats) -> tuple[Floats, Floats]:
    """The same for histogram boosting of scikit-learn: log-odds for classes."""
    known, places = booster._bin_mapper.make_known_categories_bitsets()
    trees = (
        _boosted_tree(predictor, known, places)
        for iteration in booster._predictors
        for predictor in iteration
    )
    start = np.asarray(booster._baseline_prediction, dtype=np.float64).ravel()
    if booster.is_categorical_ is None:
        values, base = contributions(_booster(trees, matrix.shape[1], len(start)), matrix)
        return values, base + start
    # Its own encoder puts the categories first and numbers anew those that it knows.
    encoded = booster._preprocessor.transform(matrix)
    moved, base = contributions(_booster(trees, matrix.shape[1], len(start)), encoded)
    values = np.empty_like(moved)
    values[:, np.argsort(~booster.is_categorical_, kind="stable")] = moved
    return values, base + start


def _forest_tree(tree: Any, output: int, trees: int) -> Tree:
    # LightGBM counts in integers, as draws with replacement do; class weights do not.
    weights = tree.weighted_n_node_samples
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=tree.threshold,
        value=tree.value[:, 0, output] / trees,
        count=weights if (weights % 1 == 0).all() else tree.n_node_samples,
        missing_left=np.zeros(tree.node_count, dtype=bool),
        bitsets={},
    )


def _boosted_tree(predictor: Any, known: Array, places: Array) -> Tree:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    left, right = (np.where(inner, nodes[side].astype(int), -1) for side in ("left", "right"))
    bitsets = {}
    for node in np.flatnonzero(inner & (nodes["is_categorical"] == 1)):
        goes_left = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        if nodes["missing_go_to_left"][node]:
            # In LightGBM a missing category always goes right: so the sides change places.
            goes_left = known[places[nodes["feature_idx"][node]]] & ~goes_left
            left[node], right[node] = right[node], left[node]
        bitsets[int(node)] = goes_left
    return Tree(
        left=left,
        right=right,
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        value=nodes["value"],
        count=nodes["count"],
        missing_left=nodes["missing_go_to_left"] == 1,
        bitsets=bitsets,
    )


def _booster(trees: Iterable[Tree], features: int, outputs: int) -> "lightgbm.Booster":
    import lightgbm

    head = {
        "version": "v4",
        "num_class": outputs,
        "num_tree_per_iteration": outputs,
        "label_index": 0,
        "max_feature_idx": features - 1,
        "objective": "regression",
        "feature_names": " ".join(f"f{position}" for position in range(features)),
        "feature_infos": " ".join(["[0:1]"] * features),
    }
    blocks = [_text({"Tree": number} | _entries(tree)) for number, tree in enumerate(trees)]
    return lightgbm.Booster(model_str="\n".join(["tree", _text(head), *blocks, "end of trees\n"]))


def _entries(tree: Tree) -> dict[str, Any]:
    """A tree as LightGBM writes it: inner nodes and leaves are numbered apart, a leaf as ~number."""
    leaf = tree.left < 0
    leaves, inner = np.flatnonzero(leaf), np.flatnonzero(~leaf)
    if not len(inner):
        return {"num_leaves": 1, "num_cat": 0, "leaf_value": _floats(tree.value[:1]), "shrinkage": 1}
    number = np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)
    by_category = np.array([node in tree.bitsets for node in inner])
    largest = np.finfo(np.float64).max
    threshold = np.where(
        by_category, np.cumsum(by_category) - 1, np.clip(tree.threshold[inner], -largest, largest)
    )
    decision = np.where(by_category, BY_CATEGORY, DEFAULT_LEFT * tree.missing_left[inner]) + MISSING_IS_NAN
    entries: dict[str, Any] = {
        "num_leaves": len(leaves),
        "num_cat": len(tree.bitsets),
        "split_feature": _integers(tree.feature[inner]),
        "split_gain": _integers(np.zeros(len(inner))),
        "threshold": _floats(threshold),
        "decision_type": _integers(decision),
        "left_child": _integers(number[tree.left[inner]]),
        "right_child": _integers(number[tree.right[inner]]),
        "leaf_value": _floats(tree.value[leaves]),
        "leaf_weight": _integers(tree.count[leaves]),
        "leaf_count": _integers(tree.count[leaves]),
        "internal_value": _integers(np.zeros(len(inner))),
        "internal_weight": _integers(tree.count[inner]),
        "internal_count": _integers(tree.count[inner]),
    }
    if tree.bitsets:
        sets = [tree.bitsets[int(node)] for node in inner[by_category]]
        entries["cat_boundaries"] = _integers(np.cumsum([0] + [len(bits) for bits in sets]))
        entries["cat_threshold"] = _integers(np.concatenate(sets))
    return entries | {"is_linear": 0, "shrinkage": 1}


def _text(entries: dict[str, Any]) -> str:
    return "".join(f"{name}={value}\n" for name, value in entries.items())


def _integers(values: Array) -> str:
    return " ".join(map(str, values.astype(np.int64).tolist()))


def _floats(values: Array) -> str:
    return " ".join(map(repr, values.astype(np.float64).tolist()))
