"""Experiments from a log: what is read, what is said of it, and what is kept."""

import dataclasses
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import Bundle
from millrace.errors import UserError
from millrace.experiments import (
    Arms,
    Contender,
    Decision,
    ExperimentSettings,
    Plan,
    Record,
    Verdict,
    judge,
    make_plan,
    read_arms,
    read_traffic,
    void,
)
from millrace.experiments.arms import Arm, ratio
from millrace.experiments.page import notes, verdict_page
from millrace.experiments.record import End, Look
from millrace.lineup import Lineup, Variant
from millrace.metrics import losses
from millrace.monitoring import Baseline
from millrace.prediction_log import Outcome, Outcomes
from millrace.scoring import Scorer
from tests.millrace.watched import DIGEST, MODEL, Service, answered, make_bundle

STARTED = datetime(2026, 3, 1, tzinfo=UTC)
BEGAN = STARTED.timestamp()
UNTIL = STARTED + timedelta(days=20)
OTHER = MODEL._replace(version="2", digest="b" * 64)
CONTENDERS = (
    Contender(version="1", digest=DIGEST, tag="homes:a"),
    Contender(version="2", digest="b" * 64, tag="homes:b"),
)
SETTINGS = ExperimentSettings(min_rows=20, effect=0.3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(params=["sqlite", "parquet"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db" if request.param == "sqlite" else f"{tmp_path}/log"


def planned(bundle: Bundle, settings: ExperimentSettings = SETTINGS) -> Plan:
    return make_plan((bundle, bundle), CONTENDERS, settings, None, stack="local", started=STARTED)


class Experiment:
    """A service that answers as both, a request a row; `better` is how much closer the challenger is."""

    def __init__(self, bundle: Bundle, uri: str, share: float = 0.5, better: float = 0.0) -> None:
        self.bundle = bundle
        self.service = Service(bundle, uri)
        champion, challenger = (
            Variant(role, "homes", version, bundle, Scorer(bundle.fitted))
            for role, version in (("champion", "1"), ("challenger", "2"))
        )
        self.lineup = Lineup(champion, challenger, share)
        self.better = better

    def serve(
        self, rows: int, day: float, name: str = "r", labels: bool = True, slow: float = 1.0
    ) -> pd.DataFrame:
        """Answer rows within a day, and say what was true; returns them with who has answered."""
        table = answered(self.bundle.fitted, rows, seed=crc32(name.encode()) % 1_000)
        table["id"] = [f"{name} {row}" for row in range(rows)]
        chosen = [self.lineup.choose(key.encode()) for key in table["id"]]
        for place, variant in enumerate(chosen):
            role, model = variant.role, MODEL if variant.role == "champion" else OTHER
            self.service.answer(
                table.iloc[[place]],
                BEGAN + 86_400 * day + 60 * place,
                f"{name}-{place}-",
                each=1,
                variant=role,
                model=model,
                seconds=0.01 * (slow if role == "challenger" else 1.0),
            )
        table["role"] = [variant.role for variant in chosen]
        if labels:
            self.learn(table, name, BEGAN + 86_400 * (day + 1))
        return table

    def learn(self, table: pd.DataFrame, name: str, time: float) -> None:
        known = []
        for place, (true, told, role) in enumerate(
            zip(table["y"], table["_prediction"], table["role"], strict=True)
        ):
            nearer = told + (true - told) * (1 - self.better) if role == "challenger" else true
            known.append(Outcome(float(nearer), f"{name}-{place}-0", 0))
        self.service.store.write_outcomes([Outcomes(time, known)])

    def judge(self, uri: str, plan: Plan) -> Verdict:
        self.service.close()
        return look(self.bundle, uri, plan)


def look(bundle: Bundle, uri: str, plan: Plan) -> Verdict:
    return judge(read_arms(uri, bundle.problem, plan, UNTIL), plan, "regression")


def test_both_are_read_with_their_outcomes_and_compared(bundle: Bundle, uri: str) -> None:
    plan = planned(bundle)
    served = Experiment(bundle, uri, better=0.6)
    # Before the challenger served; a shadow, a batch and a third version beside.
    served.service.answer(answered(bundle.fitted, 50, 3), BEGAN + 9, "early", each=1)
    table = served.serve(400, 1)
    served.service.answer(
        answered(bundle.fitted, 7, 4), BEGAN + 90_000, "shadow", variant="shadow", model=OTHER
    )
    third = MODEL._replace(version="3", digest="c" * 64)
    served.service.answer(answered(bundle.fitted, 5, 4), BEGAN + 90_000, "third", model=third)
    verdict = served.judge(uri, plan)
    # All but the challenger's first: that it was the challenger's is no chance.
    first = int(np.argmax(table["role"] == "challenger"))
    left = table.iloc[first + 1 :]
    for side, role in ((verdict.champion, "champion"), (verdict.challenger, "challenger")):
        own = left[left["role"] == role]
        times = 1 - served.better if role == "challenger" else 1.0
        error = ((own["y"] - own["_prediction"]) * times).to_numpy(float)
        assert (side.rows, side.units, side.requests) == (len(own),) * 3
        assert (side.labelled_rows, side.labelled_units) == (len(own),) * 2
        assert side.loss == pytest.approx((error**2).mean())
        assert side.metric == pytest.approx((error**2).mean() ** 0.5)
    assert verdict.counted.others == {"2": 7, "3": 5}
    assert (verdict.status, verdict.finding) == ("promote", "better")
    assert verdict.difference is not None
    assert verdict.difference.high < 0
    assert verdict.remaining == 0
    assert {rail.state for rail in verdict.guardrails} == {"kept"}


@pytest.mark.parametrize(("better", "finding"), [(-0.5, "worse"), (0.0, "no such effect")])
def test_a_challenger_that_is_worse_or_no_better_is_stopped(
    bundle: Bundle, tmp_path: Path, better: float, finding: str
) -> None:
    uri = f"sqlite:///{tmp_path}/log.db"
    plan = planned(bundle)
    served = Experiment(bundle, uri, better=better)
    served.serve(2 * plan.units, 1)
    verdict = served.judge(uri, plan)
    assert (verdict.status, verdict.finding) == ("stop", finding)


def test_without_rows_or_outcomes_it_goes_on(bundle: Bundle, uri: str) -> None:
    plan = planned(bundle)
    served = Experiment(bundle, uri)
    served.service.answer(answered(bundle.fitted, 50, 3), BEGAN + 9, "early", each=1)
    served.service.close()
    none = look(bundle, uri, plan)
    assert (none.status, none.finding, none.challenger.rows, none.counted.since) == (
        "go on", "not enough data", 0, None,
    )  # fmt: skip
    assert none.remaining == plan.units
    assert {rail.state for rail in none.guardrails} == {"not enough data"}
    served = Experiment(bundle, uri)
    served.serve(200, 1, labels=False)
    unlabelled = served.judge(uri, plan)
    assert (unlabelled.status, unlabelled.finding) == ("go on", "not enough data")
    assert (unlabelled.challenger.metric, unlabelled.difference) == (None, None)
    assert unlabelled.challenger.units > 0


def test_repeated_late_and_unknown_outcomes_are_counted_and_the_last_one_counts(
    bundle: Bundle, uri: str
) -> None:
    plan = planned(bundle)
    served = Experiment(bundle, uri)
    table = served.serve(200, 1, labels=False)
    served.learn(table.assign(y=99.0), "r", BEGAN + 2 * 86_400)
    for _ in range(100):
        served.learn(table[:3], "r", BEGAN + 3 * 86_400)
    served.learn(table, "r", BEGAN + 4 * 86_400)
    served.learn(table[:9], "nobody", BEGAN + 4 * 86_400)
    served.service.store.write_outcomes([Outcomes(BEGAN + 9, [Outcome(1.0, key="nobody's")])])
    verdict = served.judge(uri, plan)
    assert verdict.counted.unknown == 10
    assert verdict.counted.replaced == 200 + 300
    assert verdict.champion.loss is not None
    assert verdict.champion.loss < 2 * plan.loss
    assert verdict.champion.labelled_rows + verdict.challenger.labelled_rows > 150
    said = " ".join(notes(verdict.counted))
    assert "the log does not have: 10." in said
    assert "replaced by later ones of the same rows or keys: 500." in said


def test_rows_of_one_key_are_one_draw(bundle: Bundle, uri: str) -> None:
    """A key that asks often is a unit; the rows behind the first of a request go with its key."""
    plan = planned(bundle)
    service = Service(bundle, uri)
    table = answered(bundle.fitted, 60, 5)
    service.answer(table[:1], BEGAN + 1, "first", model=OTHER, variant="challenger")
    for number in range(6):
        own = table.assign(id=[f"anna {number % 2}", *(f"flat {number} {row}" for row in range(1, 60))])
        service.answer(own, BEGAN + 60 + number, f"r{number}-", each=60)
        service.answer(
            own.assign(id="bert"),
            BEGAN + 60 + number,
            f"s{number}-",
            each=20,
            model=OTHER,
            variant="challenger",
        )
    service.learn([1.0] * 10, BEGAN + 100, "r0-", each=60)
    service.close()
    arms = read_arms(uri, bundle.problem, plan, UNTIL)
    assert (arms.champion.units, arms.challenger.units) == (2, 1)
    assert (arms.champion.rows.sum(), arms.challenger.rows.sum()) == (360, 360)
    assert (arms.champion.requests.sum(), arms.challenger.requests.sum()) == (6, 18)
    assert (arms.champion.labelled_units, arms.champion.labelled.sum()) == (1, 10)
    assert arms.champion.seconds.sum() == pytest.approx(0.06)


def test_requests_that_end_in_the_next_piece_stay_whole(
    bundle: Bundle, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(bundle)
    served = Experiment(bundle, uri)
    table = answered(bundle.fitted, 60, 5)
    served.service.answer(table[:1], BEGAN + 1, "first", model=OTHER, variant="challenger")
    for number in range(9):
        served.service.answer(table, BEGAN + 60 + number, f"r{number}-", each=7)
    served.service.close()
    whole = read_arms(uri, bundle.problem, plan, UNTIL).champion
    monkeypatch.setattr("millrace.experiments.arms.SIZE", 5)
    monkeypatch.setattr("millrace.experiments.arms.COMPACT", 3)
    parts = read_arms(uri, bundle.problem, plan, UNTIL).champion
    assert whole.units == 9
    for one, other in zip(dataclasses.astuple(whole), dataclasses.astuple(parts), strict=True):
        np.testing.assert_allclose(np.sort(one), np.sort(other))


@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(-100, 100)), min_size=3, max_size=40),
    st.integers(2, 5),
)
def test_means_of_units_are_those_of_their_rows(units: list[tuple[int, float]], times: int) -> None:
    sizes, totals = np.array([(rows, rows * value) for rows, value in units]).T
    found = ratio(totals, sizes)
    assert found.value == pytest.approx(totals.sum() / sizes.sum())
    # A row a unit: the textbook's standard error.
    single = ratio(totals, np.ones(len(totals)))
    assert single.variance == pytest.approx(totals.var(ddof=1) / len(totals), abs=1e-9)
    # Every row asked again by the same unit tells nothing new.
    again = ratio(times * totals, times * sizes)
    assert again.value == pytest.approx(found.value)
    assert again.variance == pytest.approx(found.variance)


def arms_of(plan: Plan, units: tuple[int, int], bundle: Bundle, after: int = 0, **changes: Any) -> Arms:
    """Arms of made-up units that have one row each, without outcomes."""
    made = []
    for count in units:
        ones, zeros = np.ones(count), np.zeros(count)
        made.append(
            Arm(
                rows=ones,
                unanswered=zeros,
                labelled=zeros,
                loss=zeros,
                requests=ones,
                seconds=0.01 * ones,
                latencies=0.01 * ones,
            )
        )
    challenger = dataclasses.replace(made[1], **changes)
    counted = judge_nothing(bundle, plan).counted.model_copy(update={"after": after})
    return Arms(made[0], challenger, counted)


def judge_nothing(bundle: Bundle, plan: Plan) -> Verdict:
    from millrace.experiments.arms import Counted, _arm

    nothing = _arm(pd.DataFrame(), [])
    counted = Counted(
        since=None, until=UNTIL, others={}, crossed=0, after=0, damaged=0, outcomes=0, replaced=0, unknown=0
    )
    return judge(Arms(nothing, nothing, counted), plan, bundle.problem.task)


def broken(arms: Arms, plan: Plan) -> set[str]:
    verdict = judge(arms, plan, "regression")
    found = {rail.name for rail in verdict.guardrails if rail.state == "broken"}
    assert (verdict.status == "stop") == bool(found)
    return found


def test_guardrails_stop_what_fails_is_slow_or_is_not_asked_as_planned(bundle: Bundle) -> None:
    plan = planned(bundle)
    fair = (1_000, 1_000)
    slow = np.full(1_000, 0.016)
    tail = np.where(np.arange(1_000) < 900, 0.005, 0.04)
    assert broken(arms_of(plan, fair, bundle), plan) == set()
    assert broken(arms_of(plan, (1_000, 800), bundle), plan) == {"keys as planned"}
    assert broken(arms_of(plan, fair, bundle, after=15), plan) == set()
    assert broken(arms_of(plan, fair, bundle, after=25), plan) == {"the challenger answers"}
    both = {"seconds": slow, "latencies": slow}
    assert broken(arms_of(plan, fair, bundle, **both), plan) == {"mean latency", "p99 latency"}
    some = {"seconds": tail, "latencies": tail}
    assert broken(arms_of(plan, fair, bundle, **some), plan) == {"p99 latency"}
    few = np.where(np.arange(1_000) < 100, 1.0, 0.0)
    assert broken(arms_of(plan, fair, bundle, unanswered=few), plan) == {"rows without an answer"}
    # Too few to tell.
    assert broken(arms_of(plan, (15, 12), bundle, seconds=np.full(12, 9.0)), plan) == set()


def test_a_plan_follows_from_the_references_losses_and_the_traffic(bundle: Bundle, uri: str) -> None:
    assert read_traffic(uri, bundle.problem, STARTED, UNTIL) is None
    plan = planned(bundle)
    loss = losses(Baseline.of(bundle).outcome)
    assert plan.loss == pytest.approx(loss.mean())
    # A root mean squared error lower by 30%.
    assert plan.effect == pytest.approx(loss.mean() * (1 - 0.7**2))
    assert plan.spread == pytest.approx(4 * loss.var(ddof=1))
    assert plan.days is None
    lopsided = planned(bundle, SETTINGS.model_copy(update={"share": 0.1}))
    assert lopsided.units == pytest.approx(plan.units / (4 * 0.1 * 0.9), rel=0.01)
    served = Experiment(bundle, uri)
    served.serve(200, 9)
    served.serve(100, 10, "unlabelled", labels=False)
    served.service.close()
    traffic = read_traffic(uri, bundle.problem, STARTED, STARTED + timedelta(days=14))
    assert traffic is not None
    assert (traffic.days, traffic.units, traffic.labelled) == (5, 300, 200)
    told = make_plan((bundle, bundle), CONTENDERS, SETTINGS, traffic, stack="local", started=STARTED)
    assert told.days == pytest.approx(plan.units / 40)


def test_a_reference_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    few = make_bundle(tmp_path, rows=5)
    with pytest.raises(UserError, match="version 1 has 5 rows, whose losses do not tell"):
        planned(few)


def test_another_champion_makes_it_void(bundle: Bundle) -> None:
    verdict = void(judge_nothing(bundle, planned(bundle)), "7")
    assert verdict.status == "void"
    assert verdict.reasons == (
        "Version 7 is champion, and the experiment is of version 1: it is void. Plan another one.",
    )


def test_logs_that_are_not_sound(bundle: Bundle, tmp_path: Path) -> None:
    plan, path = planned(bundle), tmp_path / "log.db"
    uri = f"sqlite:///{path}"
    with pytest.raises(UserError, match="there is no prediction log"):
        look(bundle, uri, plan)
    served = Experiment(bundle, uri)
    served.serve(300, 1)
    served.service.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE requests SET body = substr(body, 1, 40) WHERE request = 'r-200-0'")
        database.execute(
            "UPDATE requests SET answers = replace(answers, 'prediction', 'p') WHERE request = 'r-100-0'"
        )
    verdict = look(bundle, uri, plan)
    assert verdict.counted.damaged == 1
    arms = read_arms(uri, bundle.problem, plan, UNTIL)
    assert arms.champion.unanswered.sum() + arms.challenger.unanswered.sum() == 1
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(UserError, match="the prediction log cannot be read"):
        look(bundle, uri, plan)


@pytest.fixture
def record(bundle: Bundle, tmp_path: Path) -> Record:
    return Record.begin(tmp_path / "experiments", planned(bundle))


def test_a_record_is_kept_and_there_is_one_experiment_at_a_time(record: Record, bundle: Bundle) -> None:
    experiments = record.folder.parent
    plan = planned(bundle)
    assert record.plan == plan
    with pytest.raises(UserError, match="There is an experiment of version 2 beside version 1, planned 2026"):
        Record.begin(experiments, plan.model_copy(update={"started": UNTIL}))
    one = Decision(status="promote", reasons=("Better.",), time=UNTIL)
    # The first decision stays, and so does the first end.
    assert record.decide(one) == one
    assert record.decide(one.model_copy(update={"status": "stop"})) == one
    end = End(status="promote", reasons=one.reasons, champion="2", bento="homes:b-1", time=UNTIL)
    assert record.close(end) == end
    assert record.close(end.model_copy(update={"champion": "9"})) == end
    again = Record.begin(experiments, plan.model_copy(update={"started": UNTIL}))
    latest = Record.latest(experiments)
    assert latest is not None
    assert latest.folder == again.folder
    assert not list(experiments.glob("*/.*"))


def test_looks_are_kept_and_a_torn_line_is_passed_over(record: Record, bundle: Bundle) -> None:
    verdict = judge_nothing(bundle, record.plan)
    record.add(Look.of(verdict, "one"))
    with (record.folder / "looks.jsonl").open("a") as file:
        file.write('{"run": "tor')
    record.add(Look.of(verdict, "two"))
    assert [each.run for each in record.looks()] == ["one", "two"]


def test_a_damaged_record_is_one_sentence(record: Record) -> None:
    (record.folder / "plan.json").write_text("{")
    with pytest.raises(UserError, match=r"plan\.json: cannot be read"):
        Record(record.folder)


def test_the_page_says_what_was_found_and_escapes_names(bundle: Bundle, tmp_path: Path) -> None:
    plan = planned(bundle)
    uri = f"sqlite:///{tmp_path}/log.db"
    served = Experiment(bundle, uri, better=0.6)
    served.serve(400, 1)
    verdict = served.judge(uri, plan)
    problem = bundle.problem.model_copy(update={"title": "<b>Homes</b>"})
    page = verdict_page(verdict, plan, [Look.of(verdict, "one")], problem)
    assert "beyond chance" in page
    assert "&lt;b&gt;Homes" in page
    assert "<script" not in page
    assert "data:image/png;base64," in page
    # Before anything is known, too.
    assert "not served yet" in verdict_page(judge_nothing(bundle, plan), plan, [], problem)
