"""What a bundle becomes in MLflow's registry, whichever run puts it there: a logged model, and tags."""

import re
from pathlib import Path

import pandas as pd
from zenml import get_step_context

from millrace.bundle import PROVENANCE, Bundle
from millrace.registry import DIGEST_TAG

ROOT = Path(__file__).parent.parent


def log_model(bundle: Bundle, rows: pd.DataFrame) -> str:
    """Log the bundle's folder as a pyfunc model of the active run and return its id.

    The first of `rows` become its input example. With requirements and signature given, MLflow infers
    nothing, which would take it ten seconds.
    """
    import shutil
    import tempfile

    import mlflow

    from millrace.pyfunc import input_example, pack_code, signature

    with tempfile.TemporaryDirectory() as scratch:
        # MLflow names the copy after the folder.
        folder = Path(scratch) / "bundle"
        shutil.copytree(bundle.folder, folder)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module="millrace.pyfunc",
            data_path=str(folder),
            code_paths=[str(pack_code(Path(scratch)))],
            signature=signature(bundle.problem),
            input_example=input_example(rows, bundle.problem),
            pip_requirements=_requirements(),
        )
    model_id: str = logged.model_id
    return model_id


def _requirements() -> list[str]:
    """What the service is locked to. MLflow adds itself, without a hash, so none may have one."""
    lock = (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8")
    return re.findall(r"^\S+==\S+", lock, re.MULTILINE)


def version_tags(bundle: Bundle) -> dict[str, str]:
    """Where a bundle comes from, and which ZenML run makes a version of it."""
    provenance = bundle.read(PROVENANCE)
    run = get_step_context().pipeline_run
    revision = provenance["data"].get("dvc", {})
    trigger = provenance.get("trigger")
    return {
        DIGEST_TAG: bundle.digest,
        "data_digest": provenance["data"]["digest"],
        "data_origin": provenance["data"]["origin"],
        **{f"data_{name}": value for name, value in revision.items()},
        **({"trigger": f"{trigger['kind']}: {trigger['reason']}"} if trigger else {}),
        "git_revision": provenance["git_revision"] or "unknown",
        "zenml_run_id": str(run.id),
        "zenml_run_name": run.name,
    }
