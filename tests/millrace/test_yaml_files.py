"""YAML files that people mistype: each mistake is a sentence with file and line."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.settings import TrainingSettings
from millrace.yaml_files import read_model, read_yaml

HEAD = """name: homes
title: Homes
task: regression
source: x.csv
target: {name: y, type: number}
features:
  a: {type: number}
"""


def complaint(tmp_path: Path, text: str, model: type[BaseModel] = Problem) -> str:
    """What reading `text` complains of, without the folder."""
    path = tmp_path / "homes.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(UserError) as caught:
        read_model(path, model)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "homes.yaml: the file is empty"),
        ("# only a remark\n", "homes.yaml: the file is empty"),
        ("- a\n- b\n", "holds a list, not 'key: value' lines"),
        ("hello\n", "holds a str, not 'key: value' lines"),
        (HEAD + "\tlimits: x\n", "homes.yaml, line 8: not valid YAML"),
        (HEAD + "limits: [a\n", "homes.yaml, line 9: not valid YAML"),
        (HEAD + "title: Again\n", "homes.yaml, line 8: the key 'title' is given twice"),
        (HEAD + "  a: {type: integer}\n", "homes.yaml, line 8: the key 'a' is given twice"),
        (HEAD + "---\na: 1\n", "homes.yaml, line 8: not valid YAML"),
        (
            HEAD + "limits: !!python/name:os.system\n",
            "homes.yaml, line 8: not valid YAML: could not determine",
        ),
        (HEAD + "limits: 2020-99-99\n", "homes.yaml: not valid YAML: month must be in 1..12"),
        (HEAD + "limits: &a [*a]\n", "homes.yaml, line 8: 'limits'"),
        (HEAD + "limits: " + "[" * 990 + "]" * 990 + "\n", "homes.yaml: is nested too deeply"),
        (HEAD + "  ? [a, b]\n  : {type: number}\n", "homes.yaml, line 8: not valid YAML"),
        (HEAD + "  2020: {type: number}\n", "homes.yaml, line 8: 'features.2020"),
        (HEAD + "  c: {type: numbr}\n", "line 8: 'features.c.type' is 'numbr'; expected"),
        (HEAD + "  c: {type: numbr}\n", "Did you mean 'number'?"),
        (HEAD + "  c: number\n", "line 8: 'features.c': input should be a valid dictionary"),
        (HEAD + "  c:\n", "line 8: 'features.c': input should be a valid dictionary"),
        (HEAD + "  c: {unit: m}\n", "line 8: 'features.c.type' is missing."),
        (HEAD + "  größe: {tpye: number}\n", "unknown key 'features.größe.tpye'. Did you mean 'type'?"),
        (HEAD + "  c: {type: category, categories: [0, 1]}\n", "line 8: 'features.c.categories.0'"),
        (HEAD.replace("regression", "regresion"), "line 3: 'task' is 'regresion'; expected"),
        (HEAD.replace("title", "Title"), "line 2: unknown key 'Title'. Did you mean 'title'?"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    lines = complaint(tmp_path, HEAD + "lmits: none\nsplit: {sed: 1}\n").splitlines()
    assert sorted(line.partition(": ")[0] for line in lines) == ["homes.yaml, line 8", "homes.yaml, line 9"]


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "homes.yaml").write_bytes("title: Häuser\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_yaml(tmp_path / "homes.yaml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "homes.yaml")


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    text = "shared: &shared {type: number, unit: m}\nown: {<<: *shared, unit: km}\n"
    (tmp_path / "merge.yaml").write_text(text)
    data, _ = read_yaml(tmp_path / "merge.yaml")
    assert data["own"] == {"type": "number", "unit": "km"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "candidates:\n  one: {kind: lightgbm, n_estimator: 5}\n",
            "line 2: unknown key 'candidates.one.lightgbm.n_estimator'",
        ),
        ("candidates:\n  one: {kind: lightgbm, n_estimator: 5}\n", "Did you mean 'n_estimators'?"),
        ("candidates:\n  lightgbm: {kind: lightgbm, n_estimator: 5}\n", "Did you mean 'n_estimators'?"),
        ("candidates:\n  alpha: {kind: linear, alfa: 1}\n", "Did you mean 'alpha'?"),
        ("candidates:\n  one: {kind: lightgb}\n", "'candidates.one' is 'lightgb'"),
        ("candidates:\n  one: {kind: lightgb}\n", "Did you mean 'lightgbm'?"),
        ("candidates:\n  one: {alpha: 1}\n", "line 2: 'candidates.one'"),
        (
            "candidates:\n  one: {kind: linear}\nfold: 3\n",
            "line 3: unknown key 'fold'. Did you mean 'folds'?",
        ),
    ],
)
def test_mistakes_in_candidates_are_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text, TrainingSettings)


def test_lists_of_models_are_searched_for_the_nearest_key(tmp_path: Path) -> None:
    class Part(BaseModel):
        model_config = ConfigDict(extra="forbid")
        colour: str = ""

    class Whole(BaseModel):
        parts: list[Part] | None = None

    found = complaint(tmp_path, "parts:\n  - {colour: red}\n  - {color: red}\n", Whole)
    assert found == "homes.yaml, line 3: unknown key 'parts.1.color'. Did you mean 'colour'?"
