"""Files that are newer than the target's runtime."""

from __future__ import annotations

from collections.abc import Iterator

from edgekd.inspection import Anatomy
from edgekd.lints import _litert, _onnxruntime
from edgekd.lints._graph import finding, parse, runtime_of, version_of
from edgekd.lints._tflite_releases import release_of
from edgekd.records import Finding, Target


def find(*, graph: Anatomy, target: Target) -> Iterator[Finding]:
    """Hold a file's versions against the newest that the target's runtime reads.

    ONNX: IR version and operator set, against those of the release. TFLite: schema and versions of operators; where the
    target names a release (as TensorFlow numbers them), what that one had, and the metadata `min_runtime_version`.

    Args:
        graph: What is in the file.
        target: Where it shall run.

    >>> from edgekd.records import TensorSpec
    >>> end = TensorSpec(name="x", shape=(1, 8), dtype="float32")
    >>> file = Anatomy(
    ...     format="onnx", inputs=(end,), outputs=(end,), operators=(), parameters=0, macs=0, dtypes=(), layers=(),
    ...     size_bytes=100, layout="flat", versions={"ir": 10, "ai.onnx": 20}
    ... )
    >>> target = Target(name="it", description="", runtimes=("onnxruntime",),
    ... runtime_versions={"onnxruntime": "1.17.0"})
    >>> [each.what for each in find(graph=file, target=target)]
    ["the file's IR version is 10; ONNX Runtime 1.17.0 reads up to 9"]
    """
    runtime = runtime_of(graph, target)
    if runtime == "onnxruntime":
        yield from _of_onnx(graph, target)
    elif runtime in ("litert", "tflite_micro"):
        yield from _of_tflite(graph, target, runtime)


def _of_onnx(graph: Anatomy, target: Target) -> Iterator[Finding]:
    version = version_of("onnxruntime", target, _onnxruntime.VERSION)
    newest = _onnxruntime.newest_stamps(version)
    if newest is None:
        return
    stamps = (("IR version", "ir", newest[0]), ("operator set", "ai.onnx", newest[1]))
    for what, key, most in stamps:
        if graph.versions.get(key, 0) > most:
            yield finding(
                __name__,
                "error",
                target,
                f"the file's {what} is {graph.versions[key]}; ONNX Runtime {version} reads up to {most}",
                f"export it with {what} {most}, or update the runtime",
            )


def _of_tflite(graph: Anatomy, target: Target, runtime: str) -> Iterator[Finding]:
    schema = graph.versions.get("schema", _litert.SCHEMA)
    if schema != _litert.SCHEMA:
        yield finding(
            __name__,
            "error",
            target,
            f"the file's schema is version {schema}; {runtime} reads {_litert.SCHEMA}",
            "convert the model again",
        )
    if runtime != "litert":  # TFLite Micro has one kernel for all versions
        return
    has = target.runtime_versions.get(runtime)
    if has is not None:
        yield from _of_release(graph, target, has)
        return
    for node in graph.nodes:
        most = _litert.VERSIONS.get(node.operator)
        if not node.domain and most and node.version > most:
            yield finding(
                __name__,
                "error",
                target,
                f"{node.operator} is of version {node.version}; LiteRT {_litert.VERSION} reads up to {most}",
                "update LiteRT, or convert with an older converter",
                node,
            )


def _of_release(graph: Anatomy, target: Target, has: str) -> Iterator[Finding]:
    """Hold operators against a release of TensorFlow's TFLite, the metadata too: quantizers leave it as it was."""
    needed, newer = graph.metadata.get("min_runtime_version", ""), False
    for node in graph.nodes:
        release = None if node.domain else release_of(node.operator, node.version)
        if release is not None and parse(release) > parse(has):
            newer = True
            yield finding(
                __name__,
                "error",
                target,
                f"{node.operator} of version {node.version} is in TFLite since {release}; {target.name} has {has}",
                "update the runtime, or convert with an older converter",
                node,
            )
    if not newer and parse(needed) > parse(has):
        yield finding(
            __name__,
            "error",
            target,
            f"the file needs a runtime of TensorFlow {needed}; {target.name} has {has}",
            "update the runtime, or convert with an older converter",
        )
