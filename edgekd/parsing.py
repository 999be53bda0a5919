"""Checks JSON of unknown origin against the types of records."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from edgekd.errors import StoreError

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

T = TypeVar("T")


def parse_json(content: bytes, kind: type[T], where: str) -> T:
    """Check JSON against the type of a record.

    Args:
        content: The text.
        kind: Record, or `list[record]`.
        where: The file that it is of.

    Raises:
        StoreError: Not JSON, or not such a record; says which key.

    >>> parse_json(b"[1, 2.5]", list[float], "numbers.json")
    [1.0, 2.5]
    """
    return _checked(kind, where, lambda validator: validator.validate_json(content))


def check_parsed(value: object, kind: type[T], where: str) -> T:
    """Check what JSON was parsed to, as `parse_json` does.

    >>> check_parsed([1, 2.5], tuple[float, ...], "numbers.json")
    (1.0, 2.5)
    """
    return _checked(kind, where, lambda validator: validator.validate_python(value))


def _checked(kind: type[T], where: str, check: Callable[[SchemaValidator], T]) -> T:
    from pydantic import ValidationError

    collects = gc.isenabled()
    gc.disable()  # nothing here refers to itself; to look for that among millions of numbers takes a fourth of the time
    try:
        found = check(_validator(kind))  # type: ignore[arg-type]  # types are hashable
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"not what edgekd wrote: {key or 'file'}: {first['msg']}",
            where=where,
            next_step="run the stage that makes it again",
        ) from None
    finally:
        if collects:
            gc.enable()
    return found


@functools.cache
def _validator(kind: type) -> SchemaValidator:
    """What checks a type, up to the first wrong item: of eight megabytes of wrong ones pydantic keeps six gigabytes."""
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    def hasty(schema: Any) -> Any:
        if isinstance(schema, list | tuple):
            return type(schema)(map(hasty, schema))
        if not isinstance(schema, dict):
            return schema
        more = {"fail_fast": True} if schema.get("type") in ("list", "tuple") else {}
        return {key: hasty(value) for key, value in schema.items()} | more

    return SchemaValidator(hasty(TypeAdapter(kind).core_schema))
