"""A version on its way to a target: packed, rolled out, recorded."""

import getpass
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from zenml import log_metadata, step

from millrace.bundle import PROVENANCE
from millrace.deployments import Deployment, Deployments
from millrace.errors import UserError
from millrace.registry import Registration, Registry
from millrace.strict import Strict
from stacks.tracking import tracking_uri
from steps.bundle import git_revision
from steps.locks import only_one
from steps.model_control_plane import zenml_version
from steps.score import load_chosen
from steps.serve import build_version
from targets.files import TARGETS, TargetSettings, load_target_file
from targets.rollout import Watch, roll_out
from targets.smoke import Smoke
from targets.target import Release, Target


class Deploying(Strict):
    """What is asked for: where to, of which image, if that is built already, and whether as a roll-back.

    `target` is the name of a file in configs/targets/, or the path of one.
    """

    stack: str
    target: str
    image: str | None
    going_back: bool = False

    @property
    def settings(self) -> TargetSettings:
        """What the target's file says."""
        return load_target_file(self.target, TARGETS)

    @property
    def target_name(self) -> str:
        """What the target is called where its deployments are kept."""
        return Path(self.target).stem


# Never cached: what a target finds in stores and registries is the world, not an artifact.
@step(enable_cache=False)
def pack(chosen: Registration, asked: Deploying) -> Annotated[Release, "release"]:
    """Build what the target runs, unless it is there: the version's Bento, the Bento's image.

    The Bento holds the bundle with the digest that the registry names, or none is built.
    """
    settings = asked.settings
    registry = settings.make(chosen.name).registry
    bento, image = "", asked.image
    if image is None:
        bento = build_version(chosen, latest=False)
        if settings.runs_images:
            image = _image(bento, registry, settings.variant)
    return Release(
        problem=chosen.name, version=chosen.version, digest=chosen.digest, bento=bento, image=image
    )


def _image(bento: str, registry: str | None, variant: str | None) -> str:
    """The image of a Bento: one that an earlier deployment has pushed, or a new one.

    A registry may refuse another image by a name that it has already.
    """
    from targets import images

    if registry is None:
        return images.build(bento, variant)
    name, _, _ = images.named(bento, variant).partition(":")
    problem, _, _ = bento.partition(":")
    earlier = Deployments(Registry(problem, tracking_uri())).image_of(bento, f"{registry}/{name}")
    return earlier or images.push(images.build(bento, variant), registry)


@contextmanager
def alone_on(target: str, problem: str) -> Iterator[None]:
    """While this process alone deploys a problem to a target, or ends what was.

    Raises:
        UserError: another one does.
    """
    with only_one(f"deployment-{target}-{problem}") as alone:
        if not alone:
            raise UserError(f"Another deployment to '{target}' is under way; wait for its end.")
        yield


@step(enable_cache=False)
def deploy(release: Release, chosen: Registration, asked: Deploying) -> Annotated[Deployment, "deployment"]:
    """Let the release take over on the target, or leave the target as it was; whichever, say so."""
    with alone_on(asked.target_name, release.problem):
        settings = asked.settings
        target = settings.make(release.problem)
        began = time.perf_counter()
        bundle = load_chosen(chosen)
        about = _about(release, bundle.read(PROVENANCE), asked, target.url)
        if _is_settled(target, release, asked.target_name):
            why = "it has the traffic already"
            return Deployment(**about, outcome="unchanged", why=why, before=release.version, seconds=0)
        smoke = Smoke(bundle, settings.api_key)
        watch = Watch(seconds=settings.watch_seconds, max_failed=settings.max_failed)
        outcome = roll_out(target, release, smoke, watch, _say)
        return Deployment(
            **about,
            **outcome.model_dump(exclude={"result", "before"}),
            outcome=outcome.result,
            before=outcome.before and outcome.before.version,
            seconds=time.perf_counter() - began,
        )


@step(enable_cache=False, experiment_tracker=True)
def record(deployment: Deployment) -> Annotated[str, "mlflow_run"]:
    """Keep it in MLflow, and with the version in ZenML; returns MLflow's id of the run."""
    import mlflow

    active = mlflow.active_run()
    assert active is not None, "the step's experiment tracker starts a run"
    run_id: str = active.info.run_id
    Deployments(Registry(deployment.problem, tracking_uri())).record(deployment, run_id)
    told = deployment.model_dump(mode="json", exclude_none=True)
    log_metadata(told, artifact_name="mlflow_run", infer_artifact=True)
    # A version that was put into MLflow's registry by hand is none of ZenML's.
    with suppress(KeyError):
        log_metadata(
            {f"deployment {deployment.target} {deployment.at:%Y-%m-%dT%H%M%SZ}": told},
            model_name=deployment.problem,
            model_version=zenml_version(deployment.version),
        )
    return run_id


def _about(release: Release, provenance: dict[str, Any], asked: Deploying, url: str) -> dict[str, Any]:
    """What a deployment's record says, whatever comes of it."""
    return {
        "problem": release.problem,
        "stack": asked.stack,
        "target": asked.target_name,
        "url": url,
        **release.model_dump(include={"version", "digest", "bento", "image"}),
        "commit": git_revision(),
        "model_commit": provenance["git_revision"],
        "data_digest": provenance["data"]["digest"],
        "run_id": provenance["run"]["id"],
        "by": _who(),
        "at": datetime.now(UTC),
        "going_back": asked.going_back,
    }


def _is_settled(target: Target, release: Release, name: str) -> bool:
    """Whether the release has the traffic, and was watched to the end when it got it."""
    if target.serving() != release:
        return False
    done = Deployments(Registry(release.problem, tracking_uri())).done(name)
    return bool(done) and (done[0].version, done[0].image) == (release.version, release.image)


def _who() -> str:
    """Who deploys, as far as this process knows: a run of GitHub Actions, or a user of this machine."""
    if actor := os.environ.get("GITHUB_ACTOR"):
        run = "/".join(os.environ.get(name, "") for name in ("GITHUB_REPOSITORY", "GITHUB_RUN_ID"))
        return f"{actor}, GitHub Actions {run}"
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _say(line: str) -> None:
    print(f"    {line}", file=sys.stderr, flush=True)
