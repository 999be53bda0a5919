"""Logs of others as measurements: their figures, and what is refused."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd import stats
from edgekd.errors import DataError, EdgekdError, MeasurementError
from edgekd.records import Budget, Measurement, Model, TensorSpec
from edgekd.stages.benchmark import describe_file, read_logs
from edgekd.stages.gate import gate

LOGS = Path(__file__).with_name("logs")
BOARD = "device_logs/NUCLEO_U575ZI_Q"
TARGET = "nucleo-u575zi-q"
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
AUTOENCODER = "models/mlperf_tiny/anomaly_detection/ad01_int8.tflite"


def model_of(takes: tuple[int, ...], gives: int) -> Model:
    return Model(
        name="model.tflite",
        path=Path("model.tflite"),
        format="tflite",
        precision="static_wi8_ai8",
        role="student",
        sha256="5e1f",
        size_bytes=1,
        inputs=(TensorSpec(name="x", shape=(1, *takes), dtype="int8"),),
        outputs=(TensorSpec(name="y", shape=(1, gives), dtype="int8"),),
    )


KEYWORDS = model_of((49, 10, 1), 12)
PEOPLE = model_of((96, 96, 3), 2)


@pytest.fixture
def keywords(tmp_path: Path) -> Path:
    """A folder as the runner leaves it."""
    for name, parts in (("accuracy", ["accuracy"]), ("performance", ["performance_log", "performance_results"])):
        (tmp_path / name).mkdir()
        for part in parts:
            file = "results.txt" if part.endswith("results") else "log.txt"
            text = (LOGS / f"kws_{part}.txt").read_text().partition("\n")[2]
            (tmp_path / name / file).write_text(text)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def by_metric(found: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {each.metric: each for each in found}


def test_single_inferences_and_windows_are_samples_of_two_metrics(keywords: Path) -> None:
    found = by_metric(read_logs(keywords, model=KEYWORDS, target=TARGET))
    assert list(found) == ["latency", "accuracy", "window_latency"]
    assert found["latency"].samples == (0.030808, 0.030804, 0.030801)
    assert found["accuracy"].samples == (1.0, 1.0, 1.0)
    windows_us = np.array([11624042, 11622660, 11621337, 11624034, 11619322])
    np.testing.assert_allclose(found["window_latency"].samples, windows_us / 400 / 1e6, rtol=1e-12)
    for each in found.values():
        assert (each.target, each.basis, each.model_sha256) == (TARGET, "measured", "5e1f")
        assert each.conditions.runtime == "MLPerf Tiny firmware"
        assert each.conditions.runtime_version == "ULPMark for tinyML Firmware V0.0.1, kws01"
    assert found["latency"].conditions.source == "log of EEMBC's runner 3.0.10, session 20240309165238"
    assert found["window_latency"].conditions.source == "log of EEMBC's runner 3.0.10, session 20240309165115"
    assert found["window_latency"].conditions.clock_ratio == pytest.approx(1.0084, abs=1e-4)


@pytest.mark.parametrize(
    ("task", "model", "labels", "latency_ms", "window_ms", "accuracy"),
    [
        ("kws", KEYWORDS, None, 30.81, 29.06, 0.902),
        ("vww", PEOPLE, "vww01_labels.csv", 61.11, 59.28, 0.852),
        ("ic", RESNET, "ic01_labels.csv", 112.9, 111.07, 0.870),
    ],
)
def test_figures_of_a_board_are_those_that_others_read_in_its_logs(
    shared_data: Path,
    task: str,
    model: Model | str,
    labels: str | None,
    latency_ms: float,
    window_ms: float,
    accuracy: float,
) -> None:
    model = describe_file(shared_data / model) if isinstance(model, str) else model
    path = LOGS / labels if labels else None
    found = by_metric(read_logs(shared_data / BOARD / task, model=model, target=TARGET, labels=path))
    assert np.median(found["latency"].samples) * 1e3 == pytest.approx(latency_ms, abs=0.005)
    assert np.median(found["window_latency"].samples) * 1e3 == pytest.approx(window_ms, abs=0.005)
    assert np.mean(found["accuracy"].samples) == pytest.approx(accuracy, abs=1e-12)
    assert len(found["accuracy"].samples) == len(found["latency"].samples)


def test_a_summary_without_its_log_gives_nothing_and_says_so(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "edgekd"):
        found = read_logs(shared_data / BOARD / "ad", model=describe_file(shared_data / AUTOENCODER), target=TARGET)
    (windows,) = found
    assert windows.metric == "window_latency"
    np.testing.assert_allclose(windows.samples, [10.288440 / 3000] * 5, rtol=1e-12)
    assert "accuracy/results.txt: no log.txt beside it" in caplog.text
    assert "the target's clock is 0.8 % fast, and so its times are too long" in caplog.text


def test_names_that_don_t_say_their_class_give_no_accuracy(keywords: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(keywords / "accuracy" / "log.txt", "tst_000000_Stop_7.bin", "000000343218.bin")
    found = by_metric(read_logs(keywords, model=KEYWORDS, target=TARGET))
    assert list(found) == ["latency", "window_latency"]
    assert "names such as '000000343218.bin' don't say their class" in caplog.text


def anomaly_log(errors: dict[str, list[float]]) -> str:
    """A log of recordings that were rebuilt window by window, in the words of those of other tasks."""
    recorded = (LOGS / "kws_accuracy.txt").read_text().replace("kws01", "ad01").splitlines()[1:]
    head = recorded[: next(number for number, line in enumerate(recorded) if "-command[bload" in line)]
    said: list[tuple[str, list[str], list[str]]] = []
    for name, windows in errors.items():
        for number, error in enumerate(windows):
            said.append(
                (f'bload dut "C:\\ad01\\{name}" {512 * number} 2560', ["Sending 2560 bytes", "m-bload-done"], [])
            )
            answer = ["m-warmup-start-0", "m-warmup-done", "m-infer-start-1", "m-lap-us-1000", "m-lap-us-6000"]
            said.append(("dut infer 1 0", [], [*answer, "m-infer-done", f"m-results-[{error:.3f}]", "m-ready"]))
    body = []
    for step, (command, parser, dut) in enumerate(said, 5):
        body.append(f"sequencer: m-sequencing-i[{step}]-command[{command}]-ack[/m-ready/]-ms[1]-acc[1]-total_ms[1]")
        body += [f"parser: {line}" for line in (f'Command "{command}"', *parser)]
        body += [f"dut: {line}" for line in dut]
    return "\n".join([*head, *(f"00204.300 {line}" for line in body), *recorded[-3:]])


def test_recordings_score_the_mean_of_their_windows(keywords: Path) -> None:
    shutil.rmtree(keywords / "performance")
    rng = np.random.default_rng(0)
    errors = {f"normal_id_01_{each:08}_hist_librosa.bin": rng.normal(10, 2, 3).tolist() for each in range(6)}
    errors |= {f"anomaly_id_01_{each:08}_hist_librosa.bin": rng.normal(12, 2, 3).tolist() for each in range(5)}
    (keywords / "accuracy" / "log.txt").write_text(anomaly_log(errors))
    autoencoder = model_of((640,), 640)
    found = by_metric(read_logs(keywords, model=autoencoder, target=TARGET))
    auc = found["auc"]
    printed = {name: np.mean(np.round(windows, 3)) for name, windows in errors.items()}
    np.testing.assert_allclose(auc.samples, list(printed.values()), rtol=1e-12)
    assert auc.labels == (0.0,) * 6 + (1.0,) * 5
    above = np.greater.outer(auc.samples[6:], auc.samples[:6]).mean()
    assert stats.auc(auc.samples, auc.labels) == pytest.approx(above)
    assert len(found["latency"].samples) == 33
    summary = keywords / "accuracy" / "results.txt"
    summary.write_text(f"00001.000 ulp-mlperf: AUC: {above:.2f}\n")
    read_logs(keywords, model=autoencoder, target=TARGET)
    summary.write_text(f"00001.000 ulp-mlperf: AUC: {above - 0.1:.2f}\n")
    with pytest.raises(MeasurementError, match=r"results.txt: it says AUC "):
        read_logs(keywords, model=autoencoder, target=TARGET)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("performance/results.txt", "11.623 sec", "11.523 sec", "its runtime of window 2 is 11.523, the log's 11.6227"),
        (
            "performance/results.txt",
            "# Inferences :          400",
            "# Inferences : 401",
            "inferences in window 1 is 401",
        ),
        ("performance/results.txt", "throughput is 34.416", "throughput is 34.516", "its median throughput is 34.516"),
        ("performance/results.txt", "sec.\n00179.626 ulp", "s.\n00179.626 ulp", "its number of windows is"),
        ("performance/log.txt", "[kws01]", "[ic01]", "performance/log.txt: its model is 'ic01', that of "),
        ("performance/log.txt", "infer 400 1", "infer 0 1", "without an input or a number"),
        ("accuracy/log.txt", "tst_000001_Left_2.bin", "tst_000000_Stop_7.bin", "3 inferences of 2 inputs"),
        ("accuracy/log.txt", "Left_2.bin", "Left_12.bin", "'tst_000001_Left_12.bin' is of class 12, of 12"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(
    keywords: Path, file: str, old: str, new: str, words: str
) -> None:
    change(keywords / file, old, new)
    with pytest.raises(EdgekdError) as caught:
        read_logs(keywords, model=KEYWORDS, target=TARGET)
    assert words in str(caught.value)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_summary_must_have_the_accuracy_of_its_log_and_labels(keywords: Path, tmp_path: Path) -> None:
    summary, labels = keywords / "accuracy" / "results.txt", tmp_path / "y_labels.csv"
    names = ("tst_000000_Stop_7.bin", "tst_000001_Left_2.bin", "tst_000002_Right_6.bin")
    summary.write_text("00001.000 ulp-mlperf: Top-1: 66.7%\n")
    with pytest.raises(MeasurementError, match=r"it says Top-1 0.667, the log and the classes of its inputs 1.000"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)
    labels.write_text("".join(f"{name},12,{kind}\n" for name, kind in zip(names, (7, 2, 5), strict=True)))
    found = by_metric(read_logs(keywords, model=KEYWORDS, target=TARGET, labels=labels))
    assert found["accuracy"].samples == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tst_000000_Stop_7.bin,12,7\n", "no class of 'tst_000001_Left_2.bin', which the target was given"),
        ("tst_000000_Stop_7.bin,7\n", "y_labels.csv:1: 'tst_000000_Stop_7.bin,7' is no label; allowed: name, "),
        ("# comment\na.bin,12,12\n", "y_labels.csv:2: 'a.bin,12,12' is no label"),
        ("a.bin,12,1\na.bin,12,2\n", "y_labels.csv:2: two classes of 'a.bin'"),
        ("a.bin,x,1\n", "y_labels.csv:1: 'a.bin,x,1' is no label"),
    ],
)
def test_labels_that_don_t_fit_are_refused(keywords: Path, text: str, words: str) -> None:
    labels = keywords / "y_labels.csv"
    labels.write_text(text)
    with pytest.raises(DataError) as caught:
        read_logs(keywords, model=KEYWORDS, target=TARGET, labels=labels)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (model_of((49, 10, 1), 10), "log.txt:39: the target gives 12 numbers, model.tflite 10: it ran another model"),
        (model_of((40, 10, 1), 12), "log.txt:39: the target takes 490 bytes, model.tflite 400 numbers: it ran another"),
        (replace(KEYWORDS, inputs=KEYWORDS.inputs * 2), "MLPerf Tiny's models have one input and one output"),
    ],
)
def test_a_file_that_can_t_be_what_ran_is_found_out(keywords: Path, model: Model, words: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        read_logs(keywords, model=model, target=TARGET)
    assert words in str(caught.value)


def test_windows_that_are_too_few_or_too_short_are_refused(keywords: Path) -> None:
    shutil.copy(keywords / "accuracy" / "log.txt", keywords / "performance" / "log.txt")
    with pytest.raises(MeasurementError, match="3 windows; allowed: 5, by MLPerf Tiny's rules"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)
    text = (LOGS / "kws_performance_log.txt").read_text().partition("\n")[2]
    text = text.replace("m-lap-us-140283457", "m-lap-us-138283457").replace("00132.7", "00130.8")
    (keywords / "performance" / "log.txt").write_text(text)
    with pytest.raises(MeasurementError, match=r"log.txt:39: a window of 9.624 s; allowed: 10 s"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)


def test_a_log_of_windows_is_none_of_single_inferences(keywords: Path) -> None:
    shutil.copy(keywords / "performance" / "log.txt", keywords / "accuracy" / "log.txt")
    with pytest.raises(MeasurementError, match=r"accuracy/log.txt:39: 400 inferences of one input; allowed: 1"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)


def test_a_summary_and_labels_of_another_run_are_refused(keywords: Path) -> None:
    shutil.copy(keywords / "performance" / "results.txt", keywords / "accuracy" / "results.txt")
    with pytest.raises(MeasurementError, match=r"accuracy/results.txt: it is of windows, not of accuracy"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)
    shutil.rmtree(keywords / "accuracy")
    with pytest.raises(DataError, match=r"no log that labels are for; allowed: accuracy/log.txt"):
        read_logs(keywords, model=KEYWORDS, target=TARGET, labels=keywords / "y_labels.csv")


def test_labels_that_are_not_there_are_named(keywords: Path) -> None:
    with pytest.raises(DataError, match=r"gone.csv: can't read it: No such file"):
        read_logs(keywords, model=KEYWORDS, target=TARGET, labels=keywords / "gone.csv")


def test_what_is_no_log_is_refused(keywords: Path, tmp_path: Path) -> None:
    (keywords / "accuracy" / "log.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"accuracy/log.txt: it is no text"):
        read_logs(keywords, model=KEYWORDS, target=TARGET)
    with pytest.raises(DataError, match=r"no log in it; allowed: accuracy/log.txt, performance/log.txt or both"):
        read_logs(tmp_path / "nowhere", model=KEYWORDS, target=TARGET)


def test_budgets_on_the_target_are_judged_and_say_what_a_log_does_not_prove(keywords: Path) -> None:
    found = read_logs(keywords, model=KEYWORDS, target=TARGET)
    budgets = [Budget(metric="window_latency", limit=limit, target=TARGET) for limit in ("29.1 ms", "29.05 ms")]
    kept, broken = gate(found, budgets=budgets).checks
    assert (kept.status, broken.status) == ("pass", "fail")
    assert kept.observed == max(each / 400 / 1e6 for each in (11624042, 11622660, 11621337, 11624034, 11619322))
    assert kept.reason.endswith(
        "; read from a log of EEMBC's runner 3.0.10, session 20240309165115, which does not prove the file"
    )
    (few,) = gate(found, budgets=[Budget(metric="latency", limit="1 s", target=TARGET)]).checks
    assert few.status == "inconclusive"
    assert few.observed == pytest.approx(0.0308, abs=1e-4)


def test_samples_of_a_log_are_not_joined_with_others(keywords: Path) -> None:
    read = by_metric(read_logs(keywords, model=KEYWORDS, target=TARGET))["latency"]
    own = replace(read, conditions=replace(read.conditions, source=""))
    with pytest.raises(MeasurementError, match=r"measurements differ in conditions.source"):
        own.merge(read)
