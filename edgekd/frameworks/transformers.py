"""Classifiers of Hugging Face transformers, from a local folder or by their names on the hub."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd import registry
from edgekd.errors import ModelError
from edgekd.frameworks import optimum
from edgekd.records import Tokens

ALLOWED = "a folder with config.json and model.safetensors"
OFF_THE_HUB = "check the name and the connection, or give a local folder that save_pretrained wrote: weights = 'folder'"
CONFIG_FILE = "config.json"
Kind = Literal["image", "text", "audio"]
# By the end of the architecture's name in config.json.
_KINDS: dict[str, Kind] = {
    "ForImageClassification": "image",
    "ForAudioClassification": "audio",
    "ForSequenceClassification": "text",
}
# The class that loads it, and what its input is called.
_LOADERS: dict[Kind, tuple[str, str]] = {
    "image": ("AutoModelForImageClassification", "pixel_values"),
    "audio": ("AutoModelForAudioClassification", "input_values"),
    "text": ("AutoModelForSequenceClassification", "input_ids"),
}

_CAPTURING = "transformers.utils.output_capturing"
# They tell of libraries that transformers finds and no classifier needs, and of each try to reach the hub.
_CHATTY = ("torchao", "torch.utils._pytree", "huggingface_hub")


class Classifier(nn.Module):
    """Takes one tensor and gives logits, where transformers take keywords and give records."""

    def __init__(self, network: nn.Module, kind: Kind, pad_token: int | None) -> None:
        """Wrap a network of transformers.

        Args:
            network: That gives a record with `logits`.
            kind: What it classifies.
            pad_token: Of text, what fills up short ones.
        """
        super().__init__()
        self.network, self.kind, self.pad_token = network, kind, pad_token
        self.takes_tokens = kind == "text"
        self.config: Any = network.config

    def __getstate__(self) -> dict[str, Any]:
        # transformers installs these when a network is first called, and again when they are missing; they can't be
        # copied or pickled.
        for module in self.network.modules():
            hooks = module._forward_hooks  # noqa: SLF001 - torch has no public way to see them
            for key in [key for key, hook in hooks.items() if hook.__module__ == _CAPTURING]:
                del hooks[key]
            vars(module).pop("_output_capturing_hooks_installed", None)
        return dict(vars(self))

    def forward(self, inputs: Tensor) -> Tensor:
        """From (B, *input_shape) float32 to (B, classes) float32; tokens may be integers, too."""
        if self.kind != "text":
            logits: Tensor = self.network(**{_LOADERS[self.kind][1]: inputs}).logits
            return logits.float()
        tokens = (inputs.round() if inputs.is_floating_point() else inputs).long()
        mask = torch.ones_like(tokens) if self.pad_token is None else (tokens != self.pad_token).long()
        logits = self.network(input_ids=tokens, attention_mask=mask).logits
        return logits.float()

    def write_onnx(self, example: NDArray[np.float32], path: Path, *, any_length: bool = False) -> bool:
        """Write itself through optimum, as `edgekd.exporters.onnx` lets networks do that know better.

        Returns:
            Whether optimum knows the architecture; else nothing is written.
        """
        if not optimum.knows(self):
            return False
        optimum.write_onnx(self, example, path, any_length=any_length)
        return True


def open_classifier(place: str | Path, *, outputs: int | None = None, revision: str = "main") -> Classifier:
    """Load an image, audio or text classifier.

    Nothing but numbers and settings is read: no code of a repository runs, and files of torch's older format are read
    with `weights_only=True`. A folder needs no network.

    Args:
        place: A folder that `save_pretrained` wrote, as a path; a name on the hub, as a text.
        outputs: How many logits it must have; `None` is any number.
        revision: Branch, tag or commit on the hub.

    Returns:
        In evaluation mode.

    Raises:
        ModelError: Missing, damaged, of another task, or of another number of outputs.
        MissingExtraError: transformers is not installed.

    >>> import tempfile
    >>> try:
    ...     open_classifier(Path(tempfile.mkdtemp()))
    ... except ModelError as error:
    ...     print(error.what)
    the folder holds no config.json
    """
    where = str(place)
    if isinstance(place, Path):
        check_folder(place)
    transformers = registry.require("transformers", "a network of transformers")
    options = options_of(place, revision)
    with quiet(transformers):
        config = read_config(transformers, place, options)
        kind = _kind_of(transformers, config, where)
        if outputs is not None and config.num_labels != outputs:
            raise ModelError(
                f"has {config.num_labels} classes, the data asks for {outputs}",
                where=where,
                next_step="take one that was fine-tuned for these classes",
            )
        network = read_network(getattr(transformers, _LOADERS[kind][0]), config, where, options, "for classification")
    _plain_weights(network)
    return Classifier(network, kind, getattr(config, "pad_token_id", None)).eval()


def options_of(place: str | Path, revision: str) -> dict[str, Any]:
    """Give what every `from_pretrained` is told: no code of a repository, no network for a folder."""
    if isinstance(place, Path):
        return {"trust_remote_code": False, "local_files_only": True}
    return {"trust_remote_code": False, "local_files_only": False, "revision": revision}


def read_config(transformers: Any, place: str | Path, options: dict[str, Any]) -> Any:
    """Read the configuration of a network.

    Raises:
        ModelError: There is none, or none that can be read.
    """
    try:
        return transformers.AutoConfig.from_pretrained(str(place), **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"no configuration can be read: {first_line(error)}",
            where=str(place),
            allowed=ALLOWED,
            next_step=None if isinstance(place, Path) else OFF_THE_HUB,
        ) from None


def check_folder(folder: Path) -> None:
    """Check that there is something to load, without transformers.

    Raises:
        ModelError: There is not.
    """
    if not folder.is_dir():
        raise ModelError("not a folder" if folder.exists() else "no such folder", where=str(folder), allowed=ALLOWED)
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"the folder holds no {CONFIG_FILE}", where=str(folder), allowed=ALLOWED)


def _kind_of(transformers: Any, config: Any, where: str) -> Kind:
    names = getattr(config, "architectures", None) or []
    found = next((kind for ending, kind in _KINDS.items() if any(name.endswith(ending) for name in names)), None)
    if found is None:
        raise ModelError(
            f"its architecture is {', '.join(names) or 'not said'}",
            where=where,
            allowed=", ".join(f"...{ending}" for ending in _KINDS),
        )
    # Wav2Vec2 and its like call themselves classifiers of sequences, too.
    return "audio" if type(config) in transformers.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING else found


def read_network(loader: Any, config: Any, where: str, options: dict[str, Any], use: str) -> nn.Module:
    """Read a network and all of its weights.

    Args:
        loader: A class of transformers.
        config: Of the network.
        where: Folder or name.
        options: For the class.
        use: What it must have been trained for, for messages.

    Raises:
        ModelError: Weights that can't be read, or that are not there.
    """
    from safetensors import SafetensorError

    try:
        network, report = loader.from_pretrained(
            where, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if _is_pickle(error):
            raise ModelError(
                "refused: its weights are a pickle that holds code, or is damaged",
                where=where,
                allowed=ALLOWED,
                next_step="if you trust it, load it where it comes from and save it with save_pretrained",
            ) from None
        raise ModelError(f"its weights can't be read: {first_line(error)}", where=where, allowed=ALLOWED) from None
    for what in ("missing_keys", "mismatched_keys"):
        if names := sorted(str(name) for name in report.get(what) or ()):
            # transformers would go on with random numbers in their place.
            raise ModelError(
                f"weights are {what.removesuffix('_keys')}: {', '.join(names[:3])}{' and more' * (len(names) > 3)}",
                where=where,
                next_step=f"take one that was fine-tuned {use}",
            )
    found: nn.Module = network
    return found


def _is_pickle(error: BaseException | None) -> bool:
    """Whether transformers gave up because torch refused a pickle."""
    while error is not None:
        if isinstance(error, pickle.UnpicklingError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _plain_weights(network: nn.Module) -> None:
    """Replace weights that are computed from others (weight normalization) by what they are: those can't be pickled."""
    from torch.nn.utils import parametrize

    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]  # a ModuleDict
                parametrize.remove_parametrizations(module, name)


def check_tokens(classifier: Classifier, tokens: Tokens, length: int, place: str | Path, *, revision: str) -> None:
    """Check that a classifier of texts means by token numbers what the data mean.

    Args:
        classifier: Of `open_classifier`.
        tokens: Of the data.
        length: Of the data's samples, in tokens.
        place: Where the classifier is from; its own tokenizer, if there is one beside it, is compared.
        revision: Branch, tag or commit on the hub.

    Raises:
        ModelError: It is no classifier of texts, has other tokens, or takes shorter texts.
    """
    where, config = str(place), classifier.config
    if classifier.kind != "text":
        raise ModelError(f"classifies {classifier.kind}, the data are texts", where=where)
    own = (
        f'give the data its tokenizer: tokenizer = "{where}"'
        if isinstance(place, Path)
        else (f'give the data its tokenizer: hub_tokenizer = "{where}"')
    )
    if tokens.vocabulary > config.vocab_size:
        raise ModelError(
            f"it knows {config.vocab_size} tokens, the data's tokenizer {tokens.vocabulary}", where=where, next_step=own
        )
    if None not in (tokens.pad, classifier.pad_token) and tokens.pad != classifier.pad_token:
        raise ModelError(
            f"it fills up with token {classifier.pad_token}, the data with {tokens.pad}", where=where, next_step=own
        )
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and length > longest:
        raise too_long(longest, length, where)
    beside = find_beside(place, "tokenizer.json", revision=revision)
    if beside is None or not tokens.tokenizer:
        return
    library = registry.require("tokenizers", "the tokenizer of a teacher")
    try:
        known, used = library.Tokenizer.from_file(str(beside)), library.Tokenizer.from_str(tokens.tokenizer)
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing more special
        raise ModelError(f"its tokenizer can't be read: {first_line(error)}", where=str(beside)) from None
    if known.get_vocab() != used.get_vocab():
        raise ModelError("another tokenizer than its own made the data's tokens", where=where, next_step=own)


def too_long(most: int, length: int, where: str) -> ModelError:
    """Say what to do about texts of more tokens than a network has positions for."""
    return ModelError(
        f"it takes {most} tokens, the data's texts have {length}", where=where, next_step="lower data.length"
    )


def try_out(classifier: Classifier, input_shape: tuple[int, ...], where: str) -> None:
    """Let a classifier take two samples of a shape.

    Raises:
        ModelError: It can't, or gives something else than one logit for each class.
    """
    try:
        with torch.inference_mode():
            found = classifier(torch.zeros(2, *input_shape))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ModelError(f"can't take samples of shape {input_shape}: {first_line(error)}", where=where) from None
    outputs = classifier.config.num_labels
    if found.shape != (2, outputs):
        raise ModelError(f"gives shape {tuple(found.shape[1:])}", where=where, allowed=f"({outputs},): its classes")


def find_beside(place: str | Path, name: str, *, revision: str = "main") -> Path | None:
    """Find a file that lies beside a network, in its folder or in the hub's cache; `None` where there is none.

    Args:
        place: As of `open_classifier`, which has been called.
        name: Of the file.
        revision: Branch, tag or commit on the hub.
    """
    if isinstance(place, Path):
        return place / name if (place / name).is_file() else None
    hub = registry.require("huggingface_hub", "a network on the hub")
    found = hub.try_to_load_from_cache(place, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def first_line(error: BaseException) -> str:
    """Say what went wrong in one line."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without progress bars and advice, which are set for the whole process; puts back what was set."""
    of_transformers = transformers.utils.logging
    verbosity, bars = of_transformers.get_verbosity(), of_transformers.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        of_transformers.set_verbosity(verbosity)
        if bars:
            of_transformers.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
