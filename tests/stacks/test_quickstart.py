"""What we replace in ZenML is still there to be replaced, and replaced to some effect."""

import inspect
import json
import subprocess
import sys

from tests.conftest import ROOT, Home

APPLIED = """
import json, sys, importlib.metadata
from stacks import environment, quickstart
environment.prepare()
quickstart.apply()
quickstart.apply()
quickstart.import_mlflow()
polars_after_mlflow = "polars" in sys.modules
import polars
from zenml.client import Client
from zenml.environment import Environment
from zenml.integrations.mlflow.experiment_trackers import MLFlowExperimentTracker
from zenml.integrations.registry import integration_registry
from zenml.utils import source_utils
listings = []
search = importlib.metadata.packages_distributions
importlib.metadata.packages_distributions = lambda: listings.append(1) or search()
modules = ("pandas.core", "zenml", "sklearn", "sklearn", "nowhere")
found = [source_utils._get_package_for_module(name) for name in modules]
integration_registry.activate_integrations()
MLFlowExperimentTracker.disable_autologging(None)
packages = Environment.get_python_packages()
with Client().zen_store.engine.connect() as connection:
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
print(json.dumps({
    "found": found,
    "listings": len(listings),
    "polars": [polars_after_mlflow, polars.__name__],
    "activated": [name for name in ("bentoml", "lightgbm", "torch") if name in sys.modules],
    "journal": journal,
    "packages": [package.partition("==")[0] for package in packages],
    "listed anew": Environment.get_python_packages() is not packages,
}))
"""
SECRETS = """
import json
from stacks import quickstart
quickstart.apply()
from zenml.client import Client
client = Client()
client.create_secret("key", {"value": "one"})
ask = lambda: client.get_secret_by_name_and_private_status("key").secret_values["value"]
told = [ask()]
client.update_secret("key", add_or_update_values={"value": "two"})
told.append(ask())
quickstart.forget_secrets()
print(json.dumps([*told, ask()]))
"""


def test_zenml_still_asks_for_all_distributions_at_every_call() -> None:
    from zenml.utils import source_utils

    assert "packages_distributions" in inspect.getsource(source_utils._get_package_for_module)


def test_zenml_still_activates_integrations_before_a_run() -> None:
    from zenml.pipelines import pipeline_definition

    assert "activate_integrations" in inspect.getsource(pipeline_definition.Pipeline._compile)


def test_zenml_still_makes_schemas_of_parameters_and_turns_off_autologging() -> None:
    from zenml.config import compiler
    from zenml.integrations.mlflow.experiment_trackers import mlflow_experiment_tracker as mlflow

    assert "_compute_parameter_schema()" in inspect.getsource(compiler.Compiler._get_step_spec)
    assert "_compute_input_schema()" in inspect.getsource(compiler.Compiler._compute_pipeline_spec)
    assert "disable_autologging()" in inspect.getsource(mlflow.MLFlowExperimentTracker.cleanup_step_run)


def test_zenml_still_makes_a_folder_for_each_output_and_looks_for_secrets_before_a_run() -> None:
    from zenml.orchestrators import output_utils
    from zenml.stack import Stack

    assert "makedirs(artifact_uri)" in inspect.getsource(output_utils.prepare_output_artifact_uris)
    assert "ENV_ZENML_SECRET_VALIDATION_LEVEL" in inspect.getsource(Stack._validate_secrets)


def test_mlflow_still_compares_requirements_with_what_is_installed() -> None:
    from mlflow.utils import environment

    assert "warn_dependency_requirement_mismatches(" in inspect.getsource(
        environment._process_pip_requirements
    )


def test_zenml_still_lists_packages_twice_a_run_and_reads_source_at_every_step() -> None:
    from zenml.config import compiler
    from zenml.environment import get_run_environment_dict
    from zenml.orchestrators.step_launcher import StepLauncher
    from zenml.steps.base_step import BaseStep

    for run in (compiler.Compiler.compile, StepLauncher._create_or_reuse_run):
        assert "get_run_environment_dict()" in inspect.getsource(run)
    assert "Environment.get_python_packages()" in inspect.getsource(get_run_environment_dict)
    assert "source_code_utils.get_hashed_source_code" in inspect.getsource(BaseStep.caching_parameters.fget)


def test_a_secret_is_asked_for_once_until_it_may_have_changed(home: Home) -> None:
    outcome = home.ask(SECRETS)
    assert outcome == ["one", "one", "two"]


def test_applied_it_finds_distributions_activates_nothing_and_writes_ahead(home: Home) -> None:
    # By an interpreter that has imported nothing yet.
    asked = subprocess.run(
        [sys.executable, "-c", APPLIED], cwd=ROOT, env=home.environment, capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr
    outcome = json.loads(asked.stdout.splitlines()[-1])
    assert outcome["found"] == ["pandas", "zenml", "scikit-learn", "scikit-learn", None]
    assert outcome["listings"] == 2
    assert outcome["activated"] == []
    assert outcome["polars"] == [False, "polars"]
    assert outcome["journal"] == "wal"
    assert {"mlflow", "zenml"} <= set(outcome["packages"])
    assert not outcome["listed anew"]
