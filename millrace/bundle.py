"""The bundle: a trained model as one folder of plain files, verified when it is loaded.

The same folder, byte for byte, is the ZenML artifact, the MLflow version and the BentoML model.
`manifest.json` holds the sha256 of every file. The bundle's digest covers all of them but
`provenance.json`: it says what the model is, not when it was made, so that training the same thing
again gives the same digest.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from millrace.contract import OWN_PREFIX, Problem, parse_problem
from millrace.decisions import DEFAULT, decide
from millrace.digests import file_digest
from millrace.errors import UserError
from millrace.features import Columns, FeatureState
from millrace.intervals import UNKNOWN, Intervals
from millrace.metrics import Floats
from millrace.models import Model, load_model
from millrace.scales import to_unit
from millrace.strict import Strict
from millrace.transforms import Matrix

FORMAT = 4
MANIFEST = "manifest.json"
PROVENANCE = "provenance.json"
CONTRACT = "contract.json"
FEATURES = "features.json"
MODEL = "model.json"
INTERVALS = "intervals.json"
METRICS = "metrics.json"
SPLIT = "split.json"
EXPLANATION = "explanation.json"
SELFTEST = "selftest.json"
REFERENCE = "reference.parquet"
KEYS = "keys.json"
CARD = "card.html"
CARD_MARKDOWN = "card.md"


class Manifest(Strict):
    """The sha256 of each file, by its path in the bundle."""

    format: int
    files: dict[str, str]
    provenance: str

    @property
    def digest(self) -> str:
        """The bundle's identity: sha256 of the sorted list of files and their sums."""
        return hashlib.sha256(to_json(dict(sorted(self.files.items())))).hexdigest()


@dataclass(frozen=True)
class FittedModel:
    """A model with what it needs to read a typed table and to answer in the contract's terms.

    Of two classes the second, the positive one, is answered where its probability is at least
    `threshold`. `intervals` say how sure a prediction is; a model that has not been told knows nothing of it.
    """

    problem: Problem
    state: FeatureState
    model: Model
    threshold: float = DEFAULT
    intervals: Intervals = UNKNOWN

    def predict(self, columns: Columns) -> Floats:
        """Values [rows] in the target's unit, or probabilities [rows, classes], for typed columns."""
        return self.predict_matrix(self.state.transform(columns))

    def predict_matrix(self, matrix: Matrix) -> Floats:
        """The same for columns that are encoded already: [rows, inputs]."""
        return to_unit(self.model.predict(matrix), self.problem.target)

    def answers(self, predictions: Floats) -> list[Any]:
        """What is answered for each row: the value itself, or the name of a class."""
        if not self.problem.classes:
            return list(predictions.tolist())
        return [self.problem.classes[label] for label in decide(predictions, self.threshold)]

    def bounds(self, predictions: Floats, level: float) -> Floats:
        """Low and high end of each value's interval, in the target's unit: [rows, 2]; see `Intervals`."""
        return self.intervals.bounds(predictions, self.problem.target, level)

    def sets(self, predictions: Floats, level: float) -> list[list[str]]:
        """The classes that each row may well be of, the answer among them, in the contract's order."""
        members = self.intervals.sets(predictions, decide(predictions, self.threshold), level)
        return [[self.problem.classes[position] for position in np.flatnonzero(row)] for row in members]

    def columns(self, predictions: Floats, level: float | None = None) -> dict[str, Any]:
        """Answers, and probabilities if there are classes, as columns that no table has of its own.

        With a level also the ends of the interval, or the set of classes.
        """
        chances = {f"{OWN_PREFIX}{name}": predictions[:, i] for i, name in enumerate(self.problem.classes)}
        found = {"_prediction": self.answers(predictions), **chances}
        if level is None:
            return found
        if self.problem.classes:
            return {**found, "_set": self.sets(predictions, level)}
        low, high = self.bounds(predictions, level).T
        return {**found, "_low": low, "_high": high}

    def save(self, folder: Path) -> None:
        """Write contract, feature state, intervals and model as plain files."""
        write_json(folder / CONTRACT, self.problem.model_dump(mode="json"))
        write_json(folder / FEATURES, self.state.model_dump(mode="json"))
        write_json(folder / INTERVALS, self.intervals.model_dump(mode="json"))
        threshold = {"threshold": self.threshold} if self.problem.task == "binary" else {}
        write_json(folder / MODEL, {"kind": self.model.kind, **threshold})
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "FittedModel":
        """Read what `save` wrote."""
        problem = parse_problem(read_json(folder / CONTRACT))
        state = FeatureState.model_validate(read_json(folder / FEATURES))
        about = read_json(folder / MODEL)
        model = load_model(about["kind"], folder, problem.task, state)
        intervals = Intervals.model_validate(read_json(folder / INTERVALS))
        return cls(problem, state, model, about.get("threshold", DEFAULT), intervals)


@dataclass(frozen=True)
class Bundle:
    """A loaded, verified bundle."""

    folder: Path
    digest: str
    fitted: FittedModel

    @property
    def problem(self) -> Problem:
        """The contract the model was trained under."""
        return self.fitted.problem

    @property
    def created(self) -> datetime:
        """When training made it."""
        return datetime.fromisoformat(self.read(PROVENANCE)["created"])

    def read(self, name: str) -> Any:
        """The content of one of the bundle's JSON files."""
        return read_json(self.folder / name)


def seal(folder: Path) -> str:
    """Write the manifest of a finished bundle folder and return its digest."""
    files = {
        path: file_digest(folder / path) for path in _listing(folder) if path not in (MANIFEST, PROVENANCE)
    }
    manifest = Manifest(format=FORMAT, files=files, provenance=file_digest(folder / PROVENANCE))
    (folder / MANIFEST).write_bytes(_canonical(manifest))
    return manifest.digest


def verify(folder: Path) -> str:
    """Check every file against the manifest and return the bundle's digest.

    Raises:
        UserError: no bundle, or a file is missing, changed or not listed.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder}: is not a bundle, it has no {MANIFEST}.")
    try:
        about = read_json(folder / MANIFEST)
        # Another format's manifest may have other members.
        made_for = about.get("format") if isinstance(about, dict) else None
        if isinstance(made_for, int) and made_for != FORMAT:
            raise UserError(
                f"{folder}: bundle format {made_for} is not {FORMAT}, another Millrace made it; "
                "train the model again, in a new MILLRACE_HOME."
            )
        manifest = Manifest.model_validate(about)
        if (folder / MANIFEST).read_bytes() != _canonical(manifest):
            raise ValueError("not as `seal` writes it")
    except ValueError:
        raise UserError(f"{folder / MANIFEST}: is not a bundle's manifest; fetch the bundle again.") from None
    expected = {**manifest.files, PROVENANCE: manifest.provenance}
    found = set(_listing(folder)) - {MANIFEST}
    for path in sorted(found ^ set(expected)):
        what = "is not in the manifest" if path in found else "is missing"
        raise UserError(f"{folder}: the file '{path}' {what}; fetch the bundle again.")
    for path, digest in expected.items():
        if file_digest(folder / path) != digest:
            raise UserError(
                f"{folder}: the file '{path}' was changed after training; fetch the bundle again."
            )
    return manifest.digest


def load_bundle(folder: Path) -> Bundle:
    """Verify a bundle and load its model.

    Raises:
        UserError: the bundle is damaged, or not one that this Millrace can load.
    """
    digest = verify(folder)
    try:
        fitted = FittedModel.load(folder)
    except Exception as error:
        # Sealed it was like this: by other code, or for other libraries.
        why = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
        raise UserError(
            f"{folder}: the bundle is whole and cannot be loaded ({why}); another Millrace made it; "
            "train the model again."
        ) from error
    return Bundle(folder=folder, digest=digest, fitted=fitted)


def copy_bundle(source: Path, target: Path) -> str:
    """Copy a bundle into a new folder, verify the copy and return its digest."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return verify(target)


def write_json(path: Path, data: Any) -> None:
    """Write JSON that is the same bytes for the same data."""
    path.write_bytes(to_json(data) + b"\n")


def to_json(data: Any) -> bytes:
    """JSON that is the same bytes for the same data; keys stay in order, as that of columns matters."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False).encode()


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def _canonical(manifest: Manifest) -> bytes:
    return to_json(manifest.model_dump()) + b"\n"


def _listing(folder: Path) -> list[str]:
    return sorted(
        str(PurePosixPath(path.relative_to(folder))) for path in folder.rglob("*") if path.is_file()
    )
