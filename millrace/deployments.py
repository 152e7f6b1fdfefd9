"""What was deployed where, when and by whom: a run of MLflow for each deployment, a tag at its version."""

from datetime import UTC, datetime
from typing import Literal

from mlflow.entities import Metric, Param, Run, RunTag

from millrace.registry import Registry
from millrace.strict import Strict

DeploymentOutcome = Literal["deployed", "unchanged", "refused", "rolled_back"]
RECORD = "deployment.json"
TARGET_TAG = "deployment.target"
OUTCOME_TAG = "deployment.outcome"
# Deployments that are looked through for the one before.
LOOKED_AT = 200
# MLflow takes no longer values; what a candidate has said may be.
LONGEST_PARAM = 6000
MEASURED = ("requests", "failed", "probes", "failed_probes", "seconds")


class Deployment(Strict):
    """One deployment: what (model, data, code, image), where, by whom, and what came of it.

    `before` is the version that answered before; `commit` that of the code that deployed, `model_commit` of
    the code that trained; `run_id` is the training's ZenML run; `going_back` says that it was asked for as a
    roll-back. `requests` and the other counts: see `targets.rollout.Outcome`.
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
    going_back: bool = False
    requests: int = 0
    failed: int = 0
    probes: int = 0
    failed_probes: int = 0


def experiment_name(problem: str) -> str:
    """MLflow's experiment for the deployments of a problem."""
    return f"deployment_{problem}"


class Deployments:
    """A problem's deployments, in the MLflow that has its registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._client = registry.client

    def record(self, deployment: Deployment, run_id: str) -> None:
        """Keep a deployment in a run of MLflow's that was begun for it in the problem's experiment."""
        now = int(deployment.at.timestamp() * 1000)
        told = deployment.model_dump(mode="json", exclude=set(MEASURED))
        self._client.log_batch(
            run_id,
            [Metric(name, getattr(deployment, name), now, 0) for name in MEASURED],
            [Param(name, str(value)[:LONGEST_PARAM]) for name, value in told.items()],
            [RunTag(TARGET_TAG, deployment.target), RunTag(OUTCOME_TAG, deployment.outcome)],
        )
        self._client.log_text(run_id, deployment.model_dump_json(indent=2), RECORD)
        if deployment.outcome == "deployed":
            said = f"{deployment.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, by {deployment.by}"
            self._client.set_model_version_tag(
                self._registry.name, deployment.version, f"deployed_on.{deployment.target}", said
            )

    def done(self, target: str) -> list[Deployment]:
        """The deployments of a target that succeeded, the newest first."""
        return self._search(f"tags.`{TARGET_TAG}` = '{target}' and tags.`{OUTCOME_TAG}` = 'deployed'")

    def image_of(self, bento: str, repository: str) -> str | None:
        """The image of a Bento that is in a registry's repository since an earlier deployment."""
        found = self._search(f"params.bento = '{bento}' and params.image LIKE '{repository}@%'")
        return found[0].image if found else None

    def _search(self, condition: str) -> list[Deployment]:
        experiment = self._client.get_experiment_by_name(experiment_name(self._registry.name))
        if experiment is None:
            return []
        runs = self._client.search_runs(
            [experiment.experiment_id],
            condition,
            order_by=["attributes.start_time DESC"],
            max_results=LOOKED_AT,
        )
        return [_read(run) for run in runs]

    def before(self, target: str, serving: str | None) -> Deployment | None:
        """What a roll-back goes to, if to anything: what the target had before the version that serves.

        What was gone back from is no part of that past: the next roll-back goes further back.
        """
        past: list[Deployment] = []
        for each in reversed(self.done(target)):
            while each.going_back and past and past[-1].version != each.version:
                past.pop()
            if not past or past[-1].version != each.version:
                past.append(each)
        while past and past[-1].version == serving:
            past.pop()
        return past[-1] if past else None


def _read(run: Run) -> Deployment:
    params = {name: None if value == "None" else value for name, value in run.data.params.items()}
    metrics = {name: run.data.metrics[name] for name in MEASURED}
    return Deployment.model_validate({**params, **metrics})
