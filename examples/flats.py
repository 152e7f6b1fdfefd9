"""A made-up table to bring: rents of flats, as a CSV file with the flaws that such files have.

Written into data/: `flats.csv`, what is known today; `later.csv`, flats that are advertised when the market
has moved; `outcomes.json`, what those were let for in the end, as `/v1/feedback` takes it. No flat is real.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

DISTRICTS = ("north", "south", "centre")
# EUR a month and square metre.
LEVELS = {"north": 11.0, "south": 13.0, "centre": 17.0}
LATER_LEVELS = {"north": 11.5, "south": 14.0, "centre": 24.0}


def main() -> None:
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    with_flaws(make_flats(3000, LEVELS, first=1, seed=0)).to_csv(folder / "flats.csv", index=False)
    later = make_flats(2000, LATER_LEVELS, first=3001, seed=1)
    # As the service takes it: in requests, true and false are the only words for it.
    asked = later.replace({"balcony": {"yes": "true", "no": "false"}}).drop(columns=["rent", "deposit"])
    asked.to_csv(folder / "later.csv", index=False)
    told = [{"key": row.flat_id, "actual": row.rent} for row in later.itertuples()]
    (folder / "outcomes.json").write_text(json.dumps({"outcomes": told}), encoding="utf-8")
    print(f"{folder}/flats.csv: 3000 flats; {folder}/later.csv and outcomes.json: 2000 more.")


def make_flats(rows: int, levels: dict[str, float], first: int, seed: int) -> pd.DataFrame:
    """Flats numbered from `first`, at rents of these levels; the same seed makes the same flats."""
    rng = np.random.default_rng(seed)
    area = rng.gamma(6.0, 11.0, rows).clip(18, 180).round(1)
    district = rng.choice(DISTRICTS, rows, p=[0.35, 0.4, 0.25])
    balcony = rng.random(rows) < 0.45
    built = rng.integers(1890, 2025, rows)
    level = np.array([levels[name] for name in district])
    # Small flats cost more a square metre, and so do new ones and those from before the wars.
    worth = level * (area / 60) ** -0.2 * (1 + 0.12 * (built > 2010) + 0.08 * (built < 1920) + 0.05 * balcony)
    rent = (worth * area * rng.lognormal(0, 0.07, rows)).round().astype(int)
    flats = pd.DataFrame(
        {
            "flat_id": [f"F{number:05}" for number in range(first, first + rows)],
            "area": area,
            "rooms": (area / 26 + rng.normal(0, 0.5, rows)).round().clip(1, 8).astype(int),
            "district": district,
            "balcony": np.where(balcony, "yes", "no"),
            "built": built,
            "rent": rent,
            "deposit": 3 * rent,
        }
    )
    # Of one flat in 25 nobody knows the year.
    return flats.assign(built=flats.built.astype("Int64").mask(rng.random(rows) < 0.04))


def with_flaws(flats: pd.DataFrame) -> pd.DataFrame:
    """The same with rooms that are no number, and rows that came twice."""
    flawed = flats.astype({"rooms": object})
    flawed.loc[flawed.index % 300 == 7, "rooms"] = "ask us"
    return pd.concat([flawed, flawed.iloc[:20]])


if __name__ == "__main__":
    main()
