"""A stand-in for gcloud, Google's command line, which has no server to talk to here.

It takes the commands that targets/cloud_run.py gives, with their flags, and answers in the form of gcloud's
JSON; what it knows is in a file. It is no proof that gcloud answers so: that is from Google's documentation.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

STATE = Path(os.environ["GCLOUD_STAND_IN"])


def main() -> None:
    """One command."""
    with STATE.with_suffix(".commands").open("a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    state = json.loads(STATE.read_text())
    if state.get("refuse"):
        sys.exit(f"ERROR: (gcloud.run) {state['refuse']}")
    command, options = _read(sys.argv[1:])
    answer = {
        "run deploy": _deploy,
        "run services describe": lambda state, _: state["service"],
        "run services update-traffic": _update_traffic,
        "run revisions describe": lambda state, options: state["revisions"][options.name],
        "logging read": lambda state, _: state["requests"],
    }[command](state, options)
    STATE.write_text(json.dumps(state))
    print(json.dumps(answer))


def _read(words: list[str]) -> tuple[str, argparse.Namespace]:
    count = 3 if words[1] in ("services", "revisions") else 2
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("name")
    for flag in ("image", "tag", "update-env-vars", "to-revisions", "remove-tags", "limit"):
        parser.add_argument(f"--{flag}")
    for flag in ("project", "format"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--region", required=words[0] == "run")
    parser.add_argument("--no-traffic", action="store_true")
    parser.add_argument("--quiet", action="store_true", required=True)
    return " ".join(words[:count]), parser.parse_args(words[count:])


def _deploy(state: dict[str, Any], options: argparse.Namespace) -> Any:
    assert options.no_traffic
    separator, _, variables = options.update_env_vars.removeprefix("^").partition("^")
    pairs = [each.partition("=") for each in variables.split(separator)]
    name = f"{options.name}-{len(state['revisions']) + 1:05d}-abc"
    env = [{"name": key, "value": value} for key, _, value in pairs]
    container = {"image": options.image, "env": [{"name": "BENTOML_HOME", "value": "/tmp/state"}, *env]}
    state["revisions"][name] = {"metadata": {"name": name}, "spec": {"containers": [container]}}
    traffic = [entry for entry in state["service"]["status"]["traffic"] if entry.get("percent")]
    url = f"https://{options.tag}---{options.name}-xyz.a.run.app"
    state["service"]["status"]["traffic"] = [*traffic, {"revisionName": name, "tag": options.tag, "url": url}]
    return state["service"]


def _update_traffic(state: dict[str, Any], options: argparse.Namespace) -> Any:
    status = state["service"]["status"]
    if options.to_revisions:
        name, _, percent = options.to_revisions.partition("=")
        assert name in state["revisions"]
        tagged = [entry for entry in status["traffic"] if entry.get("tag")]
        for entry in tagged:
            entry.pop("percent", None)
        same = next((entry for entry in tagged if entry["revisionName"] == name), None)
        if same is not None:
            same["percent"] = int(percent)
            status["traffic"] = tagged
        else:
            status["traffic"] = [{"revisionName": name, "percent": int(percent)}, *tagged]
    if options.remove_tags:
        entries = [entry for entry in status["traffic"] if entry.get("percent")]
        status["traffic"] = [
            {name: value for name, value in entry.items() if name not in ("tag", "url")} for entry in entries
        ]
    return status["traffic"]


main()
