"""What a study leaves behind: plain tables that reports draw. Imports no jax.

A run folder holds `study.json` (one `StudyRecord`) and `arrays.nc` (an `xarray.DataTree` with the
arrays named in docs/design.md).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from pwact.errors import PwactError

SCHEMA = 1

VerdictName = Literal["supported", "refuted", "undetermined", "inadmissible"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A point estimate with its two-sided interval at `level`."""

    estimate: float
    low: float
    high: float
    level: float = 0.95


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One inequality of a verdict rule and what was measured for it.

    Args:
        name: what was measured, e.g. "AII_s".
        side: whether meeting the rule speaks to `support` or `refute`.
        bound: which end of the interval is compared; a `lower` one has to lie above the threshold, an
            `upper` one below.
        threshold: what it is compared with.
        strict: whether a bound on the threshold itself misses it.
        interval: the measured value.
        met: whether the rule holds.

    Example:
        >>> Criterion("Gini", "support", "lower", 0.6, False, Interval(0.7, 0.65, 0.75), True).rule
        'lower bound >= 0.6'
    """

    name: str
    side: Literal["support", "refute"]
    bound: Literal["lower", "upper"]
    threshold: float
    strict: bool
    interval: Interval
    met: bool

    @property
    def rule(self) -> str:
        """The inequality in words."""
        sign = (">" if self.bound == "lower" else "<") + ("" if self.strict else "=")
        return f"{self.bound} bound {sign} {self.threshold:g}"


@dataclasses.dataclass(frozen=True)
class Control:
    """The same metric measured on a network or an order where the answer should differ."""

    metric: str
    network: str
    interval: Interval


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One prediction's verdict. `p_value` and `p_holm` are of the refutation where it decided,
    of the support rule elsewhere."""

    prediction: str
    reading: str
    title: str
    verdict: VerdictName
    p_value: float
    p_holm: float
    criteria: list[Criterion]
    controls: list[Control]
    explanation: str
    how: str


@dataclasses.dataclass(frozen=True)
class PlantedCheck:
    """A metric on a network built by hand, whose answer is known."""

    network: str
    expected: str
    found: float
    passed: bool


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Does one metric tell `bag` from `relation`, and does it see what was planted?"""

    metric: str
    prediction: str
    auroc: float
    required_auroc: float
    bag: list[float]
    relation: list[float]
    planted: list[PlantedCheck]
    admissible: bool
    how: str


@dataclasses.dataclass(frozen=True)
class Network:
    """One kind of network in the study. `accuracy` is over its seeds, on the named split."""

    name: str
    description: str
    seeds: int
    split: str
    accuracy: Interval
    parameters: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class StudyRecord:
    """Everything a report says in words and tables."""

    title: str
    question: str
    preset: str
    dataset: dict[str, Any]
    configuration: dict[str, Any]
    summary: list[str]
    networks: list[Network]
    calibration: list[Calibration]
    verdicts: list[Verdict]
    limits: list[str]
    provenance: dict[str, Any]
    schema: int = SCHEMA


NUMBER = (float, float | int)
"""How a field that holds a number, or NaN where it is undefined, may be declared."""

Record = TypeVar("Record")


def to_json(record: Any) -> str:
    """The record as strict JSON: no NaN, no Infinity, stable order.

    A measured number that is undefined (NaN) is written as `null` and read back as NaN; an infinity,
    and a NaN inside the free dictionaries, is refused.

    Args:
        record: a `StudyRecord`, or another dataclass with a `schema` whose name ends in `Record`.

    Returns:
        JSON text that ends with a newline.

    Raises:
        PwactError: a value that JSON cannot hold; the message says where it is.

    Example:
        >>> record = StudyRecord("Title", "Question?", "quick", {}, {}, [], [], [], [], [], {})
        >>> from_json(to_json(record)) == record
        True
    """
    kind = type(record)
    return json.dumps(_encode(record, kind, _word(kind)), indent=1, allow_nan=False) + "\n"


def from_json(text: str, source: str = "the text", kind: type[Record] = StudyRecord) -> Record:  # type: ignore[assignment]
    """The record that `to_json` wrote.

    Args:
        text: JSON of one record.
        source: what to call the text in an error, e.g. its path.
        kind: the class of the record.

    Returns:
        The record, every field checked against its declared type.

    Raises:
        PwactError: not JSON, not a record of that kind, another schema, or a field that is missing, unknown
            or of the wrong type.
    """
    word, schema = _word(kind), kind.schema  # type: ignore[attr-defined]
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PwactError(
            f"{_a(word)} as strict JSON in {source}", str(error), f"run the {word} again; the file is damaged"
        ) from error
    if not isinstance(data, dict) or "schema" not in data:
        raise PwactError(
            f"{_a(word)} in {source}",
            "JSON without a schema number",
            f"give the folder that {_a(word)} wrote",
        )
    if data["schema"] != schema:
        raise PwactError(
            f"{_a(word)} of schema {schema} in {source}",
            f"schema {data['schema']!r}",
            f"read it with the pwact that wrote it, or run the {word} again",
        )
    return _decode(data, kind, word, source)


def write_record(record: Any, path: str | os.PathLike[str]) -> Path:
    """Write a record to `path` in one step: the file is the old one or the new one, never a half.

    Args:
        record: as `to_json` takes it.
        path: the file, `study.json` in a run folder; its folder must exist.

    Returns:
        The path.

    Raises:
        PwactError: a value that JSON cannot hold, or a file that cannot be written.
    """
    return write_text(to_json(record), path)


def read_record(path: str | os.PathLike[str], kind: type[Record] = StudyRecord) -> Record:  # type: ignore[assignment]
    """Read the record that `write_record` wrote.

    Args:
        path: the file, `study.json` in a run folder.
        kind: the class of the record.

    Returns:
        The record.

    Raises:
        PwactError: no such file, unreadable, truncated, or not a record of this kind and schema.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "bytes that are not UTF-8 text"
        word = _a(_word(kind))
        raise PwactError(f"{word} in {path}", found, f"give the folder that {word} wrote") from error
    return from_json(text, str(path), kind)


def write_text(text: str, path: str | os.PathLike[str]) -> Path:
    """Write UTF-8 text to `path` in one step, through a temporary file beside it.

    Args:
        text: the content.
        path: the file; replaced if it exists, its folder must exist.

    Returns:
        The path.

    Raises:
        PwactError: the file cannot be written (no folder, no right, no space); nothing is left behind.
    """
    path = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise PwactError(
                f"to write {path}",
                error.strerror or str(error),
                "make room there, or choose a folder that exists and is yours",
            ) from error
        raise
    return path


def _word(kind: type) -> str:
    """`study` of StudyRecord."""
    return kind.__name__.removesuffix("Record").lower()


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _again(where: str) -> str:
    return f"run the {where.partition('.')[0]} again"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _encode(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if type(value) is not kind:
            raise PwactError(f"{kind.__name__} at {where}", type(value).__name__, "build it from its class")
        hints = typing.get_type_hints(kind)
        return {
            field.name: _encode(getattr(value, field.name), hints[field.name], f"{where}.{field.name}")
            for field in dataclasses.fields(kind)
        }
    if typing.get_origin(kind) is list and isinstance(value, list | tuple):
        (item,) = typing.get_args(kind)
        return [_encode(each, item, f"{where}[{i}]") for i, each in enumerate(value)]
    value = _plain(value, where, undefined=kind in NUMBER)
    _check(value, kind, where, "the record")
    return value


def _plain(value: Any, where: str, undefined: bool = False) -> Any:
    """Python's own numbers, strings, lists and dictionaries; NumPy scalars become numbers."""
    if not isinstance(value, str) and getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if undefined and math.isnan(value):
            return None
        raise PwactError(f"a finite number at {where}", repr(value), "find out where it was measured")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each, f"{where}[{i}]") for i, each in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(each, f"{where}.{key}") for key, each in value.items()}
    raise PwactError(
        f"text, numbers, lists or dictionaries with text keys at {where}",
        f"{type(value).__name__} {value!r:.80}",
        "put arrays into arrays.nc and write the rest as text",
    )


def _decode(value: Any, kind: Any, where: str, source: str) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = list(hints)
        if not isinstance(value, dict) or set(value) != set(names):
            found = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise PwactError(f"{where} in {source} to have {', '.join(names)}", f"{found}", _again(where))
        return kind(**{name: _decode(value[name], hints[name], f"{where}.{name}", source) for name in names})
    if typing.get_origin(kind) is list and isinstance(value, list):
        (item,) = typing.get_args(kind)
        return [_decode(each, item, f"{where}[{i}]", source) for i, each in enumerate(value)]
    _check(value, kind, where, source)
    if kind in NUMBER:
        return math.nan if value is None else float(value)
    return value


def _check(value: Any, kind: Any, where: str, source: str) -> None:
    origin = typing.get_origin(kind)
    if origin is Literal:
        good = isinstance(value, str) and value in typing.get_args(kind)
    elif kind in NUMBER:
        good = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        good = good and (value is None or math.isfinite(value))
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool)
    else:
        good = isinstance(value, origin or kind)
    if not good:
        expected = " or ".join(typing.get_args(kind)) if origin is Literal else _type_name(kind)
        raise PwactError(f"{expected} at {where} in {source}", f"{value!r:.80}", _again(where))


def _type_name(kind: Any) -> str:
    if kind in NUMBER:
        return "a number"
    return str(kind) if isinstance(kind, types.GenericAlias) else getattr(kind, "__name__", str(kind))
