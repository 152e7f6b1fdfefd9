"""The contract: what a table is, read from configs/problems/<name>.yaml.

Checks, cleaning, features, signature, request schema, form and card are derived from it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from millrace.errors import UserError, unknown
from millrace.sources.source import WrittenSource
from millrace.strict import Strict
from millrace.transforms import Declared, Kind
from millrace.yaml_files import read_model

ColumnType = Literal["number", "integer", "category", "boolean", "datetime", "id"]
Task = Literal["regression", "binary", "multiclass"]
SplitRule = Literal["rows", "group", "time"]
NUMERIC: frozenset[str] = frozenset({"number", "integer"})
ORDERED: frozenset[str] = NUMERIC | {"datetime"}
# Integers that float64 tells apart from their neighbours end at 2**53 - 1; past single precision, 3.4e38,
# scikit-learn's trees refuse a number and its square is soon infinite.
LARGEST: dict[str, float] = {"integer": 2**53 - 1, "number": 3.4e38}
# How a column's values become numbers; the others are numbers already.
KINDS: dict[str, Kind] = {"boolean": "boolean", "datetime": "datetime", "category": "category"}
# Columns that Millrace adds to tables, and the start of those with class probabilities.
OWN_COLUMNS = frozenset({"_unreadable", "_reason", "_target", "_prediction", "_low", "_high", "_set"})
# Columns that the prediction log adds to a row: when, of which request, by which model, in how many seconds.
LOG_COLUMNS = ("_time", "_request", "_row", "_key", "_variant", "_model", "_version", "_digest", "_seconds")
OWN_PREFIX = "_probability_"


class Column(Strict):
    """What one column may hold.

    `range` is inclusive, in the column's unit; either end may be null. `id` is text that
    identifies a row and is never a model input. A value outside `categories` breaks the contract,
    or counts as missing where `unseen` says so. A feature that is no `input` is checked and judged by,
    and kept from the models. Groups of a `sensitive` one are compared. A `private` one is never
    logged by the service. Along a `monotonic` one, predictions (of two classes: the probability of
    the positive one) never turn.
    """

    type: ColumnType
    unit: str = ""
    meaning: str = ""
    range: tuple[FiniteFloat | None, FiniteFloat | None] | None = None
    nullable: bool = False
    categories: tuple[str, ...] = ()
    unseen: Literal["refuse", "missing"] = "refuse"
    input: bool = True
    sensitive: bool = False
    private: bool = False
    monotonic: Literal["increasing", "decreasing"] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if self.range is not None:
            if self.type not in NUMERIC:
                raise ValueError(f"'range' is for number and integer columns, not {self.type}")
            low, high = self.range
            if low is not None and high is not None and low >= high:
                raise ValueError(f"'range' must rise: {low:g} is not below {high:g}")
        if self.type == "category" and len(self.categories) < 2:
            raise ValueError("a category column lists at least two 'categories'")
        if self.type != "category" and self.categories:
            raise ValueError(f"'categories' is for category columns, not {self.type}")
        if self.type != "category" and self.unseen != "refuse":
            raise ValueError(f"'unseen' is for category columns, not {self.type}")
        if self.monotonic and self.type not in ORDERED:
            raise ValueError(f"'monotonic' is for number, integer and datetime columns, not {self.type}")
        if self.monotonic and not self.input:
            raise ValueError("'monotonic' is for inputs; take it or 'input: false' out")
        if self.sensitive and self.type == "id":
            raise ValueError("'sensitive' is for columns that make groups, and an id makes one of each row")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("'categories' names a value twice")
        if any(not value or value != value.strip() for value in self.categories):
            raise ValueError("'categories' are not empty and have no space around them")
        return self


class Target(Column):
    """The column to predict; with `transform: log`, models learn log(1 + value)."""

    name: str = Field(min_length=1)
    transform: Literal["log"] | None = None


class Split(Strict):
    """How the holdout and the folds are chosen.

    By a hash of each row, by a hash of the group in `column`, or the latest rows by `column`;
    `holdout` is the share of rows, `seed` that of the hash.
    """

    by: SplitRule = "rows"
    column: str | None = None
    holdout: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Split:
        if self.by == "rows" and self.column is not None:
            raise ValueError("'column' goes with 'by: group' or 'by: time'")
        if self.by != "rows" and self.column is None:
            raise ValueError(f"'by: {self.by}' needs a 'column'")
        return self


class Costs(Strict):
    """What a wrong label costs, in any one unit; the positive class is the second of the contract."""

    false_positive: Annotated[float, Field(gt=0, le=1e12)]
    false_negative: Annotated[float, Field(gt=0, le=1e12)]

    @property
    def threshold(self) -> float:
        """Where both labels cost the same if probabilities are true (Elkan, IJCAI 2001, equation 2)."""
        return self.false_positive / (self.false_positive + self.false_negative)


class Problem(Strict):
    """One table and what is to be predicted from it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str = ""
    task: Task
    source: WrittenSource = Field(description="where the rows come from, unless --data says otherwise")
    synthetic: bool = False
    target: Target
    features: dict[str, Column] = Field(min_length=1)
    transforms: tuple[Declared, ...] = ()
    key: str | None = Field(None, description="the column that identifies a row")
    split: Split = Split()
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    costs: Costs | None = None
    intended_use: str = ""
    limits: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Problem:
        if self.target.name in self.features:
            raise ValueError(f"the target '{self.target.name}' is also listed as a feature")
        odd = [name for name in self.columns if not name or any(c in '"\\' or ord(c) < 32 for c in name)]
        if odd:
            raise ValueError(
                f"{odd[0]!r} cannot be a column's name: it has a quote, a backslash or a line end"
            )
        taken = OWN_COLUMNS.union(LOG_COLUMNS)
        own = [name for name in self.columns if name in taken or name.startswith(OWN_PREFIX)]
        if own:
            raise ValueError(f"'{own[0]}' is a name that Millrace uses itself; rename the column")
        if self.target.nullable:
            raise ValueError("a target cannot be nullable: a row without it teaches nothing")
        if self.key is not None and self.key not in self.features:
            raise ValueError(str(unknown("key column", self.key, self.features)))
        if not self.inputs:
            raise ValueError("no feature is left to learn from: all are ids, the key or 'input: false'")
        if self.key is not None and (self.features[self.key].sensitive or self.features[self.key].monotonic):
            raise ValueError(f"the key '{self.key}' cannot be 'sensitive' or 'monotonic': it only names rows")
        expected = {"regression": NUMERIC, "binary": {"category", "boolean"}, "multiclass": {"category"}}
        if self.target.type not in expected[self.task]:
            allowed = " or ".join(sorted(expected[self.task]))
            raise ValueError(f"a {self.task} target is of type {allowed}, not {self.target.type}")
        if self.task == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary target has 2 categories, not {len(self.classes)}")
        if self.task == "multiclass" and len(self.classes) < 3:
            raise ValueError("a multiclass target has at least 3 categories; with 2 the task is binary")
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights(cls, given: Any) -> Any:
        if given is None or given == "balanced":
            return given
        if isinstance(given, dict) and all(_is_weight(weight) for weight in given.values()):
            # YAML takes the classes true and false for booleans.
            return {str(name).lower() if isinstance(name, bool) else str(name): given[name] for name in given}
        raise ValueError("is 'balanced', or a number above 0 for each class, as in {yes: 3}")

    @model_validator(mode="after")
    def _split_fits(self) -> Problem:
        if self.split.column is None:
            return self
        if self.split.column not in self.features:
            raise ValueError(str(unknown("split column", self.split.column, self.features)))
        column = self.features[self.split.column]
        where = f"the split's column '{self.split.column}'"
        if self.split.by == "time" and column.type not in NUMERIC | {"datetime"}:
            raise ValueError(f"{where} is of type {column.type}; a time is a datetime, number or integer")
        if column.nullable:
            raise ValueError(f"{where} cannot be nullable: a row without it would belong to neither side")
        return self

    @model_validator(mode="after")
    def _target_fits(self) -> Problem:
        low, _ = self.target.range or (None, None)
        if self.target.transform and self.task != "regression":
            raise ValueError(f"'transform' is for regression, not {self.task}")
        if self.target.transform and (low is None or low < 0):
            raise ValueError("'transform: log' needs a target whose 'range' starts at 0 or above")
        if self.target.unseen != "refuse":
            raise ValueError("a target's 'unseen' classes cannot count as missing; take 'unseen' out")
        if not self.target.input or self.target.sensitive or self.target.monotonic:
            raise ValueError("'input', 'sensitive' and 'monotonic' are for features, not for the target")
        if self.target.private:
            raise ValueError("a target cannot be 'private': predictions of it are logged")
        if self.monotonic and self.task == "multiclass":
            raise ValueError(
                f"'monotonic' of '{next(iter(self.monotonic))}': of several classes none is the direction; "
                "it is for regression and two classes"
            )
        if self.class_weights and not self.classes:
            raise ValueError("'class_weights' is for binary and multiclass problems")
        for name in self.class_weights if isinstance(self.class_weights, dict) else ():
            if name not in self.classes:
                raise ValueError(str(unknown("class in 'class_weights'", name, self.classes)))
        if self.costs and self.task != "binary":
            raise ValueError(f"'costs' is for binary problems, not {self.task}")
        return self

    @model_validator(mode="after")
    def _transforms_fit(self) -> Problem:
        known: dict[str, Kind] = {
            name: KINDS.get(column.type, "numeric") for name, column in self.inputs.items()
        }
        taken = set(self.columns)
        for number, declared in enumerate(self.transforms, 1):
            what = f"transform {number} ({declared.kind})"
            for name in declared.reads:
                if name not in known:
                    raise ValueError(f"{what}: {unknown('column', name, known)}")
                if name in self.monotonic and name in declared.own:
                    raise ValueError(
                        f"{what}: '{name}' is 'monotonic', and models could turn along what is made of it"
                    )
                if known[name] not in declared.accepts:
                    accepted = " or ".join(sorted(declared.accepts))
                    raise ValueError(f"{what}: '{name}' is {known[name]}; it takes {accepted} columns")
            made = declared.makes({}, self.classes or (self.target.name,))
            for column in made:
                if column.name in taken:
                    raise ValueError(
                        f"{what}: there is a column '{column.name}' already; give it another 'name'"
                    )
                taken.add(column.name)
            # What was averaged over other rows is for models, not for the next transform to read.
            known |= {} if declared.out_of_fold else {column.name: column.kind for column in made}
        return self

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column the table must have: the features, then the target."""
        return {**self.features, self.target.name: self.target}

    @cached_property
    def logged_key(self) -> str | None:
        """The key column, by which rows are found in the prediction log; None where it is private."""
        return None if self.key is None or self.features[self.key].private else self.key

    @cached_property
    def inputs(self) -> dict[str, Column]:
        """The features a model learns from: neither ids nor the key, nor what is `input: false`."""
        return {
            name: column
            for name, column in self.features.items()
            if column.type != "id" and name != self.key and column.input
        }

    @cached_property
    def sensitive(self) -> dict[str, Column]:
        """The features whose groups are compared."""
        return {name: column for name, column in self.features.items() if column.sensitive}

    @cached_property
    def monotonic(self) -> dict[str, int]:
        """The inputs along which predictions never fall (1) or never rise (-1)."""
        return {
            name: 1 if column.monotonic == "increasing" else -1
            for name, column in self.inputs.items()
            if column.monotonic
        }

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The target's classes in the order of probability columns; empty for regression."""
        if self.task == "regression":
            return ()
        return self.target.categories or ("false", "true")


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1e12


def problem_names(folder: Path) -> list[str]:
    """List the problems that have a file in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_problem(name: str, folder: Path) -> Problem:
    """Read `<folder>/<name>.yaml`.

    Raises:
        UserError: no such problem, or the file breaks the contract's own rules.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("problem", name, problem_names(folder))
    problem = read_model(path, Problem)
    if problem.name != name:
        raise UserError(f"{path}: 'name' is '{problem.name}' but the file is called '{name}.yaml'.")
    return problem


def parse_problem(data: dict[str, Any]) -> Problem:
    """Rebuild a problem from its own `model_dump(mode="json")`, as a bundle stores it."""
    return Problem.model_validate(data)
