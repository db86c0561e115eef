"""What can be set by name: fields of architecture and recipe, what is derived of them, data, streams."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pwact.core.registry import nearest
from pwact.errors import PwactError
from pwact.models.architecture import Architecture, from_text
from pwact.train.grids.draft import Draft, depth, width, with_depth, with_width
from pwact.train.grids.values import typed
from pwact.train.treatment import STREAMS, check_seeds

SHAPES: dict[str, tuple[Callable[[Any], int], Callable[[Any, int], Any], frozenset[str]]] = {
    "depth": (depth, with_depth, frozenset({"widths", "strides"})),
    "width": (width, with_width, frozenset({"widths"})),
}
"""By name: how it is read of an architecture, how set, and which fields it needs. Set in this order."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One thing that can be set.

    Args:
        home: `architecture`, `recipe`, `shape` (derived of the architecture), `data` or `stream`; `whole` for
            the architecture itself.
        name: in its home.
        kind: annotation of its value.
    """

    home: str
    name: str
    kind: Any

    @property
    def qualified(self) -> str:
        """The name that is never ambiguous."""
        if self.home == "whole":
            return self.name
        return f"{'architecture' if self.home == 'shape' else self.home}.{self.name}"

    @property
    def touches(self) -> frozenset[str]:
        """What it sets, to tell whether two of them set the same."""
        if self.home == "shape":
            return frozenset({f"architecture.{field}" for field in SHAPES[self.name][2]})
        return frozenset({self.qualified})

    def read(self, base: Draft) -> Any:
        """Its value in a draft."""
        if self.home == "whole":
            return base.config
        if self.home == "shape":
            return SHAPES[self.name][0](base.config)
        if self.home == "stream":
            return base.streams.get(self.name)
        owner = {"architecture": base.config, "recipe": base.recipe, "data": base}[self.home]
        return getattr(owner, self.name)

    def value(self, given: Any) -> Any:
        """What a person gave as the value that it takes; raises a PwactError that names it."""
        value = typed(self.name, self.kind, given)
        if self.home == "stream":
            check_seeds([value])
        return value


def settings_of(base: Draft) -> list[Setting]:
    """Everything that can be set of a draft."""
    kinds = {"architecture": base.config, "recipe": base.recipe}
    found = [
        Setting(home, name, kind)
        for home, owner in kinds.items()
        for name, kind in _annotations(owner).items()
    ]
    fields = {setting.name for setting in found if setting.home == "architecture"}
    found += [
        Setting("shape", name, int)
        for name, (_, _, needed) in SHAPES.items()
        if needed <= fields and name not in fields
    ]
    found += [Setting("whole", "architecture", str | Architecture)]
    found += [Setting("data", "images", int), Setting("data", "corruption", str | None)]
    return found + [Setting("stream", name, int) for name in STREAMS]


def setting(name: str, base: Draft, homes: tuple[str, ...] | None = None) -> Setting:
    """The one thing that a name means.

    Args:
        name: alone or with its home, such as `recipe.momentum`.
        base: whose architecture and recipe are spoken of.
        homes: where to look; everywhere if not given.

    Raises:
        PwactError: nothing of that name (the nearest are shown), or several.
    """
    known = [each for each in settings_of(base) if homes is None or each.home in homes]
    found = [each for each in known if name in (each.name, each.qualified)]
    if not found:
        names = sorted(
            {each.name for each in known} | ({each.qualified for each in known} if "." in name else set())
        )
        raise PwactError("the name of something that can be set", repr(name), nearest(name, names))
    if len(found) > 1:
        raise PwactError(
            f"one thing called {name}",
            ", ".join(each.qualified for each in found),
            f"write {' or '.join(each.qualified for each in found)}",
        )
    return found[0]


def applied(base: Draft, chosen: Mapping[Setting, Any]) -> Draft:
    """A draft with some of its settings changed, fields all at once, as some only fit together.

    Raises:
        PwactError: values that make no architecture or recipe.
    """

    def of(home: str) -> dict[str, Any]:
        return {each.name: value for each, value in chosen.items() if each.home == home}

    config = of("whole").get("architecture", base.config)
    if isinstance(config, str):
        config = from_text(config, base.config.image_shape, base.config.num_classes)
    config = _replaced(config, of("architecture"))
    for name, (_, change, _) in SHAPES.items():
        if name in of("shape"):
            config = change(config, of("shape")[name])
    recipe = _replaced(base.recipe, of("recipe"))
    streams = {name: seed for name, seed in of("stream").items() if seed is not None}
    return dataclasses.replace(
        base, config=config, recipe=recipe, streams={**base.streams, **streams}, **of("data")
    )


def _replaced(owner: Any, changes: dict[str, Any]) -> Any:
    if not changes:
        return owner
    try:
        return dataclasses.replace(owner, **changes)
    except (TypeError, ValueError) as error:  # an architecture of one's own raises what it likes
        values = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        raise PwactError(
            f"fields that make a {type(owner).__name__}", f"{values} ({error})", "correct the values"
        ) from error


def _annotations(owner: Any) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(type(owner))
    except NameError:  # annotations that only a type checker can read
        hints = {}
    return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(owner) if field.init}
