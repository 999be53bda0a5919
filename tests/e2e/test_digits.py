"""The shipped recipe, shortened: what is skipped, what is remade, what the gate says."""

import json
import runpy
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekd import store
from edgekd.units import METRICS

Command = Callable[..., subprocess.CompletedProcess[str]]

SHORT = [
    *("--set", "teachers.0.train.epochs=1"),
    *("--set", "distill.epochs=1"),
    *("--set", "benchmark.runs=60"),
    *("--set", "benchmark.time_limit_s=0.3"),
    *("--set", "budgets.0.limit='1 %'"),
    *("--set", "budgets.1.limit='99 pt'"),
    *("--set", "budgets.2.limit='1 %'"),
    *("--set", "budgets.5.limit='1 s'"),
]


ALL = ["teachers", "assistants", "distill", "export", "kernels", "lint", "benchmark", "package", "gate", "report"]


@dataclass(frozen=True)
class Shortened:
    edgekd: Command
    folder: Path
    first: subprocess.CompletedProcess[str]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.edgekd("run", "digits", "--out", self.folder, *SHORT, *arguments, cwd=self.folder.parent)

    def command(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.edgekd(name, self.folder, *arguments, cwd=self.folder.parent)


@pytest.fixture(scope="module")
def made(edgekd: Command, tmp_path_factory: pytest.TempPathFactory) -> Shortened:
    folder = tmp_path_factory.mktemp("digits") / "a run"
    first = edgekd("run", "digits", "--out", folder, *SHORT, cwd=folder.parent)
    assert first.returncode == 0, first.stdout + first.stderr
    return Shortened(edgekd, folder, first)


@pytest.fixture
def copy(made: Shortened, tmp_path: Path) -> Shortened:
    shutil.copytree(made.folder, tmp_path / "copy")
    return Shortened(made.edgekd, tmp_path / "copy", made.first)


def steps(finished: subprocess.CompletedProcess[str]) -> tuple[list[str], list[str]]:
    assert finished.returncode in {0, 1}, finished.stderr
    result = json.loads(finished.stdout)
    return result["made"], result["skipped"]


def test_every_file_is_made_and_reported(made: Shortened) -> None:
    names = sorted(file.name for file in (made.folder / "export").glob("student.*"))
    assert names == [
        "student.fp32.onnx",
        "student.fp32.tflite",
        "student.static_wi8_ai8.onnx",
        "student.static_wi8_ai8.tflite",
    ]
    assert all(name in made.first.stdout for name in names)
    assert "PASS" in made.first.stdout
    assert "…" not in made.first.stdout
    page = (made.folder / "report" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert all(name in page for name in names)


def test_the_student_is_a_tenth_of_the_teacher(made: Shortened) -> None:
    teacher, student = (
        json.loads((made.folder / stage / "models.json").read_text())[0]["parameters"]
        for stage in ("teachers", "distill")
    )
    assert student * 10 <= teacher


def test_what_is_printed_is_in_the_log(made: Shortened) -> None:
    log = (made.folder / "log.txt").read_text()
    assert all(line.rstrip() in log for line in made.first.stdout.splitlines() if line.strip())
    assert "teacher-0: epoch 1/1" in log
    assert "\x1b" not in log


def test_budgets_have_evidence_of_every_kind(made: Shortened) -> None:
    checks = json.loads((made.folder / "gate" / "release.json").read_text())["checks"]
    assert {check["status"] for check in checks} == {"pass"}
    metrics = {check["budget"]["metric"] for check in checks}
    assert metrics == {"accuracy", "accuracy_drop", "parity", "file_size", "arena_size", "latency"} <= set(METRICS)


def test_packages_hold_what_apps_and_firmwares_need(made: Shortened) -> None:
    packages = json.loads((made.folder / "package" / "packages.json").read_text())
    by_model = {each["model"]: {file["packager"] for file in each["files"]} for each in packages}
    onnx, tflite = {"onnx_metadata", "ort"}, {"tflite_metadata", "c_source"}
    assert by_model == {
        f"student.{precision}.{name}": {*suits, "snippets", "model_card"}
        for name, suits in (("onnx", onnx), ("tflite", tflite))
        for precision in ("fp32", "static_wi8_ai8")
    }
    assert [each["left_out"] for each in packages] == [{}] * 4
    assert f"packages: {made.folder / 'package'}" in made.first.stdout


def scans() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's scans, (1797, 8, 8, 1) from 0 to 16, and their digits."""
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    return bunch.images[..., None].astype(np.float32), bunch.target


@pytest.mark.parametrize("precision", ["fp32", "static_wi8_ai8"])
def test_a_file_with_metadata_gives_the_very_outputs_of_the_measured_one(made: Shortened, precision: str) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    name, outputs = f"student.{precision}", []
    packed = made.folder / "package" / "tflite" / name / f"{name}.metadata.tflite"
    for path in (made.folder / "export" / f"{name}.tflite", packed):
        model = interpreter.Interpreter(model_path=str(path))
        model.allocate_tensors()
        taken, given = model.get_input_details()[0], model.get_output_details()[0]
        scale, zero_point = taken["quantization"]
        found = []
        for scan in scans()[0][:200, None]:
            value = np.rint(scan / scale) + zero_point if scale else scan
            model.set_tensor(taken["index"], value.astype(taken["dtype"]))
            model.invoke()
            found.append(model.get_tensor(given["index"]))
        outputs.append(np.concatenate(found))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert outputs[0].std() > 0


def test_the_python_snippet_runs_the_packaged_file_on_raw_scans(made: Shortened) -> None:
    place = made.folder / "package" / "tflite" / "student.static_wi8_ai8"
    images = scans()[0][:8]
    snippet = runpy.run_path(str(place / "student.static_wi8_ai8_snippet.py"))
    ours = [snippet["run"](str(place / "student.static_wi8_ai8.metadata.tflite"), image) for image in images]
    other = made.folder / "package" / "onnx" / "student.fp32"
    snippet = runpy.run_path(str(other / "student.fp32_snippet.py"))
    theirs = [snippet["run"](str(other / "student.fp32.metadata.onnx"), image.transpose(2, 0, 1)) for image in images]
    # Two formats and two precisions of one student: what differs is rounding.
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.95


@pytest.mark.parametrize("precision", ["fp32", "static_wi8_ai8"])
def test_c_sources_compile_and_hold_what_tflite_micro_gives(made: Shortened, precision: str, tmp_path: Path) -> None:
    gcc, micro = shutil.which("gcc"), pytest.importorskip("tflite_micro").runtime
    if gcc is None:
        pytest.skip("there is no gcc here")
    place = made.folder / "package" / "tflite" / f"student.{precision}"
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "model_data.h"\n#include "model_test.h"\nint main(void) {\n'
        "  fwrite(model_test_inputs, sizeof model_test_inputs, 1, stdout);\n"
        "  fwrite(model_test_outputs, sizeof model_test_outputs, 1, stdout);\n  return 0;\n}\n"
    )
    sources = [place / "model_data.c", place / "model_test.c", main]
    command = [gcc, "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{place}", *sources, "-lm", "-o", tmp_path / "main"]
    subprocess.run(list(map(str, command)), check=True)
    said = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout
    dtype = np.dtype(np.float32 if precision == "fp32" else np.int8)
    values = np.frombuffer(said, dtype)
    inputs, outputs = values[: 4 * 64].reshape(4, 1, 8, 8, 1), values[4 * 64 :].reshape(4, 10)
    model = micro.Interpreter.from_bytes((made.folder / "export" / f"student.{precision}.tflite").read_bytes())
    for scan, wanted in zip(inputs, outputs, strict=True):
        model.set_input(scan, 0)
        model.invoke()
        np.testing.assert_array_equal(model.get_output(0)[0], wanted)


def test_nothing_to_do_is_done_at_once(made: Shortened) -> None:
    started = time.monotonic()
    again = made.run("--json")
    took_s = time.monotonic() - started
    assert steps(again) == ([], ALL)
    # 3 s on a machine that does nothing else.
    assert took_s < 10


def test_a_budget_changes_the_verdict_and_the_report_only(copy: Shortened) -> None:
    again = copy.run("--set", "budgets.3.limit='20 kB'", "--json")
    assert steps(again) == (["gate", "report"], ALL[:-2])
    assert again.returncode == 1
    assert json.loads(again.stdout)["status"] == "fail"


def test_a_budget_that_is_too_small_refuses_the_release(made: Shortened) -> None:
    assert made.command("gate").returncode == 0
    refused = made.command("gate", "--set", "budgets.3.limit='20 kB'")
    assert refused.returncode == 1
    assert "FAIL" in refused.stdout
    assert "file_size student.static_wi8_ai8.tflite" in refused.stdout
    assert "20 kB" in refused.stdout
    assert "Traceback" not in refused.stderr


def test_a_budget_without_evidence_refuses_the_release(made: Shortened, tmp_path: Path) -> None:
    budgets = tmp_path / "release.toml"
    text = '[[budgets]]\nmetric = "{}"\nlimit = "{}"\ntarget = "{}"\n'
    budgets.write_text(text.format("energy", "1 J", "host"))
    refused = made.command("gate", "--budgets", budgets, "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["status"] == "unmeasured"
    budgets.write_text(text.format("latency", "1 s", "raspberry-pi-5"))
    unknown = made.command("gate", "--budgets", budgets)
    assert unknown.returncode == 2
    assert "selects nothing: there is no target 'raspberry-pi-5'" in unknown.stderr


def test_measurements_that_were_written_over_are_no_evidence(copy: Shortened) -> None:
    file = copy.folder / "benchmark" / "measurements.json"
    file.write_text(file.read_text().replace("0.0,", "1.0,", 1))
    refused = copy.command("gate")
    assert refused.returncode == 2
    assert "benchmark/measurements.json: not what its step wrote" in refused.stderr


def test_an_edited_manifest_is_no_evidence(copy: Shortened) -> None:
    manifest = copy.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["export/measurements.json"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(content))
    refused = copy.command("gate")
    assert refused.returncode == 2
    assert "the manifest was edited" in refused.stderr


def test_a_measurement_of_another_file_is_no_evidence(copy: Shortened) -> None:
    """Even where whoever brought it in wrote down its hashes, too."""
    file = copy.folder / "benchmark" / "measurements.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps([*content, {**content[0], "model_sha256": "0" * 64}]))
    digest = store.sha256_of(file)
    stage, manifest = (copy.folder / name for name in ("benchmark/stage.json", "manifest.json"))
    done, listed = (json.loads(each.read_text()) for each in (stage, manifest))
    done["outputs"]["measurements.json"] = listed["files"]["benchmark/measurements.json"]["sha256"] = digest
    stage.write_text(json.dumps(done))
    manifest.write_text(json.dumps(listed))
    refused = copy.command("gate")
    assert refused.returncode == 2
    assert "which is no file of this run" in refused.stderr


def test_the_gate_refuses_a_file_that_is_not_the_measured_one(copy: Shortened) -> None:
    file = copy.folder / "export" / "student.static_wi8_ai8.tflite"
    file.write_bytes(file.read_bytes() + b"!")
    refused = copy.command("gate")
    assert refused.returncode == 2
    assert f"{file.name}: not the file that was measured" in refused.stderr
    file.unlink()
    assert f"{file.name}: missing" in copy.command("gate").stderr


@pytest.mark.slow
def test_writing_the_report_again_leaves_a_run_that_verifies(copy: Shortened) -> None:
    before = (copy.folder / "report" / "report.json").read_bytes()
    assert copy.command("report").returncode == 0
    assert copy.command("verify").returncode == 0
    # The folder has another name here, and nothing else differs.
    after = json.loads((copy.folder / "report" / "report.json").read_bytes())
    assert after | {"name": ""} == json.loads(before) | {"name": ""}


def test_a_run_is_bundled_and_its_bundle_holds(made: Shortened, tmp_path: Path) -> None:
    bundled = made.command("bundle", "--out", tmp_path / "digits.tar", "--json")
    assert bundled.returncode == 0, bundled.stderr
    found = made.edgekd("verify", tmp_path / "digits.tar", "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stdout
    states = {claim["name"]: claim["state"] for claim in json.loads(found.stdout)["claims"]}
    assert states.pop("signature") == "unchecked"
    assert {*states.values()} == {"ok"}


def test_the_gate_needs_no_training_framework(made: Shortened, tmp_path: Path) -> None:
    blocked = "import sys; sys.modules.update(torch=None, tensorflow=None, onnxruntime=None, sklearn=None)\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    judged = made.edgekd("gate", made.folder, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert judged.returncode == 0, judged.stderr


@pytest.mark.slow
def test_a_flipped_byte_is_found_and_mended(copy: Shortened) -> None:
    assert copy.command("verify").returncode == 0
    model = copy.folder / "export" / "student.fp32.onnx"
    right = model.read_bytes()
    model.write_bytes(right[:1000] + bytes([right[1000] ^ 1]) + right[1001:])
    found = copy.command("verify", "--json")
    assert found.returncode == 1
    states = json.loads(found.stdout)
    wrong = {name: state for name, state in states.items() if state != "ok"}
    assert wrong.pop("export/student.fp32.onnx") == "changed"
    # All that was made of it, and nothing else, has lost what it was made from.
    assert {*wrong.values()} == {"orphan"}
    assert {*wrong} == {name for name in states if name.startswith("package/onnx/student.fp32/")}
    # The files come out as they were, so what was measured of them still holds.
    assert steps(copy.run("--json")) == (["export"], [each for each in ALL if each != "export"])
    assert model.read_bytes() == right
    assert copy.command("verify").returncode == 0


@pytest.mark.slow
def test_a_damaged_record_is_made_again(copy: Shortened) -> None:
    (copy.folder / "gate" / "stage.json").write_text('{"fingerprint": 3')
    again = copy.run("--json")
    assert steps(again)[0] == ["gate", "report"]
    assert "the step is done again" in again.stderr


@pytest.mark.slow
def test_another_folder_gets_the_same_bytes(
    made: Shortened, edgekd: Command, hashes: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    assert edgekd("run", "digits", "--out", tmp_path / "other", *SHORT, cwd=tmp_path).returncode == 0
    assert hashes(tmp_path / "other") == hashes(made.folder)
