"""The embedded default table: synthetic housing blocks in California Housing's columns.

No row is real. The numbers are drawn so that a model has something to find (income, place, room
sizes, distance to the coast and to two made-up job centres, and noise), and so that ranges and skews
look like those of the 1990 census. It exists so that the first run needs no download.
"""

import numpy as np
import pyarrow as pa

ROWS = 6_000
SEED = 20_240_501


def housing_sample(rows: int = ROWS, seed: int = SEED) -> pa.Table:
    """Generate `rows` synthetic blocks; the same seed gives the same table."""
    rng = np.random.default_rng(seed)
    # Half of the blocks crowd around two centres, the rest lies along a coast that runs north-west.
    centre = rng.choice(3, rows, p=[0.35, 0.2, 0.45])
    along = rng.uniform(0, 1, rows)
    latitude = np.select(
        [centre == 0, centre == 1],
        [rng.normal(34.05, 0.25, rows), rng.normal(37.7, 0.3, rows)],
        32.7 + 9.1 * along + rng.normal(0, 0.3, rows),
    ).clip(32.6, 41.9)
    coast = -117.2 - 7.0 * ((latitude - 32.6) / 9.3) ** 0.75
    inland = rng.gamma(1.4, 0.55, rows).clip(0.02, 5.5)
    longitude = (coast + inland).clip(-124.3, -114.4)

    income = rng.lognormal(1.27, 0.45, rows).clip(0.5, 15)
    age = np.round(rng.beta(2.2, 1.9, rows) * 51 + 1)
    rooms = (3.4 + 0.42 * income + 0.35 * inland + rng.lognormal(-0.8, 0.6, rows)).clip(1, 40)
    bedrooms = (rooms * rng.normal(0.2, 0.018, rows)).clip(0.35, 10)
    occupancy = (rng.lognormal(1.02, 0.22, rows) - 0.04 * income).clip(0.8, 15)
    population = np.round(rng.lognormal(7.05, 0.65, rows)).clip(5, 30_000)

    to_south = np.hypot(latitude - 34.05, (longitude + 118.3) * 0.83)
    to_north = np.hypot(latitude - 37.75, (longitude + 122.3) * 0.79)
    value = (
        0.3 * income * (1 + 0.6 * np.exp(-to_north / 0.5) + 0.3 * np.exp(-to_south / 0.4))
        + 0.8 * np.exp(-((to_south / 0.35) ** 2))
        + 1.2 * np.exp(-((to_north / 0.45) ** 2))
        + 0.9 * np.exp(-inland / 0.35)
        + 0.3 * np.sin(age / 8)
        - 0.35 * np.log(occupancy)
        - 1.5 * (bedrooms / rooms - 0.2)
        + 0.2
    ) * rng.lognormal(0, 0.1, rows)
    return pa.table(
        {
            "MedInc": income.round(4),
            "HouseAge": age,
            "AveRooms": rooms.round(4),
            "AveBedrms": bedrooms.round(4),
            "Population": population,
            "AveOccup": occupancy.round(4),
            "Latitude": latitude.round(2),
            "Longitude": longitude.round(2),
            "MedHouseVal": value.clip(0.15, 5.0).round(3),
        }
    )
