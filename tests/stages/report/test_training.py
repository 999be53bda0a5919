"""Charts of training stay readable with several seeds and long trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekd.records import EpochRecord, Run
from edgekd.stages.report.charts import POINTS_PER_CURVE
from edgekd.stages.report.seeds import groups_of
from edgekd.stages.report.training import training


def record(epoch: int, *, score: float = 0.5, loss: float = 1.0, metric: str = "accuracy") -> EpochRecord:
    return EpochRecord(
        epoch=epoch, learning_rate=0.1, train_loss=loss, validation_loss=loss, validation_score=score, metric=metric
    )


def test_seeds_share_a_colour_and_are_lines_of_their_own(distilled: Callable[[], Run]) -> None:
    run = distilled()
    score, loss = training(run.histories)
    encoding = score.options[0][1]["encoding"]
    networks = ["teacher-0", "teacher-1", "assistant-0", "student", "control"]
    assert encoding["color"]["scale"]["domain"] == networks
    colours = encoding["color"]["scale"]["range"]
    assert len(set(colours)) == len(networks)
    assert encoding["detail"]["field"] == "name"
    assert {each["name"] for each in score.options[0][1]["data"]["values"]} == set(run.histories)
    # Losses are two lines a network, so that one is drawn at a time, in the colour it has above.
    assert [label for label, _ in loss.options] == ["student", "teacher-0", "teacher-1", "assistant-0", "control"]
    student = loss.options[0][1]
    assert {each["name"] for each in student["data"]["values"]} == {f"student-seed-{seed}" for seed in range(3)}
    assert student["encoding"]["color"]["scale"] == {"domain": ["student"], "range": [colours[3]]}


def test_the_caption_sums_seeds_up(distilled: Callable[[], Run]) -> None:
    run = distilled()
    score, _ = training(run.histories)
    last = sorted(run.histories[f"student-seed-{seed}"][-1].validation_score for seed in range(3))
    assert f"student {last[0] * 100:.2f} to {last[-1] * 100:.2f} % after 30 epochs (3 seeds)" in score.caption
    assert f"teacher-0 {run.histories['teacher-0'][-1].validation_score * 100:.2f} % after 40 epochs," in score.caption
    histories = {**run.histories, "student-seed-0": run.histories["student-seed-0"][:20]}
    assert "after 20 to 30 epochs (3 seeds)" in training(histories)[0].caption


def test_networks_trained_once_are_drawn_together(distilled: Callable[[], Run]) -> None:
    histories = {name: each for name, each in distilled().histories.items() if "-seed-" not in name}
    _, loss = training(histories)
    (only,) = loss.options
    assert {each["name"] for each in only[1]["data"]["values"]} == set(histories)


def test_a_long_training_keeps_its_ends_and_not_every_epoch() -> None:
    score, loss = training({"student": tuple(record(epoch) for epoch in range(3000))})
    epochs = [each["epoch"] for each in score.options[0][1]["data"]["values"]]
    assert len(epochs) == POINTS_PER_CURVE
    assert (epochs[0], epochs[-1]) == (0, 2999)
    assert len(loss.options[0][1]["data"]["values"]) == 2 * POINTS_PER_CURVE


def test_an_error_is_no_percentage() -> None:
    score, _ = training({"student": (record(0, score=1.25, metric="mean_squared_error"),)})
    assert score.title == "Validation mean squared error"
    assert score.caption == "Last: student 1.25 after 1 epoch."
    assert score.options[0][1]["data"]["values"][0]["value"] == 1.25
    assert score.options[0][1]["encoding"]["y"]["title"] == "validation mean squared error"


@pytest.mark.parametrize(("losses", "log"), [((1.0, 0.04), True), ((1.0, 0.06), False), ((1.0, -0.01), False)])
def test_losses_that_fall_far_get_a_logarithmic_axis(losses: tuple[float, float], log: bool) -> None:
    _, chart = training({"student": tuple(record(i, loss=loss) for i, loss in enumerate(losses))})
    assert ("logarithmic" in chart.caption) == log
    assert (chart.options[0][1]["encoding"]["y"]["scale"].get("type") == "log") == log


def test_the_axis_is_the_same_for_every_network(distilled: Callable[[], Run]) -> None:
    histories = dict(distilled().histories)
    histories["control-seed-0"] = tuple(replace(each, train_loss=1e-3) for each in histories["control-seed-0"])
    _, chart = training(histories)
    assert {spec["encoding"]["y"]["scale"].get("type") for _, spec in chart.options} == {"log"}


def test_seeds_are_in_the_order_of_their_numbers() -> None:
    assert groups_of(["s-seed-10", "s-seed-9", "s"]) == {"s": ["s", "s-seed-9", "s-seed-10"]}
