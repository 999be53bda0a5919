"""What is packed for a file that nobody named packagers for."""

from dataclasses import replace
from pathlib import Path

from edgekd.records import Model, TensorSpec
from edgekd.stages.package.choosing import tasks_of

ONE = TensorSpec(name="input", shape=(1, None), dtype="int64")
MODEL = Model(
    name="m.onnx",
    path=Path("m.onnx"),
    format="onnx",
    precision="fp32",
    role="student",
    sha256="",
    size_bytes=1,
    inputs=(ONE,),
)


def names(model: Model) -> set[str]:
    return {task.name for task in tasks_of(model, (), None, text=True)}


def test_what_describes_one_input_is_not_tried_with_keys_and_values() -> None:
    assert names(MODEL) == {"model_card", "onnx_metadata", "ort", "snippets", "tokenizer"}
    causal = replace(MODEL, inputs=(ONE, replace(ONE, name="past_key_0", shape=(1, 2, None, 8), dtype="float32")))
    assert names(causal) == names(MODEL) - {"snippets"}
    assert names(replace(MODEL, format="tflite")) - names(replace(causal, format="tflite")) == {
        "snippets",
        "text_task",
        "tflite_metadata",
    }
