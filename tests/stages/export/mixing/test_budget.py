"""What a mixed file must keep, and which of those that were tried is taken."""

import pytest

from edgekd.errors import ConfigError, ExportError
from edgekd.records import MixedFile, MixedPrecisionSpec
from edgekd.stages.export.mixing.budget import Budget


def file(size: int, score: float, loss: float = 0.1) -> MixedFile:
    return MixedFile(layers={"stem": "fp16"}, size_bytes=size, predicted_loss=loss, loss=loss, score=score)


FILES = [file(50_000, 0.85), file(60_000, 0.894), file(70_000, 0.9, 0.02), file(90_000, 0.9, 0.01)]


@pytest.mark.parametrize(("drop", "chosen"), [("10 pt", 0), ("0.6 pt", 1), ("0.5 pt", 2), ("1 %", 1), ("0 pt", 2)])
def test_the_smallest_that_keeps_the_score_is_taken(drop: str, chosen: int) -> None:
    assert Budget(MixedPrecisionSpec(max_drop=drop), "accuracy").choose(FILES, 0.9, "tflite") == chosen


@pytest.mark.parametrize(("size", "chosen"), [("50 kB", 0), ("69 kB", 1), ("100 kB", 3), ("70 kB", 2)])
def test_the_best_that_fits_is_taken_and_of_equal_scores_that_of_least_loss(size: str, chosen: int) -> None:
    assert Budget(MixedPrecisionSpec(max_size=size), "accuracy").choose(FILES, 0.9, "tflite") == chosen


@pytest.mark.parametrize(("drop", "chosen"), [("0.02", 1), ("10 %", 1), ("0.2", 0)])
def test_errors_may_grow_by_a_number_or_a_share(drop: str, chosen: int) -> None:
    files = [file(50_000, 0.3), file(60_000, 0.21), file(70_000, 0.2)]
    assert Budget(MixedPrecisionSpec(max_drop=drop), "mean_squared_error").choose(files, 0.2, "onnx") == chosen


def test_what_comes_nearest_is_named_where_nothing_keeps_the_budget() -> None:
    with pytest.raises(
        ExportError, match=r"max_drop = 0.3 pt: of 4 onnx files .* of 90.0 kB, loses 2.00 pt of accuracy.*more bits"
    ):
        Budget(MixedPrecisionSpec(max_drop="0.3 pt"), "accuracy").choose(FILES, 0.92, "onnx")
    with pytest.raises(ExportError, match=r"max_size = 40 kB: the smallest tflite file .* has 50.0 kB.*fewer bits"):
        Budget(MixedPrecisionSpec(max_size="40 kB"), "accuracy").choose(FILES, 0.9, "tflite")


def test_a_limit_in_another_metric_s_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"limit '0.3 pt' of mean_squared_error_increase"):
        Budget(MixedPrecisionSpec(max_drop="0.3 pt"), "mean_squared_error")
