"""The installed command: help, exit codes, what goes to which stream."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import jsonschema  # type: ignore[import-untyped]  # has no stubs
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.cli import edgekd as command_line

SUBCOMMANDS: list[list[str]] = [[]]
TOP = click.Context(command_line)
for name in command_line.list_commands(TOP):
    command = command_line.get_command(TOP, name)
    SUBCOMMANDS.append([name])
    if isinstance(command, click.Group):
        SUBCOMMANDS += [[name, inner] for inner in command.commands]
HEAVY = {"torch", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert", "scipy", "pydantic", "rich", "numpy"}
EVERY = {
    "bench",
    "bundle",
    "cache",
    "compare",
    "distill",
    "doctor",
    "export",
    "gate",
    "history",
    "init",
    "inspect",
    "lint",
    "package",
    "promote",
    "recipes",
    "report",
    "run",
    "targets",
    "verify",
}


def call(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def ok(*arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = call(*arguments, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ok_json(*arguments: object, cwd: Path | None = None) -> Any:
    return json.loads(ok(*arguments, "--json", cwd=cwd))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fully connected layer: 4 x 3 weights and 3 biases."""
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["points", "weights", "biases"], ["logits"], name="dense")],
        "classifier",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.zeros(3, np.float32), "biases")],
    )
    path = tmp_path_factory.mktemp("a folder") / "with-a-long-name-that-a-narrow-table-would-cut-off.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def measured(model: Path) -> Path:
    """The folder of a benchmark of that file."""
    folder = model.with_name("[bench] :car:")
    ok("bench", model, "--runs", 60, "--time-limit", 0.2, "--out", folder)
    return folder


def imported(*arguments: object) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgekd", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}


def test_every_subcommand_is_there() -> None:
    assert set(command_line.list_commands(TOP)) == EVERY
    listed = ok("--help")
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in EVERY)
    assert "..." not in listed.partition("Commands:")[2].partition("Examples:")[0]


@pytest.mark.parametrize("words", SUBCOMMANDS, ids=" ".join)
def test_help_shows_examples_that_work(words: list[str]) -> None:
    shown = ok(*words, "--help")
    assert shown.startswith("Usage: ")
    examples = shown.partition("Examples:\n")[2].strip().splitlines()
    assert examples
    for example in examples:
        parts = shlex.split(example.partition(">")[0])
        parts = parts[parts.index("edgekd") + 1 :]
        assert parts[: len(words)] == words
        command: click.Command = command_line
        while isinstance(command, click.Group):
            found = command.get_command(TOP, parts.pop(0))
            assert found
            command = found
        # Unknown options and values that are none raise here.
        command.make_context(command.name, parts)


@pytest.mark.parametrize("words", SUBCOMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    found = imported(*words, "--help")
    assert "edgekd.cli" in found
    assert not found & HEAVY


def test_gate_imports_no_framework(measured: Path) -> None:
    assert not imported("gate", measured) & {"torch", "tensorflow", "onnx", "onnxruntime", "ai_edge_litert", "jax"}


def test_help_is_as_fast_as_importing_a_package() -> None:
    """At most four times `import numpy`, in pairs, because machines are busy."""

    def seconds(*argv: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *argv], check=True, capture_output=True)
        return time.perf_counter() - started

    ratios: list[float] = []
    for _ in range(4):
        ratios.append(
            statistics.median(seconds("-m", "edgekd", "--help") / seconds("-c", "import numpy") for _ in range(5))
        )
        if ratios[-1] <= 4:
            return
    pytest.fail(f"--help took {ratios} times as long as importing numpy")


@pytest.mark.parametrize(
    "arguments",
    [["destil"], ["run"], ["run", "digits", "--epochs", "3"], ["bench"], ["gate"], ["targets", "burn"], ["--nonsense"]],
    ids=" ".join,
)
def test_what_click_refuses_exits_2(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
    assert "--help" in done.stderr


def test_version() -> None:
    assert re.fullmatch(r".*\d+\.\d+\.\d+\n", ok("--version"))


def test_recipes() -> None:
    listed = ok("recipes")
    assert {"digits", "fashion-mnist"} <= {line.split()[0] for line in listed.splitlines()[1:]}
    assert ok_json("recipes").keys() >= {"digits", "fashion-mnist"}


def test_schema_is_a_schema() -> None:
    schema = json.loads(ok("recipes", "--schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["name", "data", "student"]


def test_targets() -> None:
    listed = ok("targets", "list")
    assert {"host", "cortex-m4"} <= {line.split()[0] for line in listed.splitlines()[1:]}
    assert {"host", "cortex-m4"} <= {target["name"] for target in ok_json("targets", "list")}
    assert "655360" in ok("targets", "show", "cortex-m4").replace(",", "").replace("_", "")
    assert ok_json("targets", "show", "cortex-m4")["ram_bytes"] == 655_360
    assert {finding["name"] for finding in ok_json("targets", "check", "host")} >= {"python", "runtime onnxruntime"}
    unknown = call("targets", "show", "hots")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "did you mean 'host'?" in unknown.stderr


def test_a_target_without_its_runtime_exits_3(tmp_path: Path) -> None:
    (tmp_path / "tflite_micro.py").write_text("raise ModuleNotFoundError(\"No module named 'tflite_micro'\")")
    done = call("targets", "check", "cortex-m4", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3, done.stderr
    missing = [finding for finding in json.loads(done.stdout) if not finding["right"]]
    assert [finding["name"] for finding in missing] == ["runtime tflite_micro"]
    assert missing[0]["next_step"] == "pip install 'edgekd[micro]'"


def test_init_gives_a_recipe_and_overwrites_none(tmp_path: Path) -> None:
    said = ok("init", "digits", cwd=tmp_path)
    assert "edgekd run digits.toml" in said
    mine = tmp_path / "digits.toml"
    before = mine.read_text()
    refused = call("init", "digits", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: digits.toml: is there already; choose another file with --out\n"
    assert mine.read_text() == before
    ok("init", "digits", "--out", "sub/mine.toml", cwd=tmp_path)
    assert (tmp_path / "sub" / "mine.toml").read_text() == before
    unknown = call("init", "digit", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'digits'?" in unknown.stderr


def test_doctor() -> None:
    assert "onnxruntime" in ok("doctor")
    findings = {finding["name"]: finding for finding in ok_json("doctor")}
    assert findings["numpy"] == {"name": "numpy", "right": True, "detail": np.__version__, "next_step": ""}


def test_inspect(model: Path) -> None:
    shown = ok("inspect", model, "--layers")
    assert "Gemm" in shown
    anatomy = ok_json("inspect", model)
    assert (anatomy["parameters"], anatomy["macs"]) == (15, 12)
    assert anatomy["size_bytes"] == model.stat().st_size


def test_bench_of_a_bare_file(measured: Path, model: Path) -> None:
    names = {"measurements.json", "report.json", "report.html"}
    assert {file.name for file in measured.iterdir()} == names
    measurements = ok_json("bench", model, "--runs", 20, "--time-limit", 0.1)
    latency = next(each for each in measurements if each["metric"] == "latency")
    assert 0 < len(latency["samples"]) <= 20
    assert latency["conditions"]["runtime"] == "onnxruntime"
    assert latency["model_sha256"] == json.loads((measured / "measurements.json").read_text())[0]["model_sha256"]


def test_what_bench_measured_can_be_gated_and_reported(measured: Path, model: Path, tmp_path: Path) -> None:
    size = model.stat().st_size
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(
        f'[[budgets]]\nmetric = "file_size"\nlimit = "{size} B"\n'
        '[[budgets]]\nmetric = "latency"\nstatistic = "p50"\nlimit = "1 s"\n'
    )
    assert "PASS" in ok("gate", measured, "--budgets", budgets)
    refused = call("gate", measured, "--budgets", budgets, "--set", f"budgets.0.limit='{size - 1} B'", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["status"] == "fail"
    budgets.write_text('[[budgets]]\nmetric = "latency"\nstatistic = "p99"\nlimit = "1 s"\n')
    open_question = call("gate", measured, "--budgets", budgets)
    assert open_question.returncode == 4, open_question.stdout
    assert "INCONCLUSIVE" in open_question.stdout
    assert Path(ok_json("report", measured)["html_path"]).is_file()
    without = call("gate", measured)
    assert without.returncode == 2
    assert "--budgets" in without.stderr


def test_verify_says_of_each_file_what_is_wrong_with_it(tmp_path: Path) -> None:
    import hashlib

    right = hashlib.sha256(b"right").hexdigest()
    empty = {"recipe": "", "overrides": [], "data": "", "teachers": {}, "environment": {}, "steps": {}, "findings": []}
    files = {
        "export/a.onnx": {"sha256": right, "size_bytes": 5, "step": "export"},
        "export/gone.onnx": {"sha256": "00", "size_bytes": 5, "step": "export"},
        "package/a.ort": {"sha256": right, "size_bytes": 5, "step": "package", "parents": ["00"]},
    }
    (tmp_path / "manifest.json").write_text(
        json.dumps({"edgekd_manifest": 2, **empty, "layers": "", "corrections": "", "files": files})
    )
    for name in ("export/a.onnx", "export/more.onnx", "package/a.ort"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"right")
    done = call("verify", tmp_path)
    assert done.returncode == 1
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if "/" in line}
    assert lines["export/a.onnx"].split() == ["ok", "export/a.onnx"]
    assert lines["export/gone.onnx"].startswith("missing")
    assert "take it away before the folder ships" in lines["export/more.onnx"]
    assert "what it was made from is changed, missing or unknown" in lines["package/a.ort"]
    assert "1 of 4 files are what the manifest says" in done.stdout
    (tmp_path / "export/gone.onnx").write_bytes(b"")
    assert json.loads(call("verify", tmp_path, "--json").stdout)["export/gone.onnx"] == "changed"


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1", "COLUMNS": "40", "TERM": "dumb"}], ids=str)
def test_a_pipe_gets_whole_lines_without_escape_codes(environment: dict[str, str], measured: Path, model: Path) -> None:
    for arguments in (["report", measured], ["targets", "list"], ["doctor"], ["inspect", model, "--layers"]):
        shown = ok(*arguments, env=environment)
        assert "\x1b" not in shown
        assert "…" not in shown
        if arguments[0] == "report":
            assert any(model.name in line and " µs" in line for line in shown.splitlines())


def test_names_are_printed_as_they_are(measured: Path) -> None:
    """Square brackets are markup to rich, and colons emoji."""
    assert f"report: {measured / 'report' / 'report.html'}" in ok("report", measured).splitlines()


def on_a_terminal(arguments: list[str], environment: Mapping[str, str]) -> str:
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekd", *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(other)
    shown = b""
    while select.select([main], [], [], 60)[0]:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_gets_colour_unless_it_wants_none(measured: Path) -> None:
    arguments = ["inspect", str(next(measured.parent.glob("*.onnx")))]
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m")
    clean = {key: value for key, value in os.environ.items() if key in {"NO_COLOR", "FORCE_COLOR"}}
    if clean:
        pytest.skip(f"this environment decides about colour: {clean}")
    assert colour.search(on_a_terminal(arguments, {}))
    assert not colour.search(on_a_terminal(arguments, {"NO_COLOR": "1"}))


def test_errors_go_to_stderr_and_json_to_stdout(tmp_path: Path) -> None:
    for arguments in (["inspect", "gone.onnx"], ["bench", "gone.onnx"], ["gate", "gone"], ["report", "gone"]):
        done = call(*arguments, "--json", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"error: .*gone.*\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_the_script_is_the_module() -> None:
    script = shutil.which("edgekd", path=str(Path(sys.executable).parent))
    assert script, "the package is not installed"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[1:] == ok("--help").splitlines()[1:]
