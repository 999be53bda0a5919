"""What people get wrong: one message with what to do next, the right exit code, nothing half-written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.store import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]

USER, TARGET = 2, 3
# A command takes seconds: of mistakes of a kind one is tried each time, the others by `make test-all`.
SLOW = pytest.mark.slow
# Data and epochs so few that what comes before the mistake takes no time.
QUICK = ["--set", "data.samples=120", "--set", "teachers.0.train.epochs=1", "--set", "distill.epochs=1"]


@pytest.fixture
def here(tiny: Path, tmp_path: Path) -> Path:
    for file in tiny.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(edgekd: Command, tiny: Path) -> Path:
    """An ONNX file of ours."""
    finished = edgekd("export", "tiny.toml", "--out", "for-bad-input", *QUICK, cwd=tiny)
    assert finished.returncode == 0, finished.stderr
    return tiny / "for-bad-input" / "export" / "student.fp32.onnx"


def assert_refused(finished: subprocess.CompletedProcess[str], folder: Path, *said: str, code: int = USER) -> str:
    errors = [line for line in finished.stderr.splitlines() if line.startswith(("error:", "Error:"))]
    assert len(errors) == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "bug in edgekd" not in finished.stderr
    assert finished.returncode == code, finished.stderr
    message = finished.stderr[finished.stderr.index(errors[0]) :]
    for each in said:
        assert each in message
    assert finished.stdout == ""
    assert not list(folder.rglob(".partial-*"))
    return message


def run_refused(edgekd: Command, here: Path, *arguments: str, said: tuple[str, ...], code: int = USER) -> str:
    finished = edgekd("run", "tiny.toml", "--out", "out", *QUICK, *arguments, cwd=here)
    assert not (here / "out" / "manifest.json").exists()
    return assert_refused(finished, here, *said, code=code)


def test_every_mistake_of_a_recipe_is_named_at_once(edgekd: Command, here: Path) -> None:
    recipe = here / "tiny.toml"
    text = (
        recipe.read_text()
        .replace("epochs = 40", "epoch = 40")
        .replace('"own:build"\n[distill]', '"resnet_8"\n[distill]')
    )
    recipe.write_text(text.replace('"host"', '"hots"').replace("file_size", "file_weight"))
    finished = edgekd("run", "tiny.toml", cwd=here)
    said = ("unknown key 'epoch'", "did you mean 'epochs'?", "unknown network 'resnet_8'")
    message = assert_refused(finished, here, "problems", *said)
    assert all(line.startswith("  tiny.toml: ") for line in message.splitlines()[1:])
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], ("unknown recipe 'nonsense'", "digits")),
        (["digit"], ("did you mean 'digits'?",)),
        (["nowhere.toml"], ("no such recipe file",)),
        (["a-folder.toml"], ("no such recipe file",)),
        (["binary.toml"], ("binary.toml", "not a text file")),
        (["broken.toml"], ("broken.toml", "not valid TOML")),
        (["tiny.toml", "--set", "distill.epochs"], ("'distill.epochs' is no override",)),
        (["tiny.toml", "--set", "distill.epochs=many"], ("distill.epochs", "integer")),
        (["tiny.toml", "--set", "budgets.7.limit='1 B'"], ("budgets",)),
        (["tiny.toml", "--set", "budgets.0.limit='1 parsec'"], ("parsec",)),
        (["tiny.toml", "--set", "benchmark.targets=['nowhere']"], ("unknown target 'nowhere'", "host")),
        (["tiny.toml", "--set", "benchmark.targets=['own.toml']"], ("unknown runtime 'onnxrun' of target 'own'",)),
        (["tiny.toml", "--set", "student.model='own:built'"], ("no function 'built'", "did you mean 'build'?")),
        (["tiny.toml", "--set", "student.model='owned:build'"], ("no Python module 'owned'",)),
    ],
)
def test_what_is_wrong_with_a_recipe(arguments: list[str], said: tuple[str, ...], edgekd: Command, here: Path) -> None:
    (here / "a-folder.toml").mkdir()
    (here / "binary.toml").write_bytes(bytes(range(256)))
    (here / "broken.toml").write_text("name = [")
    (here / "own.toml").write_text('description = "mine"\ntransport = "local"\nruntimes = ["onnxrun"]\n')
    assert_refused(edgekd("run", *arguments, cwd=here), here, *said)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("gone.safetensors", "No such file"), pytest.param("x" * 5000, "File name too long", marks=SLOW)]
)
def test_weights_that_are_not_there(name: str, said: str, edgekd: Command, here: Path) -> None:
    step = ("--set teachers.0.weights=", "EDGEKD_DATA")
    run_refused(edgekd, here, "--set", f"teachers.0.weights='{name}'", said=(f"{name}: can't read it: {said}", *step))


@pytest.mark.parametrize("damage", ["truncated", pytest.param("empty", marks=SLOW), pytest.param("random", marks=SLOW)])
def test_weights_that_are_damaged(damage: str, edgekd: Command, here: Path, model: Path) -> None:
    whole = (model.parents[1] / "teachers" / "teacher-0.safetensors").read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "random": np.random.default_rng(0).bytes(5000)}
    (here / "weights.safetensors").write_bytes(content[damage])
    run_refused(edgekd, here, "--set", "teachers.0.weights='weights.safetensors'", said=("weights.safetensors",))


@SLOW
def test_weights_for_other_classes(edgekd: Command, here: Path, model: Path) -> None:
    shutil.copy(model.parents[1] / "teachers" / "teacher-0.safetensors", here / "three.safetensors")
    clouds = here / "clouds.py"
    text = clouds.read_text().replace("integers(0, 3,", "integers(0, 5,")
    clouds.write_text(text.replace('("a", "b", "c")', '("a", "b", "c", "d", "e")'))
    said = ("three.safetensors", "3 classes", "the data 5")
    run_refused(edgekd, here, "--set", "teachers.0.weights='three.safetensors'", said=said)


@SLOW
def test_a_network_for_another_shape(edgekd: Command, here: Path) -> None:
    own = here / "own.py"
    own.write_text(own.read_text().replace("input_shape[0]", "784"))
    run_refused(edgekd, here, said=("does not take inputs of shape (16,)", "choose a network"))


@SLOW
def test_a_network_for_images_on_points(edgekd: Command, here: Path) -> None:
    said = ("the data has shape (16,)", "mlp")
    run_refused(edgekd, here, "--set", "student.model='mlperf_resnet8'", said=said)


def test_a_network_with_other_outputs_than_classes(edgekd: Command, here: Path) -> None:
    own = here / "own.py"
    own.write_text(own.read_text().replace("nn.Linear(width, classes)", "nn.Linear(width, 10)"))
    run_refused(edgekd, here, said=("10 classes, the data 3",))


def test_an_own_network_that_can_not_be_built(edgekd: Command, here: Path) -> None:
    own = here / "own.py"
    own.write_text(own.read_text().replace("classes: int, ", ""))
    run_refused(edgekd, here, said=("own:build", "classes"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 5", ("teacher 'own:teach' gives int; allowed: a torch.nn.Module",)),
        pytest.param(
            "return {}['oops']",
            ("own.py: your own 'teach' failed: KeyError: 'oops'; the lines above show where",),
            marks=SLOW,
        ),
        pytest.param("return nn.Linear(-1, 3)", ("own.py: your own 'teach' failed: RuntimeError: ",), marks=SLOW),
    ],
)
def test_an_own_function_that_fails(body: str, said: tuple[str, ...], edgekd: Command, here: Path) -> None:
    own = here / "own.py"
    own.write_text(f"{own.read_text()}\n\ndef teach():\n    {body}\n")
    recipe = here / "tiny.toml"
    recipe.write_text(
        recipe.read_text()
        .replace('model = "own:build"\nwidth = 96', 'source = "own:teach"', 1)
        .replace("train = { epochs = 12, batch_size = 32 }\n", "", 1)
    )
    finished = edgekd("distill", "tiny.toml", "--out", "out", "--set", "data.samples=120", cwd=here)
    assert finished.returncode == USER
    assert "bug in edgekd" not in finished.stderr
    assert "/pipeline/" not in finished.stderr, "only the user's own lines are shown"
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    for each in said:
        assert each in last


def test_no_samples_to_validate_with(edgekd: Command, here: Path) -> None:
    run_refused(edgekd, here, "--set", "data.validation=0", said=("validation split is empty", "data.validation"))


@SLOW
def test_a_loss_that_is_not_a_number(edgekd: Command, here: Path) -> None:
    run_refused(
        edgekd,
        here,
        *("--set", "distill.learning_rate=1e30", "--set", "distill.epochs=5"),
        said=("student", "loss is", "lower learning_rate"),
    )


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("tflite", marks=SLOW)])
@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_a_model_of_random_bytes(suffix: str, command: str, edgekd: Command, tmp_path: Path) -> None:
    (tmp_path / f"noise.{suffix}").write_bytes(np.random.default_rng(1).bytes(20_000))
    (tmp_path / f"marked.{suffix}").write_bytes(b"\x1c\0\0\0TFL3" + np.random.default_rng(1).bytes(20_000))
    for name in (f"noise.{suffix}", f"marked.{suffix}"):
        assert_refused(edgekd(command, name, cwd=tmp_path), tmp_path, name)


@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_a_model_that_was_cut_off(command: str, edgekd: Command, tmp_path: Path, model: Path) -> None:
    content = model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("cut.onnx", "empty.onnx", "gone.onnx"):
        assert_refused(edgekd(command, name, cwd=tmp_path), tmp_path, name)


def test_bench_takes_options_of_files_for_files_only(edgekd: Command, here: Path, model: Path) -> None:
    assert_refused(edgekd("bench", "tiny.toml", "--runs", "9", cwd=here), here, "--runs", "--set benchmark.runs")
    assert_refused(edgekd("bench", model, "--set", "benchmark.runs=9", cwd=here), here, "--set")


@pytest.mark.parametrize("command", ["gate", "report", "verify"])
def test_a_run_that_is_not_there(command: str, edgekd: Command, tmp_path: Path) -> None:
    assert_refused(edgekd(command, "runs/nothing", cwd=tmp_path), tmp_path, "runs/nothing", "edgekd run")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["gate", "report"])
@pytest.mark.parametrize(
    "content",
    ["{", *(pytest.param(each, marks=SLOW) for each in ("[]", '[{"model": "x"}]', "\x00"))],
)
def test_a_record_that_is_damaged(command: str, content: str, edgekd: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "benchmark").mkdir(parents=True)
    (run / "recipe.toml").write_text("")
    (run / "benchmark" / "stage.json").write_text("{}")
    (run / "benchmark" / "measurements.json").write_text(content)
    finished = edgekd(command, run, cwd=tmp_path)
    if content == "[]":  # a run without measurements is one, though not a release
        assert finished.returncode == {"gate": 1, "report": 0}[command]
    else:
        assert_refused(finished, tmp_path, "measurements.json", "again")


def test_a_manifest_that_leaves_its_folder(edgekd: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    about = '"recipe": "", "overrides": [], "data": "", "teachers": {}, "environment": {}, "steps": {}, "findings": []'
    files = '"files": {"../secret": {"sha256": "00", "size_bytes": 1}}'
    text = f'{{"edgekd_manifest": 2, {about}, "layers": "", "corrections": "", {files}}}'
    (tmp_path / "run" / "manifest.json").write_text(text)
    assert_refused(edgekd("verify", "run", cwd=tmp_path), tmp_path, "../secret", "outside the run folder")


def test_a_folder_that_another_run_holds(edgekd: Command, here: Path) -> None:
    with RunFolder(here / "out").lock():
        run_refused(edgekd, here, said=("another edgekd is working", "--out"))


def test_a_folder_that_is_a_file(edgekd: Command, here: Path) -> None:
    (here / "taken").write_text("")
    assert_refused(edgekd("run", "tiny.toml", "--out", "taken", cwd=here), here, "taken")
    assert_refused(edgekd("run", "tiny.toml", "--out", "taken/deeper", cwd=here), here, "taken", "--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written(edgekd: Command, here: Path) -> None:
    (here / "locked").mkdir(mode=0o500)
    assert_refused(edgekd("run", "tiny.toml", "--out", "locked/out", cwd=here), here, "locked", "--out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a log and half a model."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@SLOW
def test_a_full_disk(edgekd: Command, here: Path, small_disk: Path) -> None:
    finished = edgekd("run", "tiny.toml", "--out", small_disk / "out", *QUICK, cwd=here)
    assert_refused(finished, small_disk, "the disk is full", "free some space and run the same command again")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = edgekd("run", "tiny.toml", "--out", small_disk / "out", *QUICK, cwd=here)
    assert again.returncode == 0, again.stderr


def test_a_disk_that_is_full_from_the_start(edgekd: Command, here: Path, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(60_000))
    finished = edgekd("run", "tiny.toml", "--out", small_disk / "out", *QUICK, cwd=here)
    assert_refused(finished, small_disk, "the disk is full")


def test_a_runtime_that_does_not_exist(edgekd: Command, tmp_path: Path, model: Path) -> None:
    (tmp_path / "mine.toml").write_text('description = "mine"\ntransport = "local"\nruntimes = ["onnxrun"]\n')
    for arguments in (["bench", model, "--target", "mine.toml"], ["targets", "check", "mine.toml"]):
        assert_refused(edgekd(*arguments, cwd=tmp_path), tmp_path, "unknown runtime 'onnxrun'", "onnxruntime")


def test_a_runtime_that_is_not_installed(edgekd: Command, tmp_path: Path, model: Path) -> None:
    """The target's Python finds a package that can't be imported, as after a broken installation."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no such library')\n")
    finished = edgekd("bench", model, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert_refused(finished, tmp_path, "host", "'onnxruntime' can't be imported", "pip install", code=TARGET)


@pytest.mark.parametrize(
    "arguments", [["recipes", "--schema"], ["recipes"], ["targets", "list", "--json"]], ids=" ".join
)
def test_a_reader_that_goes_away(arguments: list[str], tmp_path: Path) -> None:
    """As `edgekd recipes | true`; 0 would say that a gate let pass what nobody read."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *arguments], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
