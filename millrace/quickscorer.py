"""Many rows through LightGBM's trees by bit vectors, in code that Numba compiles: no branch but the loops'.

QuickScorer (Lucchese et al., SIGIR 2015, doi:10.1145/2766462.2767733), many rows at once (Lucchese et al.,
SIGIR 2016, doi:10.1145/2911451.2914758). Of a tree, a bit for each leaf says whether a row may still end
there. Every node that a row fails takes the leaves on its left away; the leftmost leaf that remains is the
row's. A processor asks a node of several rows in one instruction, and never guesses where a row goes next.
The leaves of a row are added in the order of the trees, so its sum is LightGBM's to the last bit.

One function is compiled, for any model: what a model is made of are its arguments.
"""

from collections.abc import Callable
from functools import cache
from math import exp
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.as_lightgbm import BY_CATEGORY, DEFAULT_LEFT, MISSING_IS_NAN
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

Array = NDArray[Any]
# Of LightGBM's decision types, the bits that say what stands for a missing value.
MISSING, MISSING_IS_ZERO = 12, 4
# LightGBM takes what is no farther from zero for zero.
ZERO = float(np.float32(1e-35))
# Rows at once: their columns and bits stay in the processor's nearest cache.
BLOCK = 256
LEAVES = 64
# With more leaves a tree is hardly faster this way.
MOST_LEAVES = 256
EVERY = np.uint64(2**64 - 1)
# Times a power of two, its first six bits are others for each: Leiserson, Prokop and Randall, 1998.
DE_BRUIJN, SHIFT, ONE = np.uint64(0x03F79D71B4CB0A89), np.uint64(58), np.uint64(1)
# What becomes of the sums, and LightGBM's names for it.
AS_IS, SIGMOID, SOFTMAX = 0, 1, 2
OBJECTIVES = {"regression": AS_IS, "binary": SIGMOID, "multiclass": SOFTMAX}


class Trees(NamedTuple):
    """All trees, cut into sections of up to 64 leaves, the last leaves of a tree first.

    Of a section, the nodes that a missing value passes stand first, then those that it fails, then those
    that split by category. `keep` [nodes] are the section's leaves that remain for a row that fails.
    """

    ends: Array
    """[sections, 3]: where the nodes of each kind end."""
    last: Array
    """[sections]: whether it is the last of a tree."""
    feature: Array
    threshold: Array
    keep: Array
    bits: Array
    """[nodes, 2]: where in `sets` the categories that pass begin, and in how many words of 32 they stand."""
    sets: Array
    values: Array
    """[sections, 64]: of the leaves, at the places that `DE_BRUIJN` gives their bits."""


class QuickScorer:
    """What a booster's `predict` says of many rows, in the caller's thread."""

    def __init__(self, trees: Trees, outputs: int, objective: int, steepness: float) -> None:
        self._trees, self._outputs = trees, outputs
        self._objective, self._steepness = objective, steepness

    @classmethod
    def of(cls, booster: "lightgbm.Booster") -> "QuickScorer | None":
        """None if the booster has something that is not known here, or trees too large for it."""
        head, *blocks = booster.model_to_string().partition("\nend of trees")[0].split("\n\nTree=")
        about, trees = _entries(head), [_entries(block) for block in blocks]
        objective, *options = about.get("objective", "").split(" ")
        own = [option for option in options if option.partition(":")[0] in ("sigmoid", "num_class")]
        known = objective in OBJECTIVES and own == options and "average_output" not in about
        if not (trees and known and all(map(_known, trees))):
            return None
        steepness = float(dict(option.split(":") for option in own).get("sigmoid", 1))
        outputs = int(about["num_tree_per_iteration"])
        return cls(_joined(trees), outputs, OBJECTIVES[objective], steepness)

    def __call__(self, rows: Matrix) -> Matrix:
        """Answers [rows, outputs] to rows [rows, features]."""
        told = np.empty((len(rows), self._outputs))
        _compiled()(
            np.ascontiguousarray(rows, dtype=np.float64), told, *self._trees, self._objective, self._steepness
        )
        return told


def _walk(
    rows: Array,
    told: Array,
    ends: Array,
    last: Array,
    feature: Array,
    threshold: Array,
    keep: Array,
    bits: Array,
    sets: Array,
    values: Array,
    objective: int,
    steepness: float,
) -> None:
    """Write the answers to `rows` [rows, features] into `told` [rows, outputs]."""
    count, outputs = told.shape
    columns = np.empty((rows.shape[1], BLOCK))
    left, value, sums = np.empty(BLOCK, np.uint64), np.empty(BLOCK), np.empty((outputs, BLOCK))
    for start in range(0, count, BLOCK):
        here = min(BLOCK, count - start)
        for column in range(rows.shape[1]):
            for row in range(BLOCK):
                # Past the end it is the last row once more.
                given = rows[start + min(row, here - 1), column]
                columns[column, row] = 0.0 if abs(given) <= ZERO else given
        sums[:] = 0.0
        output, node = 0, 0
        for section in range(len(last)):
            left[:] = EVERY
            while node < ends[section, 0]:
                read, least, others = columns[feature[node]], threshold[node], keep[node]
                for row in range(BLOCK):
                    left[row] &= others if read[row] > least else EVERY
                node += 1
            while node < ends[section, 1]:
                read, least, others = columns[feature[node]], threshold[node], keep[node]
                for row in range(BLOCK):
                    left[row] &= EVERY if read[row] <= least else others
                node += 1
            while node < ends[section, 2]:
                read, others, first, words = columns[feature[node]], keep[node], bits[node, 0], bits[node, 1]
                for row in range(BLOCK):
                    passes = False
                    if -1 < read[row] < 32 * words:
                        code = int(read[row])
                        passes = (sets[first + code // 32] >> (code % 32)) & 1 == 1
                    left[row] &= EVERY if passes else others
                node += 1
            for row in range(BLOCK):
                place = ((left[row] & (~left[row] + ONE)) * DE_BRUIJN) >> SHIFT
                value[row] = values[section, place] if left[row] else value[row]
            if last[section]:
                for row in range(BLOCK):
                    sums[output, row] += value[row]
                output = (output + 1) % outputs
        for row in range(here):
            if objective == SIGMOID:
                told[start + row, 0] = 1.0 / (1.0 + exp(-steepness * sums[0, row]))
                continue
            largest = sums[:, row].max()
            total = 0.0
            for output in range(outputs):
                told[start + row, output] = sums[output, row]
                if objective == SOFTMAX:
                    told[start + row, output] = exp(sums[output, row] - largest)
                    total += told[start + row, output]
            if objective == SOFTMAX:
                for output in range(outputs):
                    told[start + row, output] /= total


@cache
def _compiled() -> Callable[..., None]:
    import numba

    compiled: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(_walk)
    return compiled


class _Node(NamedTuple):
    """A node that stands in a section; `kind` is 0, 1 or 2, as `Trees` orders them."""

    kind: int
    feature: int
    threshold: float
    keep: int
    words: list[int]


def _entries(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def _known(tree: dict[str, str]) -> bool:
    by_zero = any(
        int(decision) & MISSING == MISSING_IS_ZERO and not int(decision) & BY_CATEGORY
        for decision in tree.get("decision_type", "").split()
    )
    return tree.get("is_linear", "0") == "0" and int(tree["num_leaves"]) <= MOST_LEAVES and not by_zero


def _joined(trees: list[dict[str, str]]) -> Trees:
    nodes: list[_Node] = []
    ends: list[list[int]] = []
    last: list[bool] = []
    values: list[Array] = []
    for tree in trees:
        leaves, spans = _leaves(tree)
        own = _nodes(tree, spans)
        for first in reversed(range(0, len(leaves), LEAVES)):
            here = sorted(_in_section(own, first), key=lambda node: node.kind)
            kinds = [node.kind for node in here]
            ends.append([len(nodes) + sum(kind <= k for kind in kinds) for k in range(3)])
            nodes += here
            last.append(first == 0)
            places = (np.uint64(1) << np.arange(LEAVES, dtype=np.uint64)) * DE_BRUIJN >> SHIFT
            value = np.zeros(LEAVES)
            value[places[: len(leaves[first : first + LEAVES])]] = leaves[first : first + LEAVES]
            values.append(value)
    lengths = np.array([len(node.words) for node in nodes], dtype=np.int64)
    return Trees(
        ends=np.array(ends, dtype=np.int64),
        last=np.array(last),
        feature=np.array([node.feature for node in nodes], dtype=np.int64),
        threshold=np.array([node.threshold for node in nodes], dtype=np.float64),
        keep=np.array([node.keep for node in nodes], dtype=np.uint64),
        bits=np.stack([np.cumsum(lengths) - lengths, lengths], axis=1),
        sets=np.array([word for node in nodes for word in node.words], dtype=np.int64),
        values=np.stack(values),
    )


def _leaves(tree: dict[str, str]) -> tuple[Array, list[tuple[int, int]]]:
    """The leaves' values from left to right, and of each node where those on its left begin and end."""
    left, right = (list(map(int, tree.get(f"{side}_child", "").split())) for side in ("left", "right"))
    order: list[int] = []
    spans = [(0, 0)] * len(left)
    # A node is met twice: before its left side, and after it.
    waiting: list[tuple[int, int | None]] = [(0 if left else -1, None)]
    while waiting:
        node, began = waiting.pop()
        if node < 0:
            order.append(~node)
        elif began is None:
            waiting += [(node, len(order)), (left[node], None)]
        else:
            spans[node] = (began, len(order))
            waiting.append((right[node], None))
    return np.array(tree["leaf_value"].split(), dtype=np.float64)[order], spans


def _nodes(tree: dict[str, str], spans: list[tuple[int, int]]) -> list[tuple[_Node, tuple[int, int]]]:
    words = list(map(int, tree.get("cat_threshold", "").split()))
    edges = list(map(int, tree.get("cat_boundaries", "").split()))
    found = []
    given = zip(
        map(int, tree.get("split_feature", "").split()),
        map(float, tree.get("threshold", "").split()),
        map(int, tree.get("decision_type", "").split()),
        spans,
        strict=True,
    )
    for feature, threshold, decision, span in given:
        own: list[int] = []
        if decision & BY_CATEGORY:
            kind, own = 2, words[edges[int(threshold)] : edges[int(threshold) + 1]]
        elif decision & MISSING == MISSING_IS_NAN:
            kind = 0 if decision & DEFAULT_LEFT else 1
        else:
            # What is missing is then zero.
            kind = 0 if threshold >= 0 else 1
        found.append((_Node(kind, feature, threshold, 0, own), span))
    return found


def _in_section(nodes: list[tuple[_Node, tuple[int, int]]], first: int) -> list[_Node]:
    """The nodes that take some of the leaves from `first` on, with what they keep of them."""
    found = []
    for node, (begin, end) in nodes:
        low, high = max(begin - first, 0), min(end - first, LEAVES)
        if low < high:
            found.append(node._replace(keep=int(EVERY) ^ ((1 << high) - (1 << low))))
    return found
