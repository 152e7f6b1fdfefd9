"""Trees that scikit-learn has grown as a booster of LightGBM, which computes and explains them.

LightGBM reads trees from its own text. It answers a row in microseconds, where scikit-learn takes
milliseconds, and it explains one exactly by TreeSHAP (Lundberg et al., 2020,
doi:10.1038/s42256-019-0138-9). shap's explainer knows nothing of histogram boosting's splits by
category, and the service has no shap installed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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


def of_forest(forest: Any, outputs: int) -> "lightgbm.Booster":
    """A random forest of scikit-learn: the sum of its trees, for its value or its last classes.

    scikit-learn's forests compare in single precision: the rows are to be rounded to it.
    """
    trees = (
        _forest_tree(estimator.tree_, output)
        for estimator in forest.estimators_
        for output in range(-outputs, 0)
    )
    return _booster(trees, forest.n_features_in_, outputs)


def of_hist_boosting(booster: Any) -> "lightgbm.Booster":
    """Histogram boosting of scikit-learn, on the columns that it was fitted on: values, or log-odds."""
    encoding = _Encoding.of(booster)
    # The first trees start from the baseline, so that sums round as scikit-learn's do.
    starts = np.ravel(booster._baseline_prediction).astype(np.float64)
    trees = (
        _boosted_tree(predictor, encoding, 0.0 if iteration else start)
        for iteration, predictors in enumerate(booster._predictors)
        for predictor, start in zip(predictors, starts, strict=True)
    )
    return _booster(trees, booster.n_features_in_, len(starts))


def contributions(booster: "lightgbm.Booster", matrix: Floats, threads: int) -> tuple[Floats, Floats]:
    """Contributions [rows, features, outputs] and base [outputs], on the scale of the leaves.

    By as many threads; of all processors if 0.
    """
    raw = np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=threads))
    blocks = raw.reshape(len(matrix), -1, matrix.shape[1] + 1)
    return blocks[:, :, :-1].transpose(0, 2, 1), blocks[0, :, -1]


def _forest_tree(tree: Any, output: int) -> Tree:
    # LightGBM counts in integers, as draws with replacement do; class weights do not.
    weights = tree.weighted_n_node_samples
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=tree.threshold,
        value=tree.value[:, 0, output],
        count=weights if (weights % 1 == 0).all() else tree.n_node_samples,
        missing_left=np.zeros(tree.node_count, dtype=bool),
        bitsets={},
    )


class _Encoding(NamedTuple):
    """What the trees of histogram boosting read: its encoder puts categories first and numbers them anew.

    `columns` [features] are where a feature comes from, `codes` what each of its numbers stood for, and
    `known` those numbers that a node may name, as bits.
    """

    columns: Array
    codes: Sequence[Array]
    known: Sequence[Array]

    @classmethod
    def of(cls, booster: Any) -> "_Encoding":
        """What a booster's encoder has learnt."""
        if booster.is_categorical_ is None:
            return cls(np.arange(booster.n_features_in_), (), ())
        columns = np.argsort(~booster.is_categorical_, kind="stable")
        codes = booster._preprocessor.named_transformers_["encoder"].categories_
        bits, places = booster._bin_mapper.make_known_categories_bitsets()
        return cls(columns, codes, bits[places])


def _boosted_tree(predictor: Any, encoding: _Encoding, start: float) -> Tree:
    """A tree whose leaves are raised by `start`."""
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    left, right = (np.where(inner, nodes[side].astype(int), -1) for side in ("left", "right"))
    bitsets = {}
    for node in np.flatnonzero(inner & (nodes["is_categorical"] == 1)):
        read = nodes["feature_idx"][node]
        goes_left = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        if nodes["missing_go_to_left"][node]:
            # In LightGBM a missing category always goes right: so the sides change places.
            goes_left = encoding.known[read] & ~goes_left
            left[node], right[node] = right[node], left[node]
        bitsets[int(node)] = _bits(encoding.codes[read][_members(goes_left)])
    return Tree(
        left=left,
        right=right,
        feature=encoding.columns[nodes["feature_idx"]],
        threshold=nodes["num_threshold"],
        value=nodes["value"] + start,
        count=nodes["count"],
        missing_left=nodes["missing_go_to_left"] == 1,
        bitsets=bitsets,
    )


def _members(bits: Array) -> Array:
    """The numbers of a set given as bits in words of 32."""
    return np.flatnonzero(np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little"))


def _bits(members: Array) -> Array:
    """The inverse of `_members`."""
    flags = np.zeros(32 * (1 + int(members.max(initial=0)) // 32), dtype=np.uint8)
    flags[members.astype(int)] = 1
    return np.packbits(flags, bitorder="little").view("<u4")


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
