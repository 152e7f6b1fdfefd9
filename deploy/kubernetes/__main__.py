"""python -m deploy.kubernetes: write Prometheus' rules as the Prometheus operator is given them."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
RULES = FOLDER.parent / "prometheus" / "rules"
FILE = FOLDER / "monitoring" / "rules.yaml"
HEAD = "# Made of deploy/prometheus/rules by `python -m deploy.kubernetes`.\n"


def rules() -> str:
    """All groups of deploy/prometheus/rules/ as one PrometheusRule."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "millrace"},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }
    return HEAD + yaml.safe_dump(resource, sort_keys=False, width=110)


if __name__ == "__main__":
    FILE.write_text(rules(), encoding="utf-8")
    print(FILE)
