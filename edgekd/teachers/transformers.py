"""A classifier of Hugging Face transformers, from a local folder or by its name on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd import registry
from edgekd.errors import ModelError

# By the end of the architecture's name in config.json: the class that loads it, and what its input is called.
_KINDS = {
    "ForImageClassification": ("AutoModelForImageClassification", "pixel_values"),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "input_ids"),
}
_ALLOWED = "a folder with config.json and model.safetensors"


def load(
    *,
    outputs: int,
    input_shape: tuple[int, ...],
    model: str | None = None,
    weights: Path | None = None,
    revision: str = "main",
) -> nn.Module:
    """Load an image or text classifier as a frozen teacher.

    Nothing but numbers and settings is read: no code of a repository runs, and files of torch's older format are read
    with `weights_only=True`. A local folder needs no network.

    Args:
        outputs: How many logits the data asks for per sample.
        input_shape: Of one sample: (C, H, W) for images, (T,) for text, whose samples are token indices.
        model: Its name on the hub, where there is no folder.
        weights: The folder that `save_pretrained` wrote.
        revision: Branch, tag or commit on the hub; a commit can't change.

    Returns:
        From (B, *input_shape) to (B, outputs).

    Raises:
        ModelError: Missing, damaged, of another task, or it does not fit the data.
        MissingExtraError: transformers is not installed.

    >>> import tempfile
    >>> try:
    ...     load(outputs=2, input_shape=(3, 8, 8), weights=Path(tempfile.mkdtemp()))
    ... except ModelError as error:
    ...     print(error.what)
    the folder holds no config.json
    """
    if weights is None and model is None:
        raise ModelError("neither a folder nor a name", allowed="weights = 'folder', or model = 'name on the hub'")
    local = weights is not None
    where = str(weights) if local else str(model)
    if weights is not None:
        _check_folder(Path(weights))
    transformers = registry.require("transformers", "a transformers teacher")
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
    if not local:
        options["revision"] = revision
    with _quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(where, **options)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"no configuration can be read: {_first_line(error)}", where=where) from None
        loader, input_name = _kind_of(config, where)
        if config.num_labels != outputs:
            raise ModelError(
                f"has {config.num_labels} classes, the data asks for {outputs}",
                where=where,
                next_step="take one that was fine-tuned for these classes",
            )
        network = _read(getattr(transformers, loader), config, where, options)
    teacher = _Classifier(network, input_name, getattr(config, "pad_token_id", None)).eval().requires_grad_(False)
    _try_out(teacher, tuple(input_shape), outputs, where)
    return teacher


class _Classifier(nn.Module):
    """Takes one tensor and gives logits, where transformers take keywords and give records."""

    def __init__(self, network: nn.Module, input_name: str, pad_token: int | None) -> None:
        super().__init__()
        self.network, self.input_name, self.pad_token = network, input_name, pad_token

    def forward(self, inputs: Tensor) -> Tensor:
        """From (B, *input_shape) float32 to (B, classes) float32."""
        if self.input_name == "pixel_values":
            logits: Tensor = self.network(pixel_values=inputs).logits
            return logits.float()
        tokens = inputs.round().long()
        mask = torch.ones_like(tokens) if self.pad_token is None else (tokens != self.pad_token).long()
        logits = self.network(input_ids=tokens, attention_mask=mask).logits
        return logits.float()


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError("not a folder" if folder.exists() else "no such folder", where=str(folder), allowed=_ALLOWED)
    if not (folder / "config.json").is_file():
        raise ModelError("the folder holds no config.json", where=str(folder), allowed=_ALLOWED)


def _kind_of(config: Any, where: str) -> tuple[str, str]:
    names = getattr(config, "architectures", None) or []
    for ending, kind in _KINDS.items():
        if any(name.endswith(ending) for name in names):
            return kind
    raise ModelError(
        f"its architecture is {', '.join(names) or 'not said'}",
        where=where,
        allowed=", ".join(f"...{ending}" for ending in _KINDS),
    )


def _read(loader: Any, config: Any, where: str, options: dict[str, Any]) -> nn.Module:
    from safetensors import SafetensorError

    try:
        network, report = loader.from_pretrained(
            where, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"its weights can't be read: {_first_line(error)}", where=where, allowed=_ALLOWED) from None
    for what in ("missing_keys", "mismatched_keys"):
        if names := sorted(str(name) for name in report.get(what) or ()):
            # transformers would go on with random numbers in their place.
            raise ModelError(
                f"weights are {what.removesuffix('_keys')}: {', '.join(names[:3])}{' and more' * (len(names) > 3)}",
                where=where,
                next_step="take one that was fine-tuned for classification",
            )
    found: nn.Module = network
    return found


def _try_out(teacher: nn.Module, input_shape: tuple[int, ...], outputs: int, where: str) -> None:
    try:
        with torch.inference_mode():
            found = teacher(torch.zeros(2, *input_shape))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ModelError(f"can't take samples of shape {input_shape}: {_first_line(error)}", where=where) from None
    if found.shape != (2, outputs):
        raise ModelError(f"gives shape {tuple(found.shape[1:])}, the data asks for ({outputs},)", where=where)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without progress bars and advice, which are set for the whole process; puts back what was set."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
