"""Killed at any moment, the same command goes on, and the registry stays whole."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import QUICK, Home, make_home

MOMENTS = ("cross_validate_linear", "fit_best", "bundle", "register", "promote", "build_bento")
# Another model than the trained home's, so that every step has work to do.
OTHER = ("--set=seed=11", "--set=candidates.linear.alpha=30")


def test_killed_at_six_moments_it_finishes_with_one_version_and_one_champion(home: Home) -> None:
    for moment in MOMENTS:
        home.start(*QUICK, *OTHER).kill_at(moment)
    summary = home.summary(*OTHER)
    state = home.state()
    assert list(state["versions"]) == ["1", "2"]
    assert state["champion"] == summary["champion_version"]
    assert state["challenger"] == (None if summary["champion_version"] == "2" else "2")
    assert state["stages"][f"v{state['champion']}"] == "production"
    assert state["runs"] == {"completed": 2, "failed": len(MOMENTS)}
    assert state["open_mlflow_runs"] == 0


def test_a_killed_run_goes_on_from_its_finished_steps(home: Home) -> None:
    home.start(*QUICK, *OTHER).kill_at("fit_best")
    done = home.train(*OTHER)
    assert done.returncode == 0, done.stderr
    assert "was killed; it is now marked as failed" in done.stderr
    assert done.stderr.count("taken from the cache") == 10
    assert "  fit_best: done in" in done.stderr


def test_two_trainings_at_once_make_two_versions_and_one_champion(home: Home) -> None:
    with ThreadPoolExecutor(2) as pool:
        seeds = [("--set=seed=21", "--set=candidates.linear.alpha=5"), ("--set=seed=22",)]
        summaries = list(pool.map(lambda arguments: home.summary(*arguments), seeds))
    state = home.state()
    assert list(state["versions"]) == ["1", "2", "3"]
    promoted = [summary["model_version"] for summary in summaries if summary["promoted"]]
    assert state["champion"] in (promoted or ["1"])
    # Each was judged against the champion of its moment: the later one against the earlier's outcome.
    before = {summary["champion_before"] for summary in summaries}
    assert before <= {"1", *promoted}


def test_four_first_starts_at_once_all_succeed(tmp_path: Path) -> None:
    home = make_home(tmp_path / "state")
    code = (
        "from pathlib import Path; from stacks import environment; environment.prepare();"
        "from stacks.stack_files import load_stack_file; from stacks.start import open_stack;"
        "open_stack(load_stack_file('local', Path('configs/stacks')))"
    )
    processes = [home.python("-c", code) for _ in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
