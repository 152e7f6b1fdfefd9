"""python -m deploy.grafana: write the dashboards as JSON, as Grafana is given them."""

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import data, model, pipelines, service

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, str]:
    """Each file's name, and what is to be in it."""
    built: dict[str, Dashboard] = {
        "service": service.build(),
        "model": model.build(),
        "data": data.build(),
        "pipelines": pipelines.build(),
    }
    return {
        f"{name}.json": JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"
        for name, board in built.items()
    }


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
