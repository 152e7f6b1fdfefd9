"""What a model weighs."""

from pathlib import Path

from millrace.bundle import Bundle, write_json
from millrace.footprint import REPORTS, measure
from tests.millrace.cases import make_case, make_fitted


def test_size_is_that_of_what_a_prediction_needs_and_time_is_measured(tmp_path: Path) -> None:
    bundles = []
    for kind in ("linear", "random_forest"):
        folder = tmp_path / kind
        (folder / "more").mkdir(parents=True)
        fitted = make_fitted("regression", kind)
        fitted.save(folder)
        needed = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        (folder / "more" / "state.bin").write_bytes(bytes(1000))
        for name in REPORTS:
            write_json(folder / name, "x" * 5000)
        bundles.append(Bundle(folder, "0", fitted))
        found = measure(bundles, make_case("regression").table.head(7))
        assert found[-1].size_mb == (needed + 1000) / 1e6
        assert all(0 < footprint.latency_ms < 60_000 for footprint in found)
    assert len(found) == 2
