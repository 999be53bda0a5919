"""Runs a model file where it lies and prints what it saw, one JSON event a line.

A transport copies this one file to the target: it needs Python 3.9, numpy and the runtime, and nothing of
edgekd. `python runner.py job.json` takes these keys:

    engine        onnxruntime, litert, litert_compiled_model, tensorflow or tflite_micro
    mode          latency: load, first inference, warm-up until nothing changes any more, then timed inferences until
                           the intervals of p50 and p90 are narrow
                  sustained: inferences without a break for `sustained_s`, some of each second
                  profile: time of each operator, where the runtime tells it
                  load:    load and first inference only, for further samples of both
                  energy:  what the machine tells of its power (see `METERS`): idle, then without a break
                  memory:  what the model adds to the process, on Linux (tflite_micro: what it needs of the arena)
                  accuracy: every row of `inputs` through the model, outputs to a file beside the job
                  generate, contexts, likelihood: of language models with a cache of keys and values, see below
                  compare: `model` and another file in turns, so that both meet the same machine
                  environment: nothing but whether the runtime can be imported; needs no model
                  state:   nothing but the state of the device; needs neither model nor runtime
    model         path of the model file
    other         of compare: what differs in the other file's job (model, engine, …)
    inputs        path of an .npy, float32, one sample a row; random values where it is absent
    runs          timed inferences, at most
    time_limit_s  for the timed inferences; before them, as long but ten seconds at most, for the warm-up
    interval_width, a share: how wide an interval may be; 0 takes all runs
    warmup_runs, warmup_s, at least
    threads, seed, ram_bytes
    xnnpack       of litert, litert_compiled_model and tensorflow: whether that delegate may take operators
    sys           the folder that Linux tells the state of the device in

A language model with a cache is known by the names of its inputs (see `GrowingCache`) or of its signatures (see
`FixedCache`). Its inference, in all modes above but accuracy, is that of one token after a text of
`prompt_lengths[0]` tokens. Its own modes take these keys, too:

    cached         whether the file is such a model: LiteRT has an interface that copies no caches
    prompt_lengths of generate: how many tokens there are before the first that the model gives
    new_tokens     of generate: how many it gives, always the most probable
    contexts       of contexts: with how many tokens in the cache the memory is looked at

Times are nanoseconds, sizes bytes. Statistics are made elsewhere, from these raw samples.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RUNNER_VERSION = 1
DEFAULTS = {
    "mode": "latency",
    "threads": 1,
    "runs": 10_000,
    "time_limit_s": 5.0,
    "interval_width": 0.02,
    "length": 128,
    "warmup_runs": 20,
    "warmup_s": 0.3,
    "seed": 0,
    "xnnpack": True,
    "sys": "/sys",
    "cached": False,
    "prompt_lengths": [16, 128],
    "new_tokens": 64,
    "contexts": [128, 256, 512],
}
WARMUP_SAMPLES_KEPT, WARMUP_LIMIT_S = 200, 10.0
# Warm-up is over when so many windows of so long, at least and at most, show no change that is improbable and matters;
# of fewer than eleven even a steady rise is not improbable.
WARMUP_WINDOW_NS, STEADY_WINDOWS, STEADY_CHANCE, STEADY_SHARE = 10_000_000, (12, 64), 0.05, 0.02
# Fewer support no p99.
RUNS_OF_P99 = 473
SUSTAINED_KEPT_PER_S = 100
# How often the state of the device is looked at while inferences are timed.
LOOK_EVERY_NS = 1_000_000_000
PROFILE_RUNS, PROFILE_WARMUP_RUNS = 100, 20
MEMORY_RUNS = 20
# The time limit in so many parts, each with an energy of its own. Half as many are idle before, and half as many bring
# the clock to where it stays; of slow files there are fewer, but three in all.
ENERGY_PARTS, FEWEST_PARTS = 10, 3
# A file's turn in a comparison: how long, of how many inferences; then rounds, at least, and inferences, at most.
TURN_NS, TURN_RUNS, MOST_TURN_RUNS = 1_000_000, 3, 100
TURN_ROUNDS, MOST_TIMED = 3, 30_000
# Of each length of a prompt: so many first tokens and texts, at least and at most; before them, one is not counted.
GENERATIONS = (3, 50)
ARENA_PROBE_BYTES = 256 * 2**20
MESSAGE_CHARACTERS = 600
# What goes wrong at each step of a job, for whoever reads the events.
KIND_OF_FAILURE = {
    "job": "bad_job",
    "runtime": "runtime_missing",
    "model": "model_missing",
    "load": "model_rejected",
    "inputs": "inputs_unfit",
    "inference": "model_rejected",
}


class JobError(Exception):
    """A failure whose kind is known; `facts` go into its event."""

    def __init__(self, kind: str, message: str, **facts: object) -> None:
        super().__init__(message)
        self.kind, self.facts = kind, facts


class Events:
    """Writes events to the real standard output, which native libraries can't reach."""

    def __init__(self) -> None:
        # Whatever else prints, in Python or C, goes to standard error: stdout holds events only.
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)

    def emit(self, event: str, **facts: object) -> None:
        """Write one event as a line of JSON."""
        self._stream.write(json.dumps(dict({"event": event}, **facts)) + "\n")


# --- engines: one class a runtime, all with the same few attributes ------------------------------


class OnnxRuntime:
    """ONNX Runtime on the CPU; threads don't spin, so that a measurement costs what an app would pay."""

    MODULE, PACKAGE = "onnxruntime", "onnxruntime"
    delegate = "CPUExecutionProvider, spinning off"
    cache: Any = None

    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        self._runtime, self._job = onnxruntime, job
        self.version = str(onnxruntime.__version__)

    def load(self, path: str) -> None:
        """Make a session."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._job["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._job["mode"] == "profile":
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(path).with_suffix(".profile"))
        self._session = self._runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def describe(self) -> None:
        """Find inputs and outputs; dynamic dimensions become 1, but see `_fit_length`."""
        self.inputs = [self._spec(each) for each in self._session.get_inputs()]
        self.outputs = [self._spec(each) for each in self._session.get_outputs()]
        self._binding = self._session.io_binding()
        for each in self.outputs:
            self._binding.bind_output(each["name"])
        # Bound once: neither names nor arrays are looked at again when an inference is timed.
        session, binding = self._session, self._binding
        self.invoke: Callable[[], object] = lambda: session.run_with_iobinding(binding)
        if any(GrowingCache.PAST.fullmatch(each["name"]) for each in self.inputs):
            self.cache = GrowingCache(session, self.inputs, self.outputs)

    @staticmethod
    def _spec(value: Any) -> dict[str, Any]:
        names = {"float": "float32", "double": "float64"}
        inner = re.sub(r"tensor\((\w+)\)", r"\1", value.type)
        shape = [dim if isinstance(dim, int) and dim > 0 else 1 for dim in value.shape]
        return {
            "name": value.name,
            "shape": shape,
            "dynamic": [axis for axis, dim in enumerate(value.shape) if not isinstance(dim, int) or dim <= 0],
            "dtype": names.get(inner, inner),
            "scale": 0.0,
            "zero_point": 0,
        }

    def set_input(self, index: int, array: Any) -> None:
        """Bind an input."""
        self._binding.bind_cpu_input(self.inputs[index]["name"], array)

    def output(self) -> Any:
        """The first output of the last inference."""
        return self._binding.copy_outputs_to_cpu()[0]

    def operators(self, runs: int, deadline_ns: float) -> list[dict[str, Any]]:
        """Names, types and times of the nodes of the optimized graph, in the order in which they run."""
        _timed(self.invoke, runs, deadline_ns)
        path = Path(self._session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        nodes: dict[str, dict[str, Any]] = {}
        for event in sorted((each for each in events if each.get("cat") == "Node"), key=lambda each: int(each["ts"])):
            name, _, kind = event["name"].rpartition("_kernel")
            if kind == "_time":
                facts = event["args"]
                node = {"layer": name, "operator": facts["op_name"], "ns": list[int]()}
                nodes.setdefault(facts["node_index"], node)["ns"].append(1000 * int(event["dur"]))
        return list(nodes.values())


class LiteRT:
    """LiteRT's interpreter, with its XNNPACK delegate or without."""

    MODULE, PACKAGE = "ai_edge_litert", "ai-edge-litert"
    cache: Any = None

    def __init__(self, job: dict[str, Any]) -> None:
        try:
            from ai_edge_litert import interpreter
        except ModuleNotFoundError as error:
            try:
                from tflite_runtime import interpreter  # what it was called before, and still is on many boards
            except ModuleNotFoundError:
                raise error from None
            self.PACKAGE = "tflite-runtime"
        self._runtime, self._job = interpreter, job
        self.version = _version(self.PACKAGE)
        self._given: dict[int, Any] = {}

    def load(self, path: str) -> None:
        """Make an interpreter and allocate its tensors, which is where XNNPACK packs the weights."""
        self._path = path
        resolvers = self._runtime.OpResolverType
        self._interpreter = self._runtime.Interpreter(
            model_path=path,
            num_threads=self._job["threads"],
            experimental_op_resolver_type=(
                resolvers.AUTO if self._job["xnnpack"] else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
        self._interpreter.allocate_tensors()

    def describe(self) -> None:
        """Find inputs and outputs, and whether the delegate took any operators."""
        self._input_details = self._interpreter.get_input_details()
        self._output_details = self._interpreter.get_output_details()
        self.inputs = [self._spec(each) for each in self._input_details]
        self.outputs = [self._spec(each) for each in self._output_details]
        # The log says "Created … delegate" even when it takes nothing; a DELEGATE node is the proof.
        parts = sum(each["op_name"] == "DELEGATE" for each in self._interpreter._get_ops_details())  # noqa: SLF001 - there is no public way
        self.delegate = {0: "none", 1: "XNNPACK"}.get(parts, f"XNNPACK in {parts} parts")
        self.invoke: Callable[[], object] = self._interpreter.invoke
        signatures = self._interpreter.get_signature_list()
        if FixedCache.DECODE in signatures:
            self.cache = FixedCache(self._calls(signatures))

    def _calls(self, signatures: dict[str, Any]) -> dict[str, Any]:
        """What calls each signature, by its name."""
        return {name: CopyingCall(self._interpreter.get_signature_runner(name)) for name in signatures}

    @staticmethod
    def _spec(details: dict[str, Any]) -> dict[str, Any]:
        scale, zero_point = details["quantization"]
        return {
            "name": details["name"],
            "shape": [int(dim) for dim in details["shape"]],
            "dtype": details["dtype"].__name__,
            "scale": float(scale),
            "zero_point": int(zero_point),
        }

    def set_input(self, index: int, array: Any) -> None:
        """Copy an input into the interpreter."""
        self._given[index] = array
        self._interpreter.set_tensor(self._input_details[index]["index"], array)

    def output(self) -> Any:
        """The first output of the last inference."""
        return self._interpreter.get_tensor(self._output_details[0]["index"])

    def operators(self, runs: int, deadline_ns: float) -> list[dict[str, Any]]:
        """Types, names and times of what runs, XNNPACK's own operators too, by an interface that tells them."""
        if not self._job["xnnpack"]:
            raise JobError("unprofiled", "litert tells what operators take with XNNPACK only")
        compiled = CompiledLiteRT(self.version, self._path, self._job["threads"], [*self._given.values()])
        names = {
            (each["op_name"], each["index"]): self._interpreter.get_tensor_details()[each["outputs"][0]]["name"]
            for each in self._interpreter._get_ops_details()  # noqa: SLF001 - there is no public way
            if each["op_name"] != "DELEGATE"
        }
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for _run in range(runs):
            for operator, place, ns in compiled.profile():
                layer = place if isinstance(place, str) else names.get((operator, place), f"#{place}")
                first = {"layer": layer, "operator": operator, "ns": list[int]()}
                found.setdefault((operator, layer), first)["ns"].append(ns)
            if time.perf_counter_ns() > deadline_ns:
                break
        return list(found.values())


class CompiledLiteRT:
    """A file in LiteRT's newer interface, by its C library: only there does the package tell what operators take.

    Args:
        version: Of the package.
        path: Of the file.
        threads: For one inference.
        inputs: Arrays of the file's inputs, in their order.
    """

    SINCE = "2.3"  # the oldest that was tried

    class _TensorType(ctypes.Structure):
        """`LiteRtRankedTensorType`: an element's type and the layout."""

        _fields_ = [
            ("element", ctypes.c_int),
            ("rank", ctypes.c_uint),
            ("sizes", ctypes.c_int * 8),
            ("strides", ctypes.c_uint * 8),
        ]

    class _Event(ctypes.Structure):
        """`ProfiledEventData`."""

        OPERATOR, OPERATOR_OF_DELEGATE = 2, 8
        _fields_ = [
            ("tag", ctypes.c_char_p),
            ("kind", ctypes.c_int),
            ("start_us", ctypes.c_uint64),
            ("elapsed_us", ctypes.c_uint64),
            ("memory", ctypes.c_int64 * 6),
            ("node", ctypes.c_uint64),
            ("graph", ctypes.c_uint64),
            ("source", ctypes.c_int),
        ]

    def __init__(self, version: str, path: str, threads: int, inputs: list[Any]) -> None:
        if [int(each) for each in re.findall(r"\d+", version)[:2]] < [int(each) for each in self.SINCE.split(".")]:
            raise JobError("unprofiled", f"LiteRT {version} does not tell what operators take; {self.SINCE} does")
        try:
            import ai_edge_litert

            self._library = ctypes.CDLL(str(Path(ai_edge_litert.__path__[0], "libLiteRt.so")))
        except (ImportError, OSError) as error:
            raise JobError("unprofiled", f"LiteRT's C library, which tells what operators take: {error}") from None
        self._content = Path(path).read_bytes()  # the model goes on using it
        environment = self._make("Environment", 0, None)
        model = self._make("ModelFromBuffer", environment, self._content, ctypes.c_size_t(len(self._content)))
        options = self._make("Options")
        self._call("SetOptionsHardwareAccelerators", options, 1)  # the CPU
        self._texts = {
            b"runtime_options_string": b"enable_profiling = true\n",
            b"xnnpack": b"num_threads = %d\n" % threads,
        }
        self._keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _text: None)  # in place of what would free a text
        for kind, text in self._texts.items():
            self._call("AddOpaqueOptions", options, self._make("OpaqueOptions", kind, text, self._keep))
        self._model = self._make("CompiledModel", environment, model, options)
        self._profiler = self._get("CompiledModelGetProfiler", self._model)
        signature = self._get("GetModelSignature", model, ctypes.c_size_t(0))
        given, taken = (self._allocate(environment, signature, kind) for kind in ("Input", "Output"))
        for index, array in enumerate(inputs):
            buffer = ctypes.c_void_p(given[index])
            address = self._get("LockTensorBuffer", buffer, after=(1,))  # to write
            ctypes.memmove(address, array.ctypes.data, array.nbytes)
            self._call("UnlockTensorBuffer", buffer)
        self._buffers = (ctypes.c_size_t(len(given)), given, ctypes.c_size_t(len(taken)), taken)

    def _allocate(self, environment: Any, signature: Any, kind: str) -> Any:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{kind}s", signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for index in range(count.value):
            number, tensor_type = ctypes.c_size_t(index), self._TensorType()
            tensor = self._get(f"GetSignature{kind}TensorByIndex", signature, number)
            self._call("GetRankedTensorType", tensor, ctypes.byref(tensor_type))
            for axis in range(8):  # dynamic dimensions are -1 and become 1
                tensor_type.sizes[axis] = abs(tensor_type.sizes[axis])
            needs = self._get(f"GetCompiledModel{kind}BufferRequirements", self._model, ctypes.c_size_t(0), number)
            made = (environment, ctypes.byref(tensor_type), needs)
            buffers[index] = self._make("ManagedTensorBufferFromRequirements", *made)
        return buffers

    def profile(self) -> list[tuple[str, Any, int]]:
        """Run an inference; of each operator of the main graph its type, its node or place in XNNPACK, and nanoseconds.

        LiteRT's own summary is of the first inference only, however often it is asked for.
        """
        self._call("StartProfiler", self._profiler)
        started = time.perf_counter_ns()
        self._call("RunCompiledModel", self._model, ctypes.c_size_t(0), *self._buffers)
        wall_ns = time.perf_counter_ns() - started
        self._call("StopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (self._Event * count.value)()
        self._call("GetProfilerEvents", self._profiler, count, events)
        found: list[tuple[str, Any, int]] = []
        part, last = 1, -1
        for event in events:
            place: Any = event.node
            if event.kind not in (event.OPERATOR, event.OPERATOR_OF_DELEGATE) or event.graph:
                continue
            if event.kind == event.OPERATOR_OF_DELEGATE:
                part, last = part + (event.node <= last), event.node  # each part counts from 0
                place = f"XNNPACK {part}.{event.node}"
            found.append((event.tag.decode("utf-8", "replace"), place, 1000 * event.elapsed_us))
        if not found or sum(ns for _, _, ns in found) > wall_ns + 1000 * len(found):
            raise JobError("unprofiled", "what LiteRT's C library tells of operators is none of it, or more than all")
        return found

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, f"LiteRt{name}")(*arguments)
        except AttributeError:
            raise JobError("unprofiled", f"LiteRT's C library has no LiteRt{name}") from None
        if status:
            raise JobError("unprofiled", f"LiteRT tells nothing of this file's operators: {name} gave {status}")

    def _get(self, name: str, *arguments: Any, after: tuple[Any, ...] = ()) -> ctypes.c_void_p:
        """Call what writes a pointer to where its last argument says, but for those after it."""
        found = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(found), *after)
        return found

    def _make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        return self._get(f"Create{name}", *arguments)


class TensorFlow(LiteRT):
    """The same interpreter as TensorFlow builds it, of another release: a second opinion."""

    MODULE, PACKAGE = "tensorflow", "tensorflow"

    def __init__(self, job: dict[str, Any]) -> None:
        import tensorflow as tf
        from tensorflow.lite.python import interpreter

        self._runtime, self._job = interpreter, job
        self.version = str(tf.__version__)
        self._given = {}

    def operators(self, runs: int, deadline_ns: float) -> list[dict[str, Any]]:  # noqa: ARG002 - as the others
        """Refuse: there is no interface that tells."""
        raise JobError("unprofiled", "tensorflow does not tell what its operators take; litert does")


class CompiledModel(LiteRT):
    """LiteRT's newer interface; its interpreter, which takes no part, tells what goes in and out."""

    def __init__(self, job: dict[str, Any]) -> None:
        from ai_edge_litert import compiled_model

        super().__init__(job)
        self._compiler = compiled_model.CompiledModel

    def load(self, path: str) -> None:
        """Compile it for the CPU and make buffers for all that goes in and out."""
        from ai_edge_litert.cpu_kernel_mode import CpuKernelMode
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        self._path = path
        kernels = CpuKernelMode.DELEGATE if self._job["xnnpack"] else CpuKernelMode.BUILTIN
        on_cpu = CpuOptions(num_threads=self._job["threads"], kernel_mode=kernels)
        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=on_cpu)
        self._model = self._compiler.from_file(path, options=options)
        self._buffers = (self._model.create_input_buffers(0), self._model.create_output_buffers(0))

    def describe(self) -> None:
        """Find inputs and outputs in the order of the buffers."""
        plain = self._runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = self._runtime.Interpreter(model_path=self._path, experimental_op_resolver_type=plain)
        names = next(iter(self._model.get_signature_list().values()))
        known = next(iter(self._interpreter._get_full_signature_list().values()), None)  # noqa: SLF001 - there is no public way
        for kind, details in (
            ("inputs", self._interpreter.get_input_details()),
            ("outputs", self._interpreter.get_output_details()),
        ):
            by_name = {each["name"]: each for each in details}
            if known:
                by_index = {each["index"]: each for each in details}
                by_name = {name: by_index[index] for name, index in known[kind].items()}
            setattr(self, kind, [self._spec(by_name[name]) for name in names[kind]])
        self.delegate = f"{'XNNPACK' if self._job['xnnpack'] else 'none'}, by CompiledModel"
        model, (given, gives) = self._model, self._buffers
        self.invoke = lambda: model.run_by_index(0, given, gives)
        signatures = model.get_signature_list()
        if FixedCache.DECODE in signatures:
            self.cache = FixedCache({name: BufferedCall(model, name) for name in signatures})

    def set_input(self, index: int, array: Any) -> None:
        """Copy an input into its buffer."""
        self._given[index] = array
        self._buffers[0][index].write(array)

    def output(self) -> Any:
        """The first output of the last inference."""
        first = self.outputs[0]
        read = self._buffers[1][0].read(math.prod(first["shape"]), first["dtype"])
        return read.reshape(first["shape"])


class TFLiteMicro:
    """TFLite Micro's interpreter with its reference kernels, in an arena no larger than the target's RAM."""

    MODULE, PACKAGE = "tflite_micro", "tflite-micro"
    delegate = "none"
    cache: Any = None

    def __init__(self, job: dict[str, Any]) -> None:
        from tflite_micro import runtime

        self._runtime, self._job = runtime, job
        self.version = _version(self.PACKAGE)

    def load(self, path: str) -> None:
        """Make an interpreter, or tell a model that is too big from one that can't run at all."""
        content = Path(path).read_bytes()
        limit = self._job.get("ram_bytes")
        if not limit:
            self._interpreter, log = self._attempt(content, ARENA_PROBE_BYTES)
        else:
            self._interpreter, log = self._attempt(content, limit)
            if self._interpreter is None:
                probe, log = self._attempt(content, max(ARENA_PROBE_BYTES, limit))
                if probe is not None:
                    probe.invoke()
                    needed = _arena(probe)["bytes"]
                    message = f"it needs an arena of {needed} bytes; the target has {limit} bytes of RAM"
                    raise JobError("ram_too_small", message, needed_bytes=needed, ram_bytes=limit)
        if self._interpreter is None:
            raise JobError("model_rejected", f"TFLite Micro can't run it: {'; '.join(log) or 'no reason given'}")
        self._content = content

    def _attempt(self, content: bytes, arena_bytes: int) -> tuple[Any, list[str]]:
        with captured_stderr() as log:
            try:
                return self._runtime.Interpreter.from_bytes(content, arena_size=arena_bytes), log
            except RuntimeError:  # what failed is in the log only
                return None, log

    def describe(self) -> None:
        """Find inputs and outputs."""
        graph = self._runtime.convert_bytearray_to_object(self._content).subgraphs[0]
        interpreter = self._interpreter
        self.inputs = [self._spec(graph, k, interpreter.get_input_details(n)) for n, k in enumerate(graph.inputs)]
        self.outputs = [self._spec(graph, k, interpreter.get_output_details(n)) for n, k in enumerate(graph.outputs)]
        self._given: dict[int, Any] = {}
        self.invoke: Callable[[], object] = self._invoke

    def _invoke(self) -> None:
        # Behind its last reader an input's place in the arena is another tensor's: the next run would read that. What
        # it computes would be nobody's, and tokens would lie outside of their table.
        for index, array in self._given.items():
            self._interpreter.set_input(array, index)
        self._interpreter.invoke()

    @staticmethod
    def _spec(graph: Any, tensor: int, details: dict[str, Any]) -> dict[str, Any]:
        name = graph.tensors[tensor].name
        quantization = details["quantization_parameters"]
        scales, zero_points = quantization["scales"], quantization["zero_points"]
        return {
            "name": name.decode("utf-8", "replace") if name else "",
            "shape": [int(dim) for dim in details["shape"]],
            "dtype": details["dtype"].__name__,
            "scale": float(scales[0]) if len(scales) else 0.0,
            "zero_point": int(zero_points[0]) if len(zero_points) else 0,
        }

    def set_input(self, index: int, array: Any) -> None:
        """Keep an input, which each run copies into the arena."""
        self._given[index] = array

    def output(self) -> Any:
        """The first output of the last inference."""
        return self._interpreter.get_output(0)

    def arena(self) -> dict[str, int]:
        """What the last inference used of the arena."""
        return _arena(self._interpreter)


ENGINES: dict[str, Any] = {
    "onnxruntime": OnnxRuntime,
    "litert": LiteRT,
    "litert_compiled_model": CompiledModel,
    "tensorflow": TensorFlow,
    "tflite_micro": TFLiteMicro,
}


def _arena(interpreter: Any) -> dict[str, int]:
    with captured_stderr() as log:
        interpreter.print_allocations()
    found = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", "\n".join(log)))
    if "total" not in found:
        raise JobError("internal", "TFLite Micro did not say what it allocated")
    return {"bytes": int(found["total"]), "head_bytes": int(found["head"]), "tail_bytes": int(found["tail"])}


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Collect what C code prints to standard error; lines are in the list when the block ends."""
    lines: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            lines += file.read().decode("utf-8", "replace").splitlines()


# --- language models: a cache of keys and values between calls, one class a format --------------


class GrowingCache:
    """The cache of an ONNX file, which each call makes longer; what one call gives, the next takes without a copy.

    Tensors are named as edgekd does (`input`, `past_key_0`, `present_key_0`, …) or as optimum and most others
    (`input_ids`, `attention_mask`, `position_ids`, `past_key_values.0.key`, `present.0.key`, …). Logits are those of
    all tokens of a call, or of the last.
    """

    PAST = re.compile(r"past_(key|value)_\d+|past_key_values\.\d+\.(key|value)")
    TOKENS, MASK, POSITIONS = ("input", "input_ids"), "attention_mask", "position_ids"
    limit: int | None = None  # nothing in the file says how far its positions go

    def __init__(self, session: Any, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        import numpy as np

        self._session, self._binding = session, session.io_binding()
        specs = {each["name"]: each for each in inputs}
        self._past = [name for name in specs if self.PAST.fullmatch(name)]
        self._tokens = next((name for name in self.TOKENS if name in specs), "")
        unknown = sorted(set(specs) - {*self._past, self._tokens, self.MASK, self.POSITIONS})
        self._present = [re.sub(r"^past(_key_values)?", "present", name) for name in self._past]
        missing = [each for each in ("logits", *self._present) if each not in {each["name"] for each in outputs}]
        if not self._tokens or unknown or missing:
            said = f"unknown inputs {', '.join(unknown) or 'none'}; missing outputs {', '.join(missing) or 'none'}"
            raise JobError("inputs_unfit", f"it has past keys and values, but is no one file for all tokens: {said}")
        self._specs, self._dtype = specs, np.dtype(specs[self._tokens]["dtype"])
        self.vocabulary = next(each for each in outputs if each["name"] == "logits")["shape"][-1]
        self._logits: dict[int, Any] = {}
        self._ones, self._numbers = (np.zeros((1, 0), dtype) for dtype in self._counts())
        self.reset()

    def _counts(self) -> list[str]:
        """Types of the mask and of the positions."""
        return [str(self._specs.get(name, {}).get("dtype", "int64")) for name in (self.MASK, self.POSITIONS)]

    def reset(self) -> None:
        """Forget all tokens."""
        import numpy as np

        self.length = 0
        for name in self._past:
            _, heads, _, width = self._specs[name]["shape"]
            self._binding.bind_cpu_input(name, np.zeros((1, heads, 0, width), self._specs[name]["dtype"]))

    def feed(self, tokens: list[int]) -> Any:
        """Logits after each of some more tokens, or after the last alone, (rows, V)."""
        rows = self._run(tokens)
        for name, value in zip(self._past, self._binding.get_outputs()[1:]):  # noqa: B905 - Python 3.9 has no `strict`
            self._binding.bind_ortvalue_input(name, value)
        self.length += len(tokens)
        return rows

    def repeat(self, token: int) -> Callable[[], object]:
        """What computes one more token again and again, without keeping it."""
        self._run([token])
        session, binding = self._session, self._binding
        return lambda: session.run_with_iobinding(binding)

    def _run(self, tokens: list[int]) -> Any:
        import numpy as np

        count, end = len(tokens), self.length + len(tokens)
        if end > self._ones.shape[1]:
            mask, positions = self._counts()
            self._ones, self._numbers = np.ones((1, 2 * end), mask), np.arange(2 * end, dtype=positions)[None]
        binding = self._binding
        binding.bind_cpu_input(self._tokens, np.array([tokens], self._dtype))
        if self.MASK in self._specs:
            binding.bind_cpu_input(self.MASK, self._ones[:, :end])
        if self.POSITIONS in self._specs:
            binding.bind_cpu_input(self.POSITIONS, self._numbers[:, self.length : end])
        logits = self._logits.get(count)
        if logits is None:
            binding.bind_output("logits")
        else:
            binding.bind_output("logits", "cpu", 0, logits.dtype, logits.shape, logits.ctypes.data)
        for name in self._present:
            binding.bind_output(name)  # anew: what was there is the past now
        self._session.run_with_iobinding(binding)
        if logits is None:  # of another number of tokens than before; from now on they are written to the same place
            logits = self._logits[count] = binding.get_outputs()[0].numpy()
        return logits.reshape(-1, logits.shape[-1])


class FixedCache:
    """The cache of a TFLite file, of one length, of which each call fills in a part.

    Signatures are `decode`, of one token, and `prefill` or `prefill_16` and the like, of as many; their inputs `tokens`
    (1, T), `positions` or `input_pos` (T,) and `kv_cache_k_0` and so on; their outputs the caches and `logits`, which
    a prefill may leave out. A prompt is filled up to the length of a signature: what stands after its end in the cache
    is not looked at before the next tokens are written over it.

    Args:
        calls: What calls each signature, by its name.
    """

    DECODE, PREFILL, CACHE = "decode", "prefill", "kv_cache_"
    TOKENS, POSITIONS = "tokens", ("positions", "input_pos")

    def __init__(self, calls: dict[str, Any]) -> None:
        self._decode = calls[self.DECODE]
        found = [call for name, call in calls.items() if name.startswith(self.PREFILL)]
        self._prefills = sorted(found, key=lambda call: int(call.shapes[self.TOKENS][-1]))
        for call in (self._decode, *found):
            known = {self.TOKENS, *self.POSITIONS}
            unknown = [name for name in call.shapes if name not in known and not name.startswith(self.CACHE)]
            if unknown or self.TOKENS not in call.shapes:
                raise JobError("inputs_unfit", f"its signatures take inputs that nobody knows: {', '.join(unknown)}")
        self._caches = [name for name in self._decode.shapes if name.startswith(self.CACHE)]
        self.vocabulary = int(self._decode.output_shapes["logits"][-1])
        self.limit = max(int(dim) for dim in self._decode.shapes[self._caches[0]][1:3])
        self.reset()

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = 0
        self._state = self._decode.empty(self._caches)

    def feed(self, tokens: list[int]) -> Any:
        """Logits after each of some more tokens, or after the last alone, (rows, V)."""
        import numpy as np

        if self.length + len(tokens) > self.limit:
            raise JobError("inputs_unfit", f"{self.length + len(tokens)} tokens; its cache has room for {self.limit}")
        rows: list[Any] = []
        done = 0
        while done < len(tokens):
            call, size = self._choose(len(tokens) - done)
            part = tokens[done : done + size]
            found = self._run(call, size, part)
            done += len(part)
            self.length += len(part)
            if found is None and done == len(tokens):  # once more, for its logits
                self.length -= 1
                found = self._run(self._decode, 1, part[-1:])
                self.length += 1
            rows.append(found)
        if any(each is None for each in rows):
            return rows[-1][-1:]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def repeat(self, token: int) -> Callable[[], object]:
        """What computes one more token again and again, without keeping it."""
        return self._decode.prepare(self._given(1, [token], self._decode), self._state)  # type: ignore[no-any-return]

    def _choose(self, left: int) -> tuple[Any, int]:
        """The shortest signature that takes what is left, else the longest that there is room for."""
        room = self.limit - self.length
        sizes = [(call, int(call.shapes[self.TOKENS][-1])) for call in self._prefills]
        fitting = [each for each in sizes if each[1] <= room]
        if left == 1 or not fitting:
            return self._decode, 1
        return next((each for each in fitting if each[1] >= left), fitting[-1])

    def _given(self, size: int, part: list[int], call: Any) -> dict[str, Any]:
        import numpy as np

        positions = next((name for name in self.POSITIONS if name in call.shapes), None)
        numbers = np.arange(self.length, self.length + size, dtype=np.int32)
        given = {self.TOKENS: np.array([part + part[-1:] * (size - len(part))], np.int32)}
        if positions:
            given[positions] = numbers.reshape(call.shapes[positions])
        return given

    def _run(self, call: Any, size: int, part: list[int]) -> Any:
        """Logits of each token of a part, or nothing where the file does not tell those of its last."""
        logits, self._state = call(self._given(size, part, call), self._state)
        if logits is None:
            return None
        rows = logits.reshape(-1, self.vocabulary)
        if len(rows) == size:
            return rows[: len(part)]
        return rows if len(part) == size else None


class BufferedCall:
    """A signature called by LiteRT's newer interface: what it writes of the cache is read next time where it lies."""

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._name = model, name
        signature = model.get_signature_list()[name]
        self._index, self._inputs, self._outputs = (
            model.get_signature_index(name),
            signature["inputs"],
            signature["outputs"],
        )
        self._details = {**model.get_input_tensor_details(name)}
        self.shapes = {each: self._details[each]["shape"] for each in self._inputs}
        self.output_shapes = {each: details["shape"] for each, details in model.get_output_tensor_details(name).items()}
        self._own = {
            **{
                each: model.create_input_buffer_by_name(name, each) for each in self._inputs if not self._is_cache(each)
            },
            **{
                each: model.create_output_buffer_by_name(name, each)
                for each in self._outputs
                if not self._is_cache(each)
            },
        }

    @staticmethod
    def _is_cache(name: str) -> bool:
        return name.startswith(FixedCache.CACHE)

    def empty(self, caches: list[str]) -> Any:
        """Two of each cache: one to read, one to write."""
        import numpy as np

        pairs = []
        for _each in range(2):
            made = {name: self._model.create_input_buffer_by_name(self._name, name) for name in caches}
            for name, buffer in made.items():
                buffer.write(np.zeros(self.shapes[name], self._details[name]["dtype"]))
            pairs.append(made)
        return tuple(pairs)

    def prepare(self, given: dict[str, Any], state: Any) -> Callable[[], object]:
        """What runs it on these inputs."""
        for name, array in given.items():
            self._own[name].write(array)
        read, written = state
        model, index = self._model, self._index
        inputs = [read.get(name) or self._own[name] for name in self._inputs]
        outputs = [written.get(name) or self._own[name] for name in self._outputs]
        return lambda: model.run_by_index(index, inputs, outputs)

    def __call__(self, given: dict[str, Any], state: Any) -> tuple[Any, Any]:
        """Logits, if it gives them, and the caches the other way round."""
        self.prepare(given, state)()
        logits = None
        if "logits" in self._own:
            shape = self.output_shapes["logits"]
            logits = self._own["logits"].read(math.prod(shape), "float32").reshape(shape)
        return logits, state[::-1]


class CopyingCall:
    """A signature called by the interpreter, which copies all that goes in and out."""

    def __init__(self, runner: Any) -> None:
        self._runner, self._details = runner, runner.get_input_details()
        self.shapes = {name: details["shape"] for name, details in self._details.items()}
        self.output_shapes = {name: details["shape"] for name, details in runner.get_output_details().items()}

    def empty(self, caches: list[str]) -> Any:
        """A cache of each."""
        import numpy as np

        return {name: np.zeros(self.shapes[name], self._details[name]["dtype"]) for name in caches}

    def prepare(self, given: dict[str, Any], state: Any) -> Callable[[], object]:
        """What runs it on these inputs."""
        return lambda: self._runner(**given, **state)

    def __call__(self, given: dict[str, Any], state: Any) -> tuple[Any, Any]:
        """Logits, if it gives them, and the caches."""
        found = self._runner(**given, **state)
        return found.pop("logits", None), found


# --- values: the same arithmetic as the file's own -----------------------------------------------


def quantize(values: Any, spec: dict[str, Any]) -> Any:
    """Bring float32 values to the dtype of an input: q = round(x / scale) + zero_point, saturated."""
    import numpy as np

    dtype = np.dtype(spec["dtype"])
    if dtype.kind in "fb":
        return np.ascontiguousarray(values, dtype=dtype)
    scaled = np.rint(values / np.float32(spec["scale"])) + spec["zero_point"] if spec["scale"] else values
    if not spec["scale"] and not np.array_equal(np.rint(values), values):
        raise JobError("inputs_unfit", f"input '{spec['name']}' is {dtype} without a scale, the samples are fractions")
    limits = np.iinfo(dtype)
    return np.ascontiguousarray(np.clip(scaled, limits.min, limits.max), dtype=dtype)


def dequantize(values: Any, spec: dict[str, Any]) -> Any:
    """Bring an output to float32: x = (q - zero_point) · scale."""
    import numpy as np

    if not spec["scale"] or np.dtype(spec["dtype"]).kind == "f":
        return np.asarray(values, dtype=np.float32)
    return ((values.astype(np.int64) - spec["zero_point"]) * spec["scale"]).astype(np.float32)


def random_input(spec: dict[str, Any], seed: int) -> Any:
    """Seeded values for an input nobody gave; indices stay small, for they may look up a table."""
    import numpy as np

    random = np.random.default_rng(seed)
    try:
        dtype = np.dtype(spec["dtype"])
    except TypeError:
        raise JobError("inputs_unfit", f"input '{spec['name']}' is of type {spec['dtype']}; give inputs") from None
    if dtype.kind == "f":
        return random.random(spec["shape"], dtype=np.float32).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, size=spec["shape"], dtype=dtype, endpoint=True)
    return random.integers(0, 2, size=spec["shape"]).astype(dtype)


def _fit_length(engine: Any, job: dict[str, Any]) -> Any:
    """Say how many tokens are fed where a file takes texts of any length, else nothing: no text is one token long."""
    free = [
        spec
        for spec in engine.inputs
        if spec["dtype"] in ("int32", "int64") and len(spec["shape"]) == 2 and 1 in spec.get("dynamic", [])
    ]
    if engine.cache or not free:
        return None
    if job.get("inputs") and len(engine.inputs) == 1:
        import numpy as np

        return np.load(job["inputs"], mmap_mode="r", allow_pickle=False).shape[-1]
    for spec in free:
        spec["shape"][1] = job["length"]
    return job["length"]


def _set_inputs(engine: Any, job: dict[str, Any]) -> None:
    if engine.cache:
        prompt = _prompt(job, engine.cache, job["prompt_lengths"][0])
        engine.invoke = engine.cache.repeat(int(engine.cache.feed(prompt)[-1].argmax()))
        return
    if job.get("inputs") and len(engine.inputs) == 1:
        spec = engine.inputs[0]
        engine.set_input(0, quantize(_samples(job, spec)[:1], spec))
        return
    for index, spec in enumerate(engine.inputs):
        engine.set_input(index, random_input(spec, job["seed"] + index))


def _samples(job: dict[str, Any], spec: dict[str, Any]) -> Any:
    import numpy as np

    samples = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)
    one, wanted = [1, *samples.shape[1:]], list(spec["shape"])
    for axis in spec.get("dynamic", []):
        wanted[axis] = one[axis] if axis < len(one) else 1
    if one != wanted or not len(samples):
        raise JobError("inputs_unfit", f"input '{spec['name']}' is {spec['shape']}, the samples are {samples.shape}")
    return samples


# --- the machine ---------------------------------------------------------------------------------


def describe_machine() -> dict[str, str]:
    """Who runs this; does not change while a job runs."""
    return {"host": platform.node(), "cpu": _cpu(), "arch": platform.machine(), "os": platform.platform()}


def describe_state(system: str) -> dict[str, Any]:
    """What may change while a job runs; all is read and nothing set.

    Frequencies are one for each group of cores that has its own; a zone is too hot where Linux slows the cores for it.
    """
    return {
        "governor": _read(f"{system}/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "throttled": _throttled(),
        **describe_heat(system),
    }


def describe_heat(system: str) -> dict[str, Any]:
    """The part of the state that can be read while a job runs, without starting a program."""
    cpu, thermal = f"{system}/devices/system/cpu", f"{system}/class/thermal"
    zones = [(zone, _number(f"{zone}/temp")) for zone in sorted(Path(thermal).glob("thermal_zone*"))]
    policies = sorted(Path(f"{cpu}/cpufreq").glob("policy*"))
    return {
        "temperature_c": max((each / 1000 for _, each in zones if each is not None), default=None),
        "too_hot": [
            _read(f"{zone}/type") or zone.name
            for zone, temperature in zones
            if temperature is not None and any(temperature >= limit for limit in _limits(zone))
        ],
        "frequencies_hz": [1000 * (_number(f"{policy}/scaling_cur_freq") or 0) for policy in policies],
        "frequency_limits_hz": [1000 * (_number(f"{policy}/scaling_max_freq") or 0) for policy in policies],
    }


def _worst(seen: list[dict[str, Any]]) -> dict[str, Any]:
    """The highest temperature, all zones that were too hot, and the lowest frequencies, of several looks."""
    temperatures = [each["temperature_c"] for each in seen if each["temperature_c"] is not None]
    return {
        "temperature_c": max(temperatures, default=None),
        "too_hot": sorted({zone for each in seen for zone in each["too_hot"]}),
        **{
            key: [min(group) for group in zip(*(each[key] for each in seen))]  # noqa: B905 - Python 3.9 has no `strict`
            for key in ("frequencies_hz", "frequency_limits_hz")
        },
    }


def _limits(zone: Path) -> list[int]:
    """Temperatures, in a thousandth of a degree, from which on Linux slows what heats a zone."""
    kinds = [trip for trip in zone.glob("trip_point_*_type") if _read(str(trip)) == "passive"]
    limits = [_number(str(trip).replace("_type", "_temp")) for trip in kinds]
    return [limit for limit in limits if limit is not None and limit > 0]


def _cpu() -> str:
    product = _read("/proc/device-tree/model")
    info = _read("/proc/cpuinfo") or ""
    name = re.search(r"^(?:model name|Model|Hardware|cpu model)\s*:\s*(.+)$", info, re.MULTILINE)
    if product:
        return product
    return name[1].strip() if name else (platform.processor() or platform.machine())


def _throttled() -> str | None:
    """Flags of a Raspberry Pi, such as `0x50005`; nothing on other machines."""
    try:
        answer = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"throttled=(0x[0-9a-fA-F]+)", answer.stdout)
    return found[1] if found else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _read(path) or ""
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def _memory_bytes(key: str) -> int | None:
    """`VmRSS` now, or `VmHWM`, its highest value so far; unknown off Linux, where only a peak can be had."""
    found = re.search(rf"^{key}:\s*(\d+) kB", _read("/proc/self/status") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _forget_peak() -> None:
    """Bring the high-water mark down to the present, so that a peak while importing is not the model's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


# --- power: one class a source, all with the same two methods ------------------------------------


class Pmic:
    """The power chip of a Raspberry Pi 5, by `vcgencmd`: current times voltage of each rail that it tells both of.

    It does not see what hangs on the 5 V input itself, such as USB, nor its own losses: EXT5V has no current.
    """

    SOURCE = "pmic"

    def __init__(self, system: str) -> None:
        del system

    def start(self) -> None:
        """Ask for a reading, which the firmware takes while the model runs."""
        command = ["vcgencmd", "pmic_read_adc"]
        try:
            self._asked: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            self._asked = None

    def stop(self, seconds: float) -> float | None:
        """Joules that were taken since the start."""
        if self._asked is None:
            return None
        try:
            answer, _ = self._asked.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._asked.kill()
            self._asked.communicate()
            return None
        rails: dict[str, dict[str, float]] = {"A": {}, "V": {}}
        for rail, unit, value in re.findall(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=([\d.]+)\2", answer):
            rails[unit][rail] = float(value)
        both = rails["A"].keys() & rails["V"].keys()
        return seconds * sum(rails["A"][rail] * rails["V"][rail] for rail in both) if both else None


class Ina3221:
    """The power monitor of a Jetson module, by Linux's hwmon: of all that goes into it, which is labelled VDD_IN."""

    SOURCE = "ina3221"

    def __init__(self, system: str) -> None:
        labels = Path(f"{system}/class/hwmon").glob("hwmon*/in*_label")
        found = [each for each in labels if _read(str(each)) == "VDD_IN" and _read(f"{each.parent}/name") == "ina3221"]
        self._channel = re.sub(r"in(\d+)_label$", r"{}\1_input", str(found[0])) if found else ""

    def start(self) -> None:
        """Nothing to do: the chip averages all the time."""

    def stop(self, seconds: float) -> float | None:
        """Joules that were taken since the start."""
        millivolts, milliamperes = (_number(self._channel.format(kind)) for kind in ("in", "curr"))
        return None if millivolts is None or milliamperes is None else seconds * millivolts * milliamperes / 1e6


class Rapl:
    """The energy counters of x86 processors, by Linux's powercap: whole packages, without their memory.

    Only root may read them, unless someone allowed it.
    """

    SOURCE = "rapl"

    def __init__(self, system: str) -> None:
        zones = [str(zone) for zone in Path(f"{system}/class/powercap").glob("intel-rapl:*")]
        names = {zone: _read(f"{zone}/name") or "" for zone in zones}
        self._packages = [zone for zone, name in names.items() if name.startswith("package")]

    def start(self) -> None:
        """Read the counters."""
        self._before = {zone: _number(f"{zone}/energy_uj") for zone in self._packages}

    def stop(self, seconds: float) -> float | None:
        """Joules that were taken since the start; a counter that came to its end began again at 0."""
        del seconds
        microjoules = 0
        for zone, before in self._before.items():
            after, most = _number(f"{zone}/energy_uj"), _number(f"{zone}/max_energy_range_uj")
            if before is None or after is None or not most:
                return None
            microjoules += (after - before) % most
        return microjoules / 1e6 if self._before else None


class Battery:
    """A battery that the whole machine runs on; while it is charged its current says nothing of the machine."""

    SOURCE = "battery"

    def __init__(self, system: str) -> None:
        supplies = [str(supply) for supply in Path(f"{system}/class/power_supply").glob("*")]
        # Those of a mouse or a keyboard are batteries, too.
        self._batteries = [
            supply
            for supply in supplies
            if _read(f"{supply}/type") == "Battery" and _read(f"{supply}/scope") != "Device"
        ]

    def start(self) -> None:
        """Nothing to do: its chip measures all the time."""

    def stop(self, seconds: float) -> float | None:
        """Joules that were taken since the start."""
        watts = [self._watts(battery) for battery in self._batteries]
        known = [each for each in watts if each is not None]
        return seconds * sum(known) if watts and len(known) == len(watts) else None

    @staticmethod
    def _watts(battery: str) -> float | None:
        microwatts, microvolts, microamperes = (
            _number(f"{battery}/{name}_now") for name in ("power", "voltage", "current")
        )
        if _read(f"{battery}/status") != "Discharging":
            return None
        # Some drivers call what flows out negative, some positive.
        if microwatts is not None:
            return abs(microwatts) / 1e6
        return None if microvolts is None or microamperes is None else abs(microvolts * microamperes) / 1e12


METERS: tuple[Any, ...] = (Pmic, Ina3221, Rapl, Battery)


def find_meter(system: str) -> Any:
    """The first meter that tells something, or nothing."""
    for kind in METERS:
        meter = kind(system)
        meter.start()
        if meter.stop(1.0) is not None:
            return meter
    return None


# --- jobs ----------------------------------------------------------------------------------------


def run_job(job_path: Path, events: Events, step: list[str]) -> None:
    """Run one job; `step[0]` always names what is being done, for the error that ends it."""
    job: dict[str, Any] = {**DEFAULTS, **json.loads(job_path.read_text(encoding="utf-8"))}
    modes: dict[str, Callable[..., None]] = {
        "latency": _time_steady,
        "sustained": _sustain,
        "profile": _profile,
        "energy": _measure_energy,
        "load": lambda *_: None,
        "memory": _measure_memory,
        "accuracy": _run_samples,
        "generate": _generate,
        "contexts": _fill_contexts,
        "likelihood": _judge_windows,
        "compare": _take_turns,
        "environment": lambda *_: None,
        "state": lambda *_: None,
    }
    needs_model = job["mode"] not in ("environment", "state")
    if job.get("engine") not in ENGINES or job["mode"] not in modes or (needs_model and "model" not in job):
        raise JobError("bad_job", f"engine {job.get('engine')!r}, mode {job['mode']!r}, model {job.get('model')!r}")

    if job["mode"] == "state":
        events.emit("conditions", when="now", **describe_state(job["sys"]))
        events.emit("done")
        return

    step[0] = "runtime"
    import numpy as np

    engine = _open_engine(job)
    events.emit(
        "environment",
        runner=RUNNER_VERSION,
        python=platform.python_version(),
        numpy=np.__version__,
        runtime=job["engine"],
        runtime_version=engine.version,
        threads=1 if job["engine"] == "tflite_micro" else job["threads"],
        power_source=getattr(find_meter(job["sys"]), "SOURCE", None),
        **describe_machine(),
    )
    if not needs_model:
        events.emit("done")
        return
    step[0] = "model"
    events.emit("model", sha256=_sha256(job["model"]), size_bytes=Path(job["model"]).stat().st_size)
    events.emit("conditions", when="before", **describe_state(job["sys"]))

    step[0] = "load"
    gc.collect()
    gc.disable()
    _forget_peak()
    before_bytes = _memory_bytes("VmRSS")
    started = time.perf_counter_ns()
    engine.load(job["model"])
    load_ns = time.perf_counter_ns() - started
    engine.describe()
    told = {"inputs": engine.inputs, "outputs": engine.outputs, "delegate": engine.delegate}
    events.emit("load", ns=load_ns, **told, length=_fit_length(engine, job))

    step[0] = "inputs"
    _set_inputs(engine, job)
    step[0] = "inference"
    started = time.perf_counter_ns()
    engine.invoke()
    events.emit("first_inference", ns=time.perf_counter_ns() - started)
    modes[job["mode"]](engine, job, events, before_bytes, job_path)
    events.emit("conditions", when="after", **describe_state(job["sys"]))
    events.emit("done")


def _open_engine(job: dict[str, Any]) -> Any:
    """The engine of a job; for a cache LiteRT's newer interface, since its interpreter copies all at each token."""
    if job["engine"] == "litert" and job["cached"]:
        with contextlib.suppress(ImportError):
            return CompiledModel(job)
    return ENGINES[job["engine"]](job)


def _time_steady(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    invoke, clock, limit_ns = engine.invoke, time.perf_counter_ns, int(job["time_limit_s"] * 1e9)
    begun = clock()
    enough_ns, deadline = begun + int(job["warmup_s"] * 1e9), begun + min(limit_ns, int(WARMUP_LIMIT_S * 1e9))
    count, kept, medians, steady = 0, list[int](), list[float](), False
    while not steady and clock() < deadline:
        times = _timed(invoke, max(int(WARMUP_WINDOW_NS / medians[-1]), 1) if medians else 1, deadline)
        count += len(times)
        kept += times[: WARMUP_SAMPLES_KEPT - len(kept)]
        medians.append(statistics.median(times))
        steady = count >= job["warmup_runs"] and clock() >= enough_ns and is_steady(medians)
    events.emit("warmup", count=count, ns=kept, steady=steady)

    samples: list[int] = []
    seen: list[dict[str, Any]] = []
    looked = clock()
    deadline = looked + limit_ns
    wanted = min(RUNS_OF_P99, job["runs"])
    while len(samples) < wanted:
        samples += _timed(invoke, wanted - len(samples), min(deadline, looked + LOOK_EVERY_NS))
        if clock() > deadline:
            break
        if clock() > looked + LOOK_EVERY_NS:
            seen.append(describe_heat(job["sys"]))
            invoke()  # with what the look took from the caches
            looked = clock()
        if len(samples) == wanted:
            if is_narrow(samples, job["interval_width"]):
                break
            wanted = min(wanted * 5 // 4, job["runs"])
    if seen:
        events.emit("conditions", when="during", **_worst(seen))
    events.emit("samples", ns=samples)


def _sustain(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    begun = ended = time.perf_counter_ns()
    end_ns, runs = begun + int(job["sustained_s"] * 1e9), 1
    seconds: list[dict[str, Any]] = []
    while ended < end_ns:
        times = _timed(engine.invoke, runs, ended + 1e9)
        seconds.append({"start_s": (ended - begun) / 1e9, "ns": times[:: -(-len(times) // SUSTAINED_KEPT_PER_S)]})
        ended = time.perf_counter_ns()
        runs = max(int(1.1e9 / statistics.median(times)), 1)
    events.emit("sustained", seconds=seconds)


def _profile(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    if not hasattr(engine, "operators"):
        tell = "onnxruntime, litert and benchmark_model do"
        raise JobError("unprofiled", f"{job['engine']} does not tell what its operators take; {tell}")
    deadline = time.perf_counter_ns() + int(job["time_limit_s"] * 1e9)
    operators = engine.operators(PROFILE_WARMUP_RUNS + PROFILE_RUNS, deadline)
    for each in operators:
        each["ns"] = each["ns"][PROFILE_WARMUP_RUNS:] or each["ns"][-1:]
    events.emit("profile", operators=operators)


def _measure_energy(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    meter = find_meter(job["sys"])
    if meter is None:
        return  # a laptop that was plugged in just now
    part_s, parts = job["time_limit_s"] / ENERGY_PARTS, list[dict[str, Any]]()
    time.sleep(part_s)  # loading was work
    idle = [_take_power(meter, part_s, None) for _ in range(ENERGY_PARTS // 2)]
    deadline = time.perf_counter() + 3 * job["time_limit_s"]
    while len(parts) < FEWEST_PARTS or (len(parts) < ENERGY_PARTS * 3 // 2 and time.perf_counter() < deadline):
        parts.append(_take_power(meter, part_s, engine.invoke))
    warming = len(parts) // 3
    events.emit("energy", source=meter.SOURCE, idle=idle, warmup=parts[:warming], parts=parts[warming:])


def _take_power(meter: Any, seconds: float, invoke: Callable[[], object] | None) -> dict[str, Any]:
    """Seconds and joules of a stretch of time, idle or with as many inferences as it holds, one at least."""
    clock, runs = time.perf_counter, 0
    meter.start()
    began = clock()
    if invoke is None:
        time.sleep(seconds)
    else:
        while clock() < began + seconds:
            invoke()
            runs += 1
    elapsed_s = clock() - began
    return {"s": elapsed_s, "runs": runs, "j": meter.stop(elapsed_s)}


def is_steady(medians: list[float]) -> bool:
    """Whether nothing changed any more in the second half of a warm-up: by Pettitt's test, or by too little to matter.

    Pettitt, Applied Statistics 28:126-135 (1979): U_t = sum over i <= t < j of sgn(x_j - x_i), K = max |U_t|, and a
    change as large happens by chance with p = 2 exp(-6 K^2 / (n^3 + n^2)).

    Args:
        medians: Of equal stretches of time, in their order.
    """
    import numpy as np

    recent = np.array(medians[max(len(medians) // 2, len(medians) - STEADY_WINDOWS[1]) :])
    n = len(recent)
    if n < STEADY_WINDOWS[0]:
        return False
    shifts = np.abs(np.cumsum(np.sign(recent[None, :] - recent[:, None]).sum(axis=1)))[:-1]
    change = int(shifts.argmax()) + 1
    chance = 2 * np.exp(-6.0 * shifts.max() ** 2 / (n**3 + n**2))
    before, after = np.median(recent[:change]), np.median(recent[change:])
    return bool(chance > STEADY_CHANCE or abs(after - before) <= STEADY_SHARE * after)


def is_narrow(samples: list[int], width: float) -> bool:
    """Whether the distribution-free 95 % intervals of p50 and p90 are no wider than that share of the quantiles.

    Their ends are the samples of ranks n q -+ 1.96 sqrt(n q (1 - q)): near enough to stop by; whoever reads the samples
    computes the exact ones.
    """
    ordered, n = sorted(samples), len(samples)
    for q in (0.5, 0.9):
        reach = 1.96 * (n * q * (1 - q)) ** 0.5
        low, high = math.floor(n * q - reach), math.ceil(n * q + reach)
        if low < 0 or high >= n or ordered[high] - ordered[low] > width * ordered[int(n * q)]:
            return False
    return True


def _take_turns(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    other_job = {**job, **job["other"]}
    events.emit("other", sha256=_sha256(other_job["model"]))
    other = ENGINES[other_job["engine"]](other_job)
    other.load(other_job["model"])
    other.describe()
    _fit_length(other, other_job)
    _set_inputs(other, other_job)

    invokes, clock = (engine.invoke, other.invoke), time.perf_counter_ns
    warmup: tuple[list[int], list[int]] = ([], [])
    enough_ns = clock() + int(job["warmup_s"] * 1e9)
    while not warmup[0] or clock() < enough_ns:
        for which in (0, 1):
            warmup[which].extend(_timed(invokes[which], TURN_RUNS))
    runs = [min(max(int(TURN_NS / statistics.median(times)), TURN_RUNS), MOST_TURN_RUNS) for times in warmup]

    turns: list[tuple[int, list[int]]] = []
    deadline = clock() + int(job["time_limit_s"] * 1e9)
    while len(turns) < 4 * TURN_ROUNDS or (clock() < deadline and len(turns) * max(runs) < MOST_TIMED):
        turns += [(which, _timed(invokes[which], runs[which])) for which in (0, 1, 1, 0)]  # a steady drift cancels out
    events.emit("turns", model=[ns for which, ns in turns if not which], other=[ns for which, ns in turns if which])


def _timed(invoke: Callable[[], object], runs: int, deadline_ns: float = math.inf) -> list[int]:
    """Nanoseconds of each inference; the deadline, on the clock, is looked at after each."""
    clock, samples = time.perf_counter_ns, [0] * runs
    for index in range(runs):
        started = clock()
        invoke()
        ended = clock()
        samples[index] = ended - started
        if ended > deadline_ns:
            return samples[: index + 1]
    return samples


def _measure_memory(engine: Any, job: dict[str, Any], events: Events, before_bytes: int | None, _: Path) -> None:
    limit = time.perf_counter() + job["time_limit_s"]
    for _run in range(MEMORY_RUNS):
        engine.invoke()
        if time.perf_counter() > limit:
            break
    if isinstance(engine, TFLiteMicro):
        events.emit("arena", **engine.arena())
        return
    peak_bytes = _memory_bytes("VmHWM")
    if before_bytes is None or peak_bytes is None:
        return  # a number that says nothing would keep every budget
    added_bytes = max(0, peak_bytes - before_bytes)
    events.emit("memory", before_bytes=before_bytes, peak_bytes=peak_bytes, added_bytes=added_bytes)


def _run_samples(engine: Any, job: dict[str, Any], events: Events, _: int | None, job_path: Path) -> None:
    import numpy as np

    if not job.get("inputs") or len(engine.inputs) != 1:
        raise JobError("inputs_unfit", f"accuracy needs inputs and one input tensor; it has {len(engine.inputs)}")
    spec, out_spec = engine.inputs[0], engine.outputs[0]
    samples = _samples(job, spec)
    outputs: Any = None  # allocated when the first output says how large it is
    for index in range(len(samples)):
        engine.set_input(0, quantize(samples[index : index + 1], spec))
        engine.invoke()
        row = dequantize(engine.output(), out_spec)
        row = row[0] if row.ndim > 1 and row.shape[0] == 1 else row
        if outputs is None:
            outputs = np.empty((len(samples), *row.shape), dtype=np.float32)
        outputs[index] = row
    path = job_path.with_suffix(".outputs.npy")
    np.save(path, outputs)
    events.emit("outputs", path=str(path), shape=list(outputs.shape), sha256=_sha256(str(path)))


def _prompt(job: dict[str, Any], cache: Any, length: int) -> list[int]:
    """The start of the first text, where there is one as long, else seeded tokens: what they are costs nothing."""
    import numpy as np

    if job.get("inputs"):
        first = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)[0]
        if first.size >= length:
            return [int(each) for each in first.reshape(-1)[:length]]
    random = np.random.default_rng(job["seed"])
    return [int(each) for each in random.integers(0, max(cache.vocabulary, 2), size=length)]


def _cache_of(engine: Any, job: dict[str, Any]) -> Any:
    if engine.cache is None:
        raise JobError("uncached", f"{job['mode']} is of language models with a cache, which this file is not")
    return engine.cache


def _generate(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    cache, clock, (least, most) = _cache_of(engine, job), time.perf_counter_ns, GENERATIONS
    for length in sorted(job["prompt_lengths"]):
        if cache.limit and length + job["new_tokens"] > cache.limit:
            what = f"a prompt of {length} and {job['new_tokens']} new tokens: its cache has room for {cache.limit}"
            events.emit("warning", message=what)
            continue
        prompt, texts, tokens = _prompt(job, cache, length), list[list[int]](), list[int]()
        deadline = clock() + int(job["time_limit_s"] * 1e9)
        with _as_far_as_it_goes(events, f"a prompt of {length} and {job['new_tokens']} new tokens"):
            while len(texts) <= least or (len(texts) <= most and clock() < deadline):
                tokens, times = _write_text(cache, prompt, job["new_tokens"])
                texts.append(times)
            told = {"warmup_ns": texts[0], "ns": texts[1:], "tokens": tokens}
            events.emit("generation", prompt_length=length, **told)


def _write_text(cache: Any, prompt: list[int], count: int) -> tuple[list[int], list[int]]:
    """The most probable tokens after a prompt, and the nanoseconds that each took; the first with all of the prompt."""
    clock = time.perf_counter_ns
    cache.reset()
    given, tokens, times = prompt, list[int](), list[int]()
    while len(tokens) < count:
        started = clock()
        tokens.append(int(cache.feed(given)[-1].argmax()))
        times.append(clock() - started)
        given = tokens[-1:]
    return tokens, times


@contextlib.contextmanager
def _as_far_as_it_goes(events: Events, what: str) -> Iterator[None]:
    """Go on after a length that a file can't do: not all say how far their positions go."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - runtimes raise what they like; whoever reads the events hears of it
        events.emit("warning", message=f"{what}: {_one_line(error)}")


def _fill_contexts(engine: Any, job: dict[str, Any], events: Events, before_bytes: int | None, _: Path) -> None:
    cache = _cache_of(engine, job)
    for length in sorted(job["contexts"]):
        if cache.limit and length > cache.limit:
            events.emit("warning", message=f"a context of {length} tokens: its cache has room for {cache.limit}")
            continue
        with _as_far_as_it_goes(events, f"a context of {length} tokens"):
            _forget_peak()
            tokens = _prompt(job, cache, length)
            cache.reset()
            if length > 1:
                cache.feed(tokens[:-1])
            cache.feed(tokens[-1:])
            peak_bytes = _memory_bytes("VmHWM")
            if before_bytes is not None and peak_bytes is not None:
                events.emit("context", length=length, added_bytes=max(0, peak_bytes - before_bytes))


def _judge_windows(engine: Any, job: dict[str, Any], events: Events, *_: object) -> None:
    """How likely texts are to the file: of each the mean negative log-likelihood of its tokens but the first."""
    import numpy as np

    cache, nats, counts = _cache_of(engine, job), list[float](), list[int]()
    if not job.get("inputs"):
        raise JobError("inputs_unfit", "likelihood needs inputs")
    windows = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)
    if windows.ndim != 2 or windows.shape[1] < 2:
        raise JobError("inputs_unfit", f"texts of shape {windows.shape}, not (N, tokens), 2 or more")
    for index, window in enumerate(windows):
        tokens = [int(each) for each in window]
        if not 0 <= min(tokens) <= max(tokens) < cache.vocabulary:
            raise JobError("inputs_unfit", f"text {index} has tokens past the model's {cache.vocabulary}")
        cache.reset()
        rows = cache.feed(tokens[:-1])
        if len(rows) < len(tokens) - 1:  # the file tells those of the last token alone
            cache.reset()
            rows = np.concatenate([np.array(cache.feed([each])) for each in tokens[:-1]])
        rows = np.asarray(rows, np.float64)
        highest = rows.max(axis=1)
        total = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))
        nats.append(float((total - rows[np.arange(len(rows)), tokens[1:]]).mean()))
        counts.append(len(rows))
    events.emit("likelihood", nats=nats, counts=counts)


def main(argv: list[str]) -> int:
    """Run the job named on the command line; every failure is an event and exit code 1."""
    _die_with_parent()
    events, step = Events(), ["job"]
    try:
        run_job(Path(argv[1]), events, step)
    except JobError as error:
        events.emit("error", kind=error.kind, message=_one_line(error), **error.facts)
    except Exception as error:  # noqa: BLE001 - runtimes raise what they like; the reader of the events raises it again
        kind = "runtime_missing" if isinstance(error, ImportError) else KIND_OF_FAILURE[step[0]]
        if step[0] == "inference" and isinstance(error, OSError):
            kind = "outputs_unwritable"  # a full disk is not the model's fault
        events.emit("error", kind=kind, message=_one_line(error) or type(error).__name__)
    else:
        return 0
    return 1


def _die_with_parent() -> None:
    """An edgekd killed with -9 can't stop its runner, which would disturb the next measurement; Linux can."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MESSAGE_CHARACTERS]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
