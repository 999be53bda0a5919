"""A classifier or language model of Hugging Face transformers, from a local folder or by its name on the hub."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgekd.errors import ModelError
from edgekd.frameworks.language_models import open_language_model
from edgekd.frameworks.transformers import check_tokens, open_classifier, try_out
from edgekd.records import TOKEN_TASKS, Task, Tokens


def load(
    *,
    outputs: int,
    input_shape: tuple[int, ...],
    model: str | None = None,
    weights: Path | None = None,
    tokens: Tokens | None = None,
    revision: str = "main",
    task: Task = "single_label",
) -> nn.Module:
    """Load an image, audio or text classifier, or a language model, as a frozen teacher.

    Nothing but numbers and settings is read: no code of a repository runs, and files of torch's older format are read
    with `weights_only=True`. A local folder needs no network.

    Args:
        outputs: How many logits the data asks for per sample.
        input_shape: Of one sample: (C, H, W) for images, (T,) or (T, F) for sounds, (T,) for text, whose samples are
            token indices.
        model: Its name on the hub, where there is no folder.
        weights: The folder that `save_pretrained` wrote.
        tokens: Of data that are texts: the teacher must mean the same by them.
        revision: Branch, tag or commit on the hub; a commit can't change.
        task: Of the data.

    Returns:
        From (B, *input_shape) to (B, outputs); a language model to (B, T, outputs).

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
    place = Path(weights) if weights is not None else str(model)
    if task in TOKEN_TASKS:
        language_model = open_language_model(
            place, task, vocabulary=outputs, pad=tokens.pad if tokens else None, revision=revision
        )
        return language_model.requires_grad_(requires_grad=False)
    teacher = open_classifier(place, outputs=outputs, revision=revision).requires_grad_(False)
    if tokens is not None:
        check_tokens(teacher, tokens, input_shape[0], place, revision=revision)
    try_out(teacher, tuple(input_shape), str(place))
    return teacher
