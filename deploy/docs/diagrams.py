"""python -m deploy.docs.diagrams [FOLDER]: draw the pipelines' steps and the rooms' imports, as they are.

Steps and their order are what ZenML makes of a pipeline before it would run it, and what a step does is the
beginning of its docstring; rooms are the layers of import-linter's contract in pyproject.toml, and what they
import is read from their modules.
"""

import inspect
import sys
import tomllib
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grimp
from pydantic import BaseModel
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.steps.step_invocation import StepInvocation

from deploy.docs.drawing import Box, draw
from millrace.contract import load_problem
from millrace.settings import TrainingSettings
from pipelines.configuration import load_configuration
from pipelines.deployment import deployment
from pipelines.experiment import experiment, planning, settling
from pipelines.inference import inference
from pipelines.large_training import large_training
from pipelines.monitoring import monitoring
from pipelines.profiling import profiling
from pipelines.retraining import retraining
from pipelines.training import training

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "images" / "diagrams"
FIGURES: dict[str, dict[str, Pipeline]] = {
    "training": {"": training},
    "large_training": {"": large_training},
    "retraining": {"": retraining},
    "monitoring": {"": monitoring},
    "inference": {"": inference},
    "profiling": {"": profiling},
    "deployment": {"": deployment},
    "experiment": {
        "--plan": planning,
        "a look": experiment,
        "--decide, once a look has decided": settling,
    },
}
STEPS_NOTE = (
    "Broken lines: always executed; the others come from the cache if nothing has changed. "
    "Arrows that follow from others are left out."
)
ROOMS_NOTE = "A room may import what is below it, and nothing else."


def diagrams() -> dict[str, str]:
    """Each file's name, and what is to be in it."""
    drawn = {
        f"{name}.svg": draw({head: layers(invocations(of)) for head, of in figure.items()}, STEPS_NOTE)
        for name, figure in FIGURES.items()
    }
    return {**drawn, "rooms.svg": draw({"": rooms()}, ROOMS_NOTE)}


def invocations(pipeline: Pipeline) -> dict[str, StepInvocation]:
    """The steps of a pipeline, by name, as it would run with the shipped settings on the embedded sample."""
    problem = load_problem("housing_sample", ROOT / "configs" / "problems")
    settings = load_configuration(ROOT / "configs" / "training.yaml", [], TrainingSettings).settings
    if pipeline is large_training:
        settings = settings.on_disk(problem)
    given = {"problem": problem, "settings": settings, "source": problem.source}
    parameters = inspect.signature(pipeline.entrypoint).parameters
    kinds = inspect.get_annotations(pipeline.entrypoint, eval_str=True)
    pipeline.prepare(
        **{
            name: given[name] if kinds[name] is type(given.get(name)) else _any_of(kinds[name])
            for name in parameters
        }
    )
    return dict(pipeline.invocations)


def layers(steps: dict[str, StepInvocation]) -> list[list[Box]]:
    """Steps in layers, each after those that it waits for; of one step all of a layer are one box."""
    before = {name: set(step.upstream_steps) for name, step in steps.items()}
    depth: dict[str, int] = {}
    for name in steps:
        depth[name] = max((depth[other] + 1 for other in before[name]), default=0)
    alike: dict[tuple[int, str], list[str]] = defaultdict(list)
    for name, step in steps.items():
        alike[depth[name], step.step.name].append(name)
    first = {name: names[0] for names in alike.values() for name in names}
    found: list[list[Box]] = [[] for _ in range(max(depth.values()) + 1)]
    for (level, _), names in alike.items():
        step = steps[names[0]].step
        waits = {first[other] for other in before[names[0]]}
        waits -= {first[far] for near in before[names[0]] for far in _all_before(near, before)}
        text = (inspect.getdoc(step.entrypoint) or "").split("\n\n")[0].replace("\n", " ")
        always = step.configuration.enable_cache is False
        found[level].append(Box(tuple(names), text, tuple(sorted(waits)), always))
    return found


def rooms() -> list[list[Box]]:
    """The layers of the contract, each room with those that it imports."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(one for one in linter["contracts"] if one["type"] == "layers")
    graph = grimp.build_graph(*linter["root_packages"], cache_dir=None)
    imported = defaultdict(set)
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            imported[module.partition(".")[0]].add(other.partition(".")[0])
    found = []
    for layer in contract["layers"]:
        names = [name.strip() for name in layer.split("|")]
        order = [name.strip() for other in contract["layers"] for name in other.split("|")]
        found.append(
            [
                Box((f"{name}/",), _imports([o for o in order if o in imported[name] - {name}]))
                for name in names
            ]
        )
    return found


def _imports(names: list[str]) -> str:
    return f"imports {', '.join(names)}" if names else "imports no other room"


def _all_before(name: str, before: dict[str, set[str]]) -> set[str]:
    return before[name] | {far for near in before[name] for far in _all_before(near, before)}


def _any_of(kind: Any) -> Any:
    """Some value of a kind: what a pipeline only hands to its steps does not change their order."""
    if kind is datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_construct()
    return kind() if isinstance(kind, type) else []


if __name__ == "__main__":
    from stacks import environment

    environment.prepare()
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in diagrams().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)
