"""The environment of every Millrace process: where state lives, and no telemetry.

Must be set before zenml, mlflow, bentoml or great_expectations is imported. What the user has set
stays as it is.
"""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent


def home() -> Path:
    """The folder of all local state: ZenML's store, MLflow, Bentos, caches, locks."""
    return Path(os.environ.get("MILLRACE_HOME") or ROOT / ".millrace").absolute()


def variables() -> dict[str, str]:
    """The settings a process starts with."""
    folder = home()
    return {
        "MILLRACE_HOME": str(folder),
        "ZENML_CONFIG_PATH": str(folder / "zenml"),
        "BENTOML_HOME": str(folder / "bentoml"),
        # No telemetry, of any library.
        "ZENML_ANALYTICS_OPT_IN": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "GX_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # No chatter: what a user should know, run.py says.
        "ZENML_LOGGING_VERBOSITY": "INFO",
        "ZENML_ENABLE_RICH_TRACEBACK": "false",
        # Registering the stack has just written its secrets: ZenML would ask for each twice more.
        "ZENML_SECRET_VALIDATION_LEVEL": "NONE",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # A server that is away is waited for, for a minute and not for four.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        "MPLBACKEND": "agg",
        # LightGBM's threads wait for one another by spinning: beside another busy process a fit of one
        # second then takes minutes. Read by OpenMP when it is loaded.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def prepare() -> None:
    """Set what the user has not set."""
    for name, value in variables().items():
        os.environ.setdefault(name, value)
    Path(os.environ["ZENML_CONFIG_PATH"]).mkdir(parents=True, exist_ok=True)
    Path(os.environ["BENTOML_HOME"]).mkdir(parents=True, exist_ok=True)


def use_server(stack: str, url: str, api_key: str) -> None:
    """Let this process, and no other, keep its runs on a ZenML server.

    ZenML writes what it is connected to into its configuration. So a stack on a server has a folder of its
    own for that, and the user's own active store and stack stay what they are. The key is not written.
    """
    folder = home() / "zenml-servers" / stack
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["ZENML_CONFIG_PATH"] = str(folder)
    # Nor is the configuration of a checkout where `zenml init` was run to be changed.
    os.environ["ZENML_REPOSITORY_PATH"] = str(folder)
    os.environ["ZENML_STORE_URL"] = url
    os.environ["ZENML_STORE_API_KEY"] = api_key
    os.environ["DISABLE_CREDENTIALS_DISK_CACHING"] = "true"


if __name__ == "__main__":
    import shlex

    prepare()
    for name in variables():
        print(f"export {name}={shlex.quote(os.environ[name])}")
