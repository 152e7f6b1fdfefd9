"""How often, and how soon, drift is found, and found where there is none, beside Evidently, KS and PSI.

    .venv/bin/python benchmarks/detection.py [--references 112] [--streams 40] [--seed 0] [--sizes 200 1000]
        [--counts FILE]

California Housing, the table beside the repository or the embedded sample; a LightGBM model fitted on a part
of it. The rest is parted anew for each reference of 2,000 rows, from which windows are disjoint. Each
reference meets ten windows without drift, of which the peers see two, and two of each other kind.

Then streams: of each kind, window after window, ten of them; somewhere in the first it begins to drift. How
many windows pass until the alarm says how soon it is found; one is the window in which it began.

`--counts` adds to the counts in a file: the work can be done in pieces, each with its own seed.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["DO_NOT_TRACK"] = "1"
TABLE = ROOT.parent / "shared" / "data" / "california_housing.csv"
REFERENCE_ROWS = 2_000
# Rows that are left for references and windows.
REST = 12_640
QUIET, LOUD = 10, 2
# Windows of a stream, and how many of them a slow drift takes.
LONGEST = 10
PREDICTION = "_prediction"
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def income(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Incomes are a fifth higher."""
    return table.assign(MedInc=table["MedInc"] * 1.2)


def season(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of the south come more often: as a season changes, or by and by."""
    tilt = np.exp(-0.3 * (table["Latitude"] - table["Latitude"].mean()) / table["Latitude"].std())
    return table.sample(len(table), replace=True, weights=tilt, random_state=rng)


def unit(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """One column, which matters little, is in another unit."""
    return table.assign(AveBedrms=table["AveBedrms"] / 10)


def frozen(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """A sensor is stuck: half of the rows have the same value."""
    ages = table["HouseAge"].to_numpy(copy=True)
    ages[: len(ages) // 2] = ages[0]
    return table.assign(HouseAge=ages)


def nulls(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One value in twenty of a column is missing."""
    return table.assign(HouseAge=table["HouseAge"].where(rng.random(len(table)) > 0.05))


def labels(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """Outcomes are a fifth higher where all else is the same."""
    return table.assign(MedHouseVal=table["MedHouseVal"] * 1.2)


def nothing(table: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    """No drift."""
    return table


SCENARIOS: dict[str, Change] = {
    "no drift": nothing,
    "income x1.2": income,
    "season": season,
    "unit changed": unit,
    "half frozen": frozen,
    "5% nulls": nulls,
    "label shift": labels,
}
SLOW = "income, by and by x1.2"
DECAY = "Millrace decay"
METHODS = (
    "Millrace",
    DECAY,
    "Evidently, any column",
    "Evidently, dataset",
    "KS p<0.05",
    "PSI>0.2",
)


@dataclass
class World:
    """The table's rest, a model, and what it takes to judge by."""

    problem: Any
    model: Any
    importance: dict[str, float]
    rest: pd.DataFrame
    inputs: list[str]

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with predictions."""
        return table.assign(**{PREDICTION: self.model.predict(table[self.inputs])})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--references", type=int, default=112)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1_000, 10_000])
    parser.add_argument("--counts", type=Path)
    asked = parser.parse_args()
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    delays: defaultdict[str, list[int]] = defaultdict(list)
    if asked.counts and asked.counts.is_file():
        known = json.loads(asked.counts.read_text())
        counts.update(known["counts"])
        delays.update(known["delays"])
    world = make_world()
    for number in range(asked.references):
        for size in asked.sizes:
            play(world, size, np.random.default_rng([asked.seed, number, size]), counts)
    for number in range(asked.streams):
        for size in asked.sizes:
            play_streams(world, size, np.random.default_rng([asked.seed, number, size, 1]), delays)
    if asked.counts:
        asked.counts.write_text(json.dumps({"counts": counts, "delays": delays}))
    show(counts)
    show_delays(delays)


def make_world() -> World:
    """Read the table and fit the model."""
    import lightgbm as lgb

    from millrace.contract import load_problem
    from millrace.sample import housing_sample

    table = pd.read_csv(TABLE) if TABLE.is_file() else housing_sample(20_640).to_pandas()
    problem = load_problem("california_housing", ROOT / "configs" / "problems")
    inputs = list(problem.inputs)
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    fitted, rest = shuffled[:-REST], shuffled[-REST:].reset_index(drop=True)
    data = lgb.Dataset(fitted[inputs], fitted["MedHouseVal"])
    model = lgb.train({"objective": "regression", "verbose": -1, "seed": 0, "num_threads": 1}, data, 150)
    found = np.abs(model.predict(fitted[inputs].head(2_000), pred_contrib=True)[:, :-1]).mean(axis=0)
    importance = dict(zip(inputs, (found / found.sum()).tolist(), strict=True))
    return World(problem, model, importance, rest, inputs)


def play(world: World, size: int, rng: np.random.Generator, counts: dict[str, list[int]]) -> None:
    """One reference, and windows of every scenario."""
    watch = Watch.draw(world, size, rng)
    for scenario, change in SCENARIOS.items():
        for number in range(LOUD if change is not nothing else QUIET):
            window = world.predict(change(watch.window(rng), rng))
            alarms = watch.ours(window, change in (nothing, labels))
            if number < LOUD:
                alarms |= watch.peers(window, change is labels)
            for method, alarm in alarms.items():
                count = counts[f"{size}|{scenario}|{method}"]
                count[0] += bool(alarm)
                count[1] += 1


def play_streams(world: World, size: int, rng: np.random.Generator, delays: dict[str, list[int]]) -> None:
    """One reference, and a stream of every kind of drift: how many windows pass until each method's alarm.

    Where none comes in ten windows, one more than these.
    """
    watch = Watch.draw(world, size, rng)
    for scenario, change in {**SCENARIOS, SLOW: None}.items():
        begins, found = int(rng.integers(size)), dict[str, int]()
        for number in range(LONGEST):
            window = watch.window(rng)
            if change is None:
                share = np.clip((np.arange(size) + number * size - begins) / (LONGEST * size), 0, 1)
                window = window.assign(MedInc=window["MedInc"] * (1 + 0.2 * share))
            else:
                before = begins if number == 0 else 0
                window = pd.concat([window[:before], change(window[before:], rng)])
            window = world.predict(window)
            for method, alarm in watch.alarms(window, change is labels).items():
                if alarm:
                    found.setdefault(method, number + 1)
        for method in METHODS if change is labels else [name for name in METHODS if name != DECAY]:
            delays[f"{size}|{scenario}|{method}"].append(found.get(method, LONGEST + 1))


@dataclass
class Watch:
    """A reference, the rows that windows of a size are drawn from, and thresholds for them."""

    world: World
    size: int
    reference: pd.DataFrame
    others: Any
    baseline: Any
    calibration: Any
    risen: Any

    @classmethod
    def draw(cls, world: World, size: int, rng: np.random.Generator) -> "Watch":
        """Part the rest anew."""
        from millrace.monitoring import Baseline, MonitoringSettings
        from millrace.monitoring.calibration import calibrate
        from millrace.monitoring.performance import chance

        order = rng.permutation(len(world.rest))
        reference = world.predict(world.rest.iloc[order[:REFERENCE_ROWS]])
        baseline = Baseline.from_sample(world.problem, reference, world.importance)
        settings = MonitoringSettings(seed=int(rng.integers(2**31)))
        calibration = calibrate(
            baseline.columns,
            size,
            false_alarms=settings.false_alarms,
            draws=settings.bootstrap,
            seed=settings.seed,
        )
        risen = chance(baseline, size, settings)
        return cls(world, size, reference, order[REFERENCE_ROWS:], baseline, calibration, risen)

    def window(self, rng: np.random.Generator) -> pd.DataFrame:
        """Rows as the reference's are, and none of it."""
        return self.world.rest.iloc[rng.permutation(self.others)[: self.size]]

    def ours(self, window: pd.DataFrame, labelled: bool) -> dict[str, bool]:
        """Our verdicts: on drift, and if it is `labelled` on decay."""
        return ours(self.baseline, self.calibration, window, self.risen if labelled else None)

    def peers(self, window: pd.DataFrame, labelled: bool) -> dict[str, bool]:
        """The others', who see outcomes as a column."""
        watched = [*self.world.inputs, PREDICTION, *(["MedHouseVal"] if labelled else [])]
        reference = self.reference[watched]
        return evidently(reference, window[watched]) | textbook(reference, window[watched])

    def alarms(self, window: pd.DataFrame, labelled: bool) -> dict[str, bool]:
        """Everybody's."""
        return self.ours(window, labelled) | self.peers(window, labelled)


def ours(baseline: Any, calibration: Any, window: pd.DataFrame, risen: Any) -> dict[str, bool]:
    """The verdict on drift and, where it is known by what losses may have `risen`, on decay."""
    from millrace.metrics import Outcome
    from millrace.monitoring.judging import judge_calibrated
    from millrace.monitoring.performance import decay
    from millrace.monitoring.tally import Tally

    tally = Tally(baseline.columns)
    tally.add(baseline.encode(window))
    found = {"Millrace": judge_calibrated(baseline, tally, calibration).status == "drift"}
    if risen is not None:
        outcome = Outcome(baseline.problem, window["MedHouseVal"].to_numpy(), window[PREDICTION].to_numpy())
        found[DECAY] = decay(risen, baseline, outcome, calibration.false_alarms)[0]
    return found


def evidently(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, bool]:
    """The tests that Evidently's preset chooses by itself: some column, and half of the columns."""
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical
    drifted = []
    for name in reference:
        before, now = reference[name].dropna(), window[name].dropna()
        drifted.append(get_stattest(before, now, kind, None)(before, now, kind, None).drifted)
    return {"Evidently, any column": any(drifted), "Evidently, dataset": np.mean(drifted) >= 0.5}


def textbook(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, bool]:
    """Each column by itself: Kolmogorov-Smirnov at 5%, and the population stability index above 0.2."""
    from scipy.stats import ks_2samp

    pairs = [(reference[name].dropna().to_numpy(), window[name].dropna().to_numpy()) for name in reference]
    return {
        "KS p<0.05": any(ks_2samp(*pair, method="asymp").pvalue < 0.05 for pair in pairs),
        "PSI>0.2": any(stability(*pair) > 0.2 for pair in pairs),
    }


def stability(before: Any, now: Any) -> float:
    """The population stability index in tenths of the reference."""
    edges = np.unique(np.quantile(before, np.arange(1, 10) / 10))
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values), 1e-4)
        for values in (now, before)
    ]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def show(counts: dict[str, list[int]]) -> None:
    """Alarms of each method by scenario and size; without drift with the upper end of a 95% interval."""
    from scipy.stats import beta

    sizes = sorted({int(key.partition("|")[0]) for key in counts})
    for scenario in SCENARIOS:
        print(f"\n{scenario:<24}" + "".join(f"{size:>25,}" for size in sizes))
        for method in METHODS:
            cells = []
            for size in sizes:
                alarms, windows = counts.get(f"{size}|{scenario}|{method}", (0, 0))
                if not windows:
                    continue
                cell = f"{alarms / windows:.1%}"
                if scenario == "no drift":
                    upper = beta.ppf(0.95, alarms + 1, windows - alarms) if alarms < windows else 1.0
                    cell += f" (< {upper:.1%}) of {windows:,}"
                cells.append(f"{cell:>25}")
            if cells:
                print(f"  {method:<22}" + "".join(cells))


def show_delays(delays: dict[str, list[int]]) -> None:
    """Windows until the alarm: median, ninth tenth, and how many streams had none."""
    sizes = sorted({int(key.partition("|")[0]) for key in delays})
    print("\nWindows until the alarm: median, ninth tenth, share of streams without one in ten windows")
    for scenario in [*SCENARIOS, SLOW]:
        print(f"\n{scenario:<24}" + "".join(f"{size:>25,}" for size in sizes))
        for method in METHODS:
            cells = []
            for size in sizes:
                found = np.array(delays.get(f"{size}|{scenario}|{method}", ()))
                if len(found):
                    middle, late = np.quantile(found, (0.5, 0.9), method="higher")
                    missed = (found > LONGEST).mean()
                    shown = ["never" if value > LONGEST else str(value) for value in (middle, late)]
                    cells.append(f"{f'{shown[0]}, {shown[1]}, {missed:.0%} of {len(found)}':>25}")
            if cells:
                print(f"  {method:<22}" + "".join(cells))


if __name__ == "__main__":
    main()
