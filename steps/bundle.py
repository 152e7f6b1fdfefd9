"""The trained model and all that is known of it, as one folder."""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import get_step_context, step

from millrace.bundle import Bundle, FittedModel
from millrace.digests import table_digest
from millrace.evaluation import Evaluation
from millrace.explanation import Importance
from millrace.large.rows import Account
from millrace.leaderboard import Leaderboard
from millrace.packing import Training, pack
from millrace.settings import TrainingSettings
from millrace.splitting import SplitRecord
from steps.materializers import BundleMaterializer, Plots
from steps.scratch import scratch

LIBRARIES = ("lightgbm", "numpy", "pandas", "scikit-learn", "skops")


@step(output_materializers=BundleMaterializer)
def bundle(
    model: FittedModel,
    bronze: pd.DataFrame,
    training_rows: pd.DataFrame,
    holdout_rows: pd.DataFrame,
    evaluation: Evaluation,
    evaluation_plots: Plots,
    importance: dict[str, float],
    explanation_plots: Plots,
    leaderboard: Leaderboard,
    split: SplitRecord,
    settings: TrainingSettings,
    account: Account | None = None,
) -> Annotated[Bundle, "bundle"]:
    """Pack and seal the bundle; of a table that stayed on disk there is an account, and of its rows some."""
    digest = account.digest if account else table_digest(bronze)
    training = Training(
        fitted=model,
        training_rows=training_rows,
        holdout_rows=holdout_rows,
        evaluation=evaluation,
        leaderboard=leaderboard,
        importance=[Importance(feature=name, value=value) for name, value in importance.items()],
        split=split,
        evaluation_plots=evaluation_plots,
        explanation_plots=explanation_plots,
        data_digest=digest,
        confidence=settings.confidence,
        account=account,
    )
    # ZenML stores the folder after this function has returned.
    folder = Path(tempfile.mkdtemp(dir=scratch()))
    read = get_step_context().inputs["bronze"][0].run_metadata
    data = {"origin": read["origin"], "digest": digest, "rows": account.rows.read if account else len(bronze)}
    data |= {name: read[name] for name in ("dvc", "source_rows", "source_digest") if name in read}
    provenance = _provenance(settings, data)
    if "trigger" in read:
        provenance["trigger"] = read["trigger"]
    sealed = pack(folder, training, provenance, settings.reference_rows, settings.seed)
    return Bundle(folder=folder, digest=sealed, fitted=model)


def _provenance(settings: TrainingSettings, data: dict[str, Any]) -> dict[str, Any]:
    run = get_step_context().pipeline_run
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": git_revision(),
        "run": {"id": str(run.id), "name": run.name},
        "data": data,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json"),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def git_revision() -> str | None:
    """The commit of the code, marked where files differ from it.

    In an image it is the one that the image was built from; None outside a git checkout and an image.
    """
    if built_from := os.environ.get("MILLRACE_REVISION"):
        return built_from
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
