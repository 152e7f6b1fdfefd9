"""What was deployed where, when and by whom: a run of MLflow for each deployment, a tag at its version."""

from datetime import UTC, datetime
from typing import Literal

from mlflow.entities import Run

from millrace.registry import Registry
from millrace.strict import Strict

DeploymentOutcome = Literal["deployed", "unchanged", "refused", "rolled_back"]
RECORD = "deployment.json"
TARGET_TAG = "deployment.target"
OUTCOME_TAG = "deployment.outcome"
# Deployments that are looked through for the one before.
LOOKED_AT = 200
MEASURED = ("requests", "failed", "probes", "failed_probes", "seconds")


class Deployment(Strict):
    """One deployment: what (model, data, code, image), where, by whom, and what came of it.

    `before` is the version that answered before; `commit` that of the code that deployed, `model_commit` of
    the code that trained; `run_id` is the training's ZenML run. `requests` and the other counts: see
    `targets.rollout.Outcome`.
    """

    problem: str
    stack: str
    target: str
    url: str
    outcome: DeploymentOutcome
    why: str
    version: str
    digest: str
    bento: str
    image: str | None
    before: str | None
    commit: str | None
    model_commit: str | None
    data_digest: str
    run_id: str
    by: str
    at: datetime
    seconds: float
    requests: int = 0
    failed: int = 0
    probes: int = 0
    failed_probes: int = 0


class Deployments:
    """A problem's deployments, in the MLflow that has its registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._client = registry.client
        self._experiment = f"deployment_{registry.name}"

    def record(self, deployment: Deployment) -> str:
        """Keep a deployment; returns MLflow's id of its run."""
        told = deployment.model_dump(mode="json", exclude=set(MEASURED))
        run = self._client.create_run(
            self._experiment_id(),
            run_name=f"{deployment.target}-version-{deployment.version}",
            tags={TARGET_TAG: deployment.target, OUTCOME_TAG: deployment.outcome},
        )
        run_id: str = run.info.run_id
        for name, value in told.items():
            self._client.log_param(run_id, name, value)
        for name in MEASURED:
            self._client.log_metric(run_id, name, getattr(deployment, name))
        self._client.log_text(run_id, deployment.model_dump_json(indent=2), RECORD)
        self._client.set_terminated(run_id, "FINISHED" if deployment.outcome == "deployed" else "FAILED")
        if deployment.outcome == "deployed":
            said = f"{deployment.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, by {deployment.by}"
            self._client.set_model_version_tag(
                self._registry.name, deployment.version, f"deployed_on.{deployment.target}", said
            )
        return run_id

    def done(self, target: str) -> list[Deployment]:
        """The deployments of a target that succeeded, the newest first."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return []
        runs = self._client.search_runs(
            [experiment.experiment_id],
            f"tags.`{TARGET_TAG}` = '{target}' and tags.`{OUTCOME_TAG}` = 'deployed'",
            order_by=["attributes.start_time DESC"],
            max_results=LOOKED_AT,
        )
        return [_read(run) for run in runs]

    def before(self, target: str, serving: str) -> Deployment | None:
        """What a roll-back goes to: the last that succeeded of another version than the one that serves."""
        found = self.done(target)
        # What was deployed after it was gone back from.
        places = [place for place, each in enumerate(found) if each.version == serving]
        older = found[places[0] :] if places else found
        return next((each for each in older if each.version != serving), None)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        identity: str = found.experiment_id if found else self._client.create_experiment(self._experiment)
        return identity


def _read(run: Run) -> Deployment:
    params = {name: None if value == "None" else value for name, value in run.data.params.items()}
    metrics = {name: run.data.metrics[name] for name in MEASURED}
    return Deployment.model_validate({**params, **metrics})
