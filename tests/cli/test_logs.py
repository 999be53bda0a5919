"""`edgekd bench --logs`, and the gate after it, through the installed command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

LOGS = Path(__file__).parents[1] / "stages" / "benchmark" / "logs"
BOARD = "device_logs/NUCLEO_U575ZI_Q"
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for kind, parts in (("accuracy", ("accuracy",)), ("performance", ("performance_log",))):
        (tmp_path / "logs" / kind).mkdir(parents=True)
        for part in parts:
            text = (LOGS / f"kws_{part}.txt").read_text().partition("\n")[2]
            (tmp_path / "logs" / kind / "log.txt").write_text(text)
    return tmp_path / "logs"


@pytest.fixture
def keywords(tmp_path: Path) -> Path:
    """A model file with the ends of MLPerf Tiny's keyword spotting."""
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "keywords",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 49, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 12])],
        [numpy_helper.from_array(np.zeros((490, 12), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "keywords.onnx")
    return tmp_path / "keywords.onnx"


def test_a_board_s_logs_are_a_benchmark_that_the_gate_judges(shared_data: Path, tmp_path: Path) -> None:
    out, budgets = tmp_path / "run", tmp_path / "budgets.toml"
    done = call(
        *("bench", shared_data / RESNET, "--logs", shared_data / BOARD / "ic", "--target", "my-board"),
        *("--labels", LOGS / "ic01_labels.csv", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    for words in ("87.00 %", "my-board", "112.9 ms", "on my-board, inferences without a break: 111.1 ms, median of"):
        assert words in done.stdout
    assert "the target's clock is 0.9 % fast" in done.stderr
    assert "it does not prove the file" in (out / "report.html").read_text()
    for limit, code in (("113 ms", 0), ("112 ms", 1)):
        text = '[[budgets]]\ntarget = "my-board"\nmetric = "latency"\nlimit = "{}"\n'
        budgets.write_text(text.format(limit) + '[[budgets]]\nmetric = "accuracy"\nlimit = "80 %"\n')
        judged = call("gate", out, "--budgets", budgets)
        assert judged.returncode == code, judged.stdout
    budgets.write_text(text.format("113 ms"))
    assert "read from logs, which don't prove that pretrainedResnet_quant.tflite was the file on my-board" in (
        call("gate", out, "--budgets", budgets).stdout
    )


def test_measurements_are_the_same_as_json(logs: Path, keywords: Path) -> None:
    done = call("bench", keywords, "--logs", logs, "--target", "my-board", "--json")
    assert done.returncode == 0, done.stderr
    found = {each["metric"]: each for each in json.loads(done.stdout)}
    assert set(found) == {
        "file_size",
        "compressed_size",
        "zstd_size",
        "operators",
        "latency",
        "accuracy",
        "window_latency",
    }
    assert found["latency"]["samples"] == [0.030808, 0.030804, 0.030801]
    assert found["accuracy"]["conditions"]["source"] == "log of EEMBC's runner 3.0.10, session 20240309165238"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{model}", "--logs", "{logs}"), "--logs need one --target"),
        (("{model}", "--logs", "{logs}", "--target", "a,b"), "--logs need one --target"),
        (("{model}", "{model}", "--logs", "{logs}", "--target", "a"), "--logs are of one MODEL"),
        (("{model}", "--logs", "{logs}", "--target", "a", "--runs", "5"), "--runs is not for logs"),
        (("{model}", "--labels", "y_labels.csv", "--target", "a"), "--labels needs --logs"),
        (("digits", "--logs", "{logs}"), "--logs is for model files"),
        (("gone.tflite", "--logs", "{logs}", "--target", "a"), "gone.tflite: no such file"),
        (("{model}", "--logs", "{empty}", "--target", "a"), "no log in it; allowed: accuracy/log.txt"),
    ],
)
def test_what_can_t_be_read_is_said_in_one_line(
    logs: Path, keywords: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    done = call("bench", *(each.format(model=keywords, logs=logs, empty=tmp_path / "empty") for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.splitlines()[-1]


def test_a_truncated_log_is_named_with_its_last_line(logs: Path, keywords: Path) -> None:
    log = logs / "accuracy" / "log.txt"
    shutil.copy(log, whole := logs / "whole.txt")
    log.write_text("".join(whole.read_text().splitlines(keepends=True)[:60]))
    done = call("bench", keywords, "--logs", logs, "--target", "a")
    assert done.returncode == 2
    last = f"error: {log}:60: it ends before session 20240309165238 does: it was cut short"
    assert done.stderr.startswith(last)
    assert len(done.stderr.strip().splitlines()) == 1
