"""What a training and a monitoring tell on GitHub."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.pages import markdown
from pipelines.alarm import alarm
from pipelines.comment import LONGEST_CARD, comment, main, plain, table
from pipelines.monitoring_summary import MonitoringSummary
from pipelines.summary import Summary
from tests.conftest import Home

HOSTILE = "@everyone | `x`\n\n<script>alert(1)</script> [a](http://b) #1 -->\n| --- |\n# big"
MENTION = re.compile(r"@(?!<!-- -->)")


def told(home: Home, summary: dict[str, Any], folder: Path) -> str:
    """What the command prints for a summary of the stack `local`."""
    (folder / "out.json").write_text(json.dumps(summary))
    process = home.python("-m", "pipelines.comment", str(folder / "out.json"), "local")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables but their rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_a_training_is_told_with_its_card(home: Home, tmp_path: Path) -> None:
    summary = home.summary()
    text = told(home, summary, tmp_path)
    assert text.splitlines()[0] == "<!-- millrace: training of iris -->"
    # Trained once more it is the same model.
    assert text.splitlines()[1] == "### iris: version 1, not promoted"
    shown, _, card = text.partition("<details>")
    assert markdown(summary["reason"]) in shown
    assert "Champion: version 1, unchanged." in shown
    cells = [[cell.strip() for cell in row] for row in rows(shown)]
    board = summary["leaderboard"]
    assert [row[0] for row in cells[1 : len(board) + 1]] == [markdown(entry["candidate"]) for entry in board]
    assert [row[1] for row in cells[1 : len(board) + 1]] == [f"{entry['metric']:.4f}" for entry in board]
    found = {row[0]: row[1:] for row in cells[len(board) + 2 :]}
    assert found == {
        markdown(name): [
            *(f"{interval[part]:.4f}" for part in ("value", "low", "high")),
            f"{summary['baseline'][name]:.4f}",
        ]
        for name, interval in summary["holdout"].items()
    }
    assert f"bundle `{summary['bundle_digest'][:12]}`" in shown
    for title in ("# Model card: iris", "## Intended use", "## How good", "## Provenance"):
        assert f"\n{title}\n" in card
    assert card.rstrip().endswith("</details>")
    assert len(text) < 65_536


@pytest.fixture
def summary() -> dict[str, Any]:
    """A summary whose names are as bad as can be."""
    return {
        "run_id": "1",
        "run_name": HOSTILE,
        "problem": "iris",
        "task": "regression",
        "synthetic": True,
        "metric": HOSTILE,
        "holdout": {HOSTILE: {"value": 1, "low": 0, "high": 2}},
        "baseline": {HOSTILE: 3},
        "left_out": [HOSTILE],
        "why_left_out": HOSTILE,
        "worst_slice": HOSTILE,
        "leaderboard": [
            {"candidate": HOSTILE, "metric": 1, "std": 0, "p_value": None, "seconds": 1},
            {"candidate": "baseline", "metric": 3, "std": 0, "p_value": 0.2, "seconds": 0},
        ],
        "model_version": "2",
        "promoted": False,
        "reason": HOSTILE,
        "criteria": [
            {"name": "size", "challenger": 1, "rival": None, "limit": "none", "held": True},
            {"name": HOSTILE, "challenger": 1, "rival": 2, "limit": "a", "held": False, "reason": HOSTILE},
        ],
        "champion_before": "1",
        "champion_version": "1",
        "bundle_digest": "0" * 64,
        "bento": "",
        "rows": {"read": 4, "used": 2, "quarantined": 1, "duplicates": 1},
        "quarantine": None,
        "on_disk": None,
        "seconds": 1,
    }


@pytest.mark.usefixtures("opened")
def test_what_cannot_be_told_is_one_sentence(
    summary: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    path.write_text('{"problem": "iris"}')
    assert main(str(path), "local") == 2
    path.write_text(json.dumps({**summary, "model_version": "77"}))
    assert main(str(path), "local") == 2
    assert main(str(tmp_path / "absent.json"), "local") == 2
    out, err = capsys.readouterr()
    assert out == ""
    other, missing, absent = (line for line in err.splitlines() if line.startswith("error: "))
    assert other.startswith(f"error: {path}: is no summary of a training: ")
    assert missing == "error: The registry of stack 'local' has no version 77 of 'iris'; its versions: 1."
    assert "No such file" in absent


def test_names_can_do_nothing(summary: dict[str, Any]) -> None:
    text = comment(Summary.model_validate_json(json.dumps(summary)), f"# Model card\n\n{HOSTILE[:9]}\n")
    assert not MENTION.search(text)
    assert "<script>" not in re.sub(r"\\<", "", text)
    assert not re.search(r"^# big", text, re.MULTILINE)
    assert {len(row) for row in rows(text)} == {5}
    assert text.count("-->") == 1 + text.count("@<!-- -->")
    assert "The data are synthetic." in text
    assert f"- {plain(HOSTILE)}: {plain(HOSTILE)}" in text
    assert "- size" not in text


def test_a_long_card_is_cut_between_lines(summary: dict[str, Any]) -> None:
    parsed = Summary.model_validate_json(json.dumps({**summary, "run_name": "x"}))
    text = comment(parsed, "| a | b |\n" * LONGEST_CARD)
    assert len(text) < 65_536
    card = text.partition("<summary>Model card</summary>")[2]
    assert set(card.splitlines()) == {
        *("", "| a | b |", "The rest is in the model's registry.", "</details>"),
    }


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), max_size=3))
def test_a_table_has_its_cells_whatever_is_in_them(cells: list[list[str]]) -> None:
    lines = table(("a", "b", "c"), [tuple(row) for row in cells])
    assert len(lines) == len(cells) + 3
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert all(len(row) == 3 for row in rows("\n".join(lines)))
    assert not MENTION.search("\n".join(lines))


def judged(**changes: Any) -> MonitoringSummary:
    """The summary of a monitoring that found nothing, with changes of its verdict."""
    column = {"importance": 0.5, "distance": 0.1, "missing": 0.0, "missing_before": 0.0, "unseen": 0.0}
    drift = {
        "status": "no drift",
        "why": "Nothing.",
        "rows": 1200,
        "reference_rows": 2000,
        "columns": [
            {**column, "name": HOSTILE, "score": 2.0, "reasons": ["the numbers lie elsewhere"]},
            {**column, "name": "calm", "score": 0.5},
        ],
        **changes.get("drift", {}),
    }
    performance = {
        "status": "no decay",
        "why": "Nothing.",
        "metric_name": "rmse",
        "labelled_rows": 0,
        "metrics": {},
        "holdout": {},
        **changes.get("performance", {}),
    }
    counted = dict.fromkeys(("shadow", "future", "unanswered", "damaged", "outcomes", "replaced"), 0)
    counted |= dict.fromkeys(("unknown", "future_outcomes", "early"), 0)
    now = datetime(2026, 11, 26, tzinfo=UTC).isoformat()
    return MonitoringSummary.model_validate_json(
        json.dumps(
            {
                "run_id": "1",
                "run_name": "monitoring",
                "problem": "iris",
                "notes": [HOSTILE],
                "history": "a",
                "gauges": "b",
                "seconds": 1,
                "verdict": {
                    "problem": "iris",
                    "version": "3",
                    "bundle_digest": "0" * 64,
                    "false_alarms": 0.01,
                    "since": now,
                    "until": now,
                    "drift": drift,
                    "performance": performance,
                    "counted": {**counted, "judged": {}, "others": {}},
                },
            }
        )
    )


def test_without_alarm_nothing_is_said() -> None:
    assert alarm(judged()) == ""
    assert alarm(judged(drift={"status": "not enough data"})) == ""


def test_an_alarm_says_what_has_drifted() -> None:
    text = alarm(judged(drift={"status": "drift", "why": "One column."}))
    assert text.splitlines()[:2] == ["<!-- millrace: monitoring of iris -->", "### iris: drift"]
    assert "- Drift: drift. One column." in text
    assert len(rows(text)) == 2
    assert "the numbers lie elsewhere" in text
    assert "calm" not in text
    assert not MENTION.search(text)


def test_an_alarm_says_what_has_decayed() -> None:
    decay = {"status": "decay", "why": "Losses grew."}
    assert "### iris: decay\n" in alarm(judged(performance=decay))
    assert "### iris: drift and decay\n" in alarm(judged(drift={"status": "drift"}, performance=decay))
