"""Finds plug-ins by file name and by entry point; reads what they are without importing them.

A plug-in is one file: its name is the plug-in's name in recipes and in `--help`, the first line of its
docstring is its summary, and the keyword-only parameters of its one function are its options. All that
is read from the source, so that checking a recipe never imports torch.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekd.errors import ConfigError, EdgekdError, MissingExtraError, did_you_mean

# The function that each kind of plug-in defines.
ENTRY = {
    "networks": "build",
    "teachers": "load",
    "datasets": "load",
    "augmentations": "augment",
    "losses": "loss",
    "metrics": "score",
    "exporters": "export",
    "quantizers": "quantize",
    "calibrators": "limits",
    "corrections": "correct",
    "packagers": "pack",
    "formats": "read",
    "lints": "find",
    "announcers": "write",
    "runtimes": "prepare",
    "transports": "connect",
}
# Parameters that edgekd passes itself; all others are options of a recipe.
PASSED = {
    "networks": {"classes", "input_shape", "tokens"},
    "teachers": {"network", "weights", "model", "outputs", "input_shape", "task", "tokens"},
    "datasets": {"validation", "test", "seed", "tokens"},
    "calibrators": {"stream", "bits"},
    "corrections": {"network", "samples", "precision", "progress"},
    "lints": {"graph", "target"},
    "announcers": {"release", "run", "places"},
    "packagers": {"cargo", "folder"},
    "augmentations": {"seed", "view", "indices", "inputs", "partners"},
    "losses": {"student", "teacher", "labels", "indices", "student_feature", "teacher_feature", "mask", "projector"},
}
# What each extra brings: distributions and the modules in them. The empty one is the base.
EXTRAS = {
    "": (("numpy", "numpy"), ("onnx", "onnx"), ("onnxruntime", "onnxruntime"), ("ai-edge-litert", "ai_edge_litert")),
    "train": (("torch", "torch"), ("safetensors", "safetensors"), ("scikit-learn", "sklearn")),
    "export": (
        ("litert-torch", "litert_torch"),
        ("ai-edge-quantizer", "ai_edge_quantizer"),
        ("onnxscript", "onnxscript"),
    ),
    "micro": (("tflite-micro", "tflite_micro"),),
    "npu": (("ethos-u-vela", "ethosu"),),
    "mlflow": (("mlflow-skinny", "mlflow"), ("sqlalchemy", "sqlalchemy"), ("alembic", "alembic")),
    "scale": (("accelerate", "accelerate"), ("tensorboard", "tensorboard")),
    "audio": (("kaldi-native-fbank", "kaldi_native_fbank"), ("soundfile", "soundfile"), ("soxr", "soxr")),
    "images": (("pillow", "PIL"),),
    "hub": (("datasets", "datasets"),),
    "keras": (("tensorflow", "tensorflow"), ("tf2onnx", "tf2onnx")),
    "text": (("tokenizers", "tokenizers"),),
    "transformers": (("transformers", "transformers"), ("optimum-onnx", "optimum")),
}
EXTRA_OF = {module: extra for extra, packages in EXTRAS.items() if extra for _, module in packages}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An option of a plug-in, as its source declares it."""

    name: str
    annotation: str
    default: str | None

    @property
    def required(self) -> bool:
        """Whether a recipe must give it."""
        return self.default is None


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """What is known of a plug-in without importing it."""

    kind: str
    name: str
    module: str
    function: str
    file: Path
    summary: str
    parameters: tuple[Parameter, ...]


def names(kind: str) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, built in and by entry point `edgekd.<kind>`.

    >>> "kl" in names("losses")
    True
    """
    return tuple(sorted(_modules(kind)))


def describe(kind: str, name: str) -> PlugIn:
    """Read a plug-in's summary and options from its source.

    Args:
        kind: A key of `ENTRY`.
        name: A file name, an entry point, or the user's own `module:function`.

    Raises:
        ConfigError: No such plug-in; the message lists those there are.

    >>> [option.name for option in describe("losses", "kl").parameters]
    ['temperature']
    """
    module, function = _locate(kind, name)
    return _describe(kind, name, module, function)


def passed(kind: str, name: str) -> set[str]:
    """What edgekd gives to a plug-in's function, of all that it could, as its source says.

    >>> sorted(passed("losses", "kl"))
    ['student', 'teacher']
    """
    described = _describe(kind, name, *_locate(kind, name), own_options=False)
    return PASSED[kind] & {parameter.name for parameter in described.parameters}


def load(kind: str, name: str) -> ModuleType:
    """Import a built-in or entry-point plug-in.

    Raises:
        ConfigError: No such plug-in.
        MissingExtraError: It needs a package that is not installed; says which extra brings it.
    """
    return _import(_locate(kind, name)[0], f"{kind} plug-in '{name}'")


def function(kind: str, name: str) -> Callable[..., Any]:
    """The one function of a plug-in, or the user's own `module:function`."""
    module_name, function_name = _locate(kind, name)
    module = _import(module_name, f"{kind} plug-in '{name}'")
    try:
        found: Callable[..., Any] = getattr(module, function_name)
    except AttributeError:
        raise ConfigError(
            f"module '{module_name}' has no function '{function_name}'",
            next_step=did_you_mean(function_name, dir(module)),
        ) from None
    return found


def estimates(runtime: ModuleType) -> bool:
    """Whether a runtime plug-in only estimates what a file takes, and never runs one."""
    return getattr(runtime, "ESTIMATES", False)


def feeds_cache(runtime: ModuleType) -> bool:
    """Whether a runtime plug-in gives language models the keys and values of earlier tokens."""
    return getattr(runtime, "FEEDS_CACHE", False)


def runs_here(transport: str) -> bool:
    """Whether a transport's programs run on this machine's processor."""
    return getattr(load("transports", transport), "ON_THIS_MACHINE", False)


def require(module: str, purpose: str) -> ModuleType:
    """Import a package of an extra, or say which extra brings it."""
    return _import(module, purpose)


def require_all(modules: Iterable[str]) -> None:
    """Check that modules are installed, without importing them.

    Raises:
        MissingExtraError: Names all that are not, and the one command that adds them.

    >>> require_all(["json", "numpy"])
    """
    missing = sorted({module for module in modules if importlib.util.find_spec(module) is None})
    if missing:
        extras = sorted({EXTRA_OF[module] for module in missing if module in EXTRA_OF})
        # Such as experiment trackers, which people choose themselves.
        others = [module for module in missing if module not in EXTRA_OF]
        wanted = [f"'edgekd[{','.join(extras)}]'"] if extras else []
        raise MissingExtraError(
            f"not installed: {', '.join(missing)}", next_step=f"pip install {' '.join(wanted + others)}"
        )


@functools.cache
def _modules(kind: str) -> dict[str, str]:
    folder = Path(__file__).parent / kind
    found = {
        file.stem: f"edgekd.{kind}.{file.stem}" for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")
    }
    for point in metadata.entry_points(group=f"edgekd.{kind}"):
        if point.name in found:
            raise ConfigError(
                f"two {kind} plug-ins are called '{point.name}': {found[point.name]} and {point.value}",
                next_step="uninstall or rename one",
            )
        found[point.name] = point.value
    return found


def _locate(kind: str, name: str) -> tuple[str, str]:
    if ":" in name:
        module, _, function_name = name.partition(":")
        return module, function_name
    modules = _modules(kind)
    if name not in modules:
        raise ConfigError(
            f"unknown {kind.rstrip('s') if kind != 'losses' else 'loss'} '{name}'",
            allowed=f"{', '.join(sorted(modules))}, or module:function of your own",
            next_step=did_you_mean(name, modules),
        )
    return modules[name], ENTRY[kind]


def _describe(kind: str, name: str, module: str, function_name: str, *, own_options: bool = True) -> PlugIn:
    file = _source_file(module)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ConfigError(f"not Python: {error.msg} in line {error.lineno}", where=str(file)) from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function_name:
            summary = (ast.get_docstring(tree) or ast.get_docstring(node) or "").split("\n")[0]
            given = PASSED.get(kind, set()) if own_options else set[str]()
            parameters = tuple(each for each in _parameters(node) if each.name not in given)
            return PlugIn(
                kind=kind,
                name=name,
                module=module,
                function=function_name,
                file=file,
                summary=summary,
                parameters=parameters,
            )
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    raise ConfigError(
        f"no function '{function_name}' in {file.name}",
        where=name,
        allowed=", ".join(functions) or "none is defined there",
        next_step=did_you_mean(function_name, functions),
    )


def _parameters(node: ast.FunctionDef) -> Iterator[Parameter]:
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        yield Parameter(
            name=argument.arg,
            annotation=ast.unparse(argument.annotation) if argument.annotation else "object",
            default=None if default is None else ast.unparse(default),
        )


def _source_file(module: str) -> Path:
    with _working_folder_importable():
        try:
            spec = importlib.util.find_spec(module)
        except (ModuleNotFoundError, ValueError):
            spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"no Python module '{module}'",
            next_step="run edgekd in the folder that holds it, or install it",
        )
    return Path(spec.origin)


def _import(module: str, purpose: str) -> ModuleType:
    with _working_folder_importable():
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in EXTRA_OF:
                raise MissingExtraError(
                    f"{purpose} needs '{missing}', which is not installed",
                    next_step=f"pip install 'edgekd[{EXTRA_OF[missing]}]'",
                ) from None
            if missing == module.partition(".")[0]:
                raise ConfigError(f"no Python module '{module}'", where=purpose) from None
            raise EdgekdError(f"{purpose} needs '{missing}', which is not installed") from error


class _working_folder_importable:  # noqa: N801 - reads as a verb phrase in `with`
    """The user's own modules lie in the working folder; the installed command does not search it."""

    def __enter__(self) -> None:
        self._folder = str(Path.cwd())
        self._added = self._folder not in sys.path
        if self._added:
            sys.path.append(self._folder)

    def __exit__(self, *_: object) -> None:
        if self._added:
            sys.path.remove(self._folder)
