"""A person's rows out of a bundle: which of the rows it keeps are whose, and a successor without them.

A bundle keeps rows of its table to be tested and watched by: the self-test, the reference, and of networks
and blends a background. Where the contract has a key, `keys.json` says whose each of them is: not by the key,
but by a digest of it, by which whoever knows a key finds its rows.

What models learnt from a row stays: the leaves of trees, and of what is looked up by neighbours the rows
themselves.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from millrace.bundle import (
    KEYS,
    PROVENANCE,
    REFERENCE,
    SELFTEST,
    FittedModel,
    read_json,
    seal,
    verify,
    write_json,
)
from millrace.contract import NUMERIC, Problem
from millrace.errors import UserError
from millrace.features import encode_inputs
from millrace.models import background

# Of each file's rows, in order: the digests of all keys that it may be of.
Whose = dict[str, list[list[str]]]


def key_digest(problem: Problem, key: str) -> str:
    """What stands for a key of a problem: sha256 of the problem's name and the key."""
    return hashlib.sha256(f"{problem.name}\0{key}".encode()).hexdigest()


def key_texts(table: pd.DataFrame, problem: Problem) -> list[str]:
    """The keys of a typed table's rows as callers of the service write them: [rows]; empty where missing."""
    assert problem.key is not None
    keys = table[problem.key]
    if problem.features[problem.key].type in NUMERIC:
        return ["" if pd.isna(key) else f"{key:.0f}" if key == int(key) else f"{key}" for key in keys]
    return ["" if pd.isna(key) else str(key) for key in keys]


def write_keys(
    folder: Path, fitted: FittedModel, training: pd.DataFrame, tested: pd.DataFrame, reference: pd.DataFrame
) -> None:
    """Say in a bundle's folder whose its rows are: those it is `tested` by, its `reference`, its backgrounds.

    Backgrounds are `training` rows, encoded: they are found among them again. Of contracts without a key
    nothing is written.
    """
    problem = fitted.problem
    if problem.key is None:
        return
    whose: Whose = {SELFTEST: _digests(tested, problem), REFERENCE: _digests(reference, problem)}
    own = len(fitted.state.inputs)
    for path in sorted(folder.rglob(background.FILE)):
        rows = np.load(path, allow_pickle=False)[:, :own]
        inputs, digests = encode_inputs(training, fitted.state.inputs), _digests(training, problem)
        whose[path.relative_to(folder).as_posix()] = [
            [
                digest
                for at in np.flatnonzero(((inputs == row) | (np.isnan(inputs) & np.isnan(row))).all(axis=1))
                for digest in digests[at]
            ]
            for row in rows
        ]
    write_json(folder / KEYS, whose)


def kept_rows(folder: Path, digest: str) -> int | None:
    """How many of a bundle's rows are, or may be, of a key; None if the bundle does not know."""
    if not (folder / KEYS).is_file():
        return None
    whose: Whose = read_json(folder / KEYS)
    return sum(digest in digests for rows in whose.values() for digests in rows)


def succeed(folder: Path, target: Path, digest: str) -> str:
    """Write the same model's bundle without a key's rows into a new folder, seal it and return its digest.

    The model, what it predicts and what was measured stay as they are.

    Raises:
        UserError: no row would be left of one of the files.
    """
    shutil.copytree(folder, target)
    whose: Whose = read_json(target / KEYS)
    for name, rows in whose.items():
        keep = [digest not in digests for digests in rows]
        if not any(keep):
            raise UserError(
                f"{folder}: all rows of '{name}' are of this key, and without any the bundle cannot be "
                "used; train the model again without them."
            )
        if not all(keep):
            _thin(target / name, keep)
            whose[name] = [digests for digests, kept in zip(rows, keep, strict=True) if kept]
    write_json(target / KEYS, whose)
    provenance: dict[str, Any] = read_json(target / PROVENANCE)
    write_json(target / PROVENANCE, {**provenance, "succeeds": verify(folder)})
    return seal(target)


def _digests(table: pd.DataFrame, problem: Problem) -> list[list[str]]:
    return [[key_digest(problem, key)] if key else [] for key in key_texts(table, problem)]


def _thin(path: Path, keep: list[bool]) -> None:
    """Leave some of a file's rows away."""
    if path.name == REFERENCE:
        table = pd.read_parquet(path)
        table[np.array(keep)].reset_index(drop=True).to_parquet(path, compression="zstd")
    elif path.name == SELFTEST:
        tested = read_json(path)
        write_json(
            path,
            {
                name: [value for value, kept in zip(values, keep, strict=True) if kept]
                for name, values in tested.items()
            },
        )
    else:
        np.save(path, np.load(path, allow_pickle=False)[np.array(keep)], allow_pickle=False)
