"""Declare a task's settings as a frozen dataclass: one place for flags, help texts, recipe files and what is stored.

The command line goes before the recipe, and the recipe before the default.
"""

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from golu.activations import unknown_name
from workbench.cli.arguments import Parser, truth
from workbench.cli.errors import UserError

S = TypeVar("S")


def setting(kind: Callable[[str], Any], default: Any, purpose: str, stored: bool = True) -> Any:
    """Declare a field of a settings dataclass.

    Args:
        kind: parses a word of the command line; bool: a flag that turns it on or off; truth: True, False or nothing.
        purpose: the help text.
        stored: False: it changes no number, and a run may resume with another value.
    """
    return field(default=default, metadata={"kind": kind, "purpose": purpose, "stored": stored})


def several(kind: Callable[[str], Any], default: tuple[Any, ...] | None, purpose: str) -> Any:
    """Declare a field that holds a tuple, or None."""
    return field(default=default, metadata={"kind": kind, "purpose": purpose, "several": True})


def add_settings(
    parser: Parser,
    base: Any,
    aliases: Mapping[str, Sequence[str]] | None = None,
    default: str = "",
    recipes: Mapping[str, Any] | None = None,
    hidden: Collection[str] = (),
) -> None:
    """Add a flag for each setting; in the parsed options those that are not given are None.

    Args:
        base: the settings whose values are the defaults that --help shows.
        aliases: other names of a flag, as {"drop_path": ["--drop-connect"]}.
        default: what --help says of the default instead of its value.
        recipes: settings by name, whose values --help shows instead.
        hidden: settings that another flag decides.
    """
    for each in fields(base):
        if each.name in hidden:
            continue
        kind, purpose = each.metadata["kind"], each.metadata["purpose"]
        flags = ["--" + each.name.replace("_", "-"), *(aliases or {}).get(each.name, ())]
        value = by_recipe(recipes, each.name) if recipes else _shown(getattr(base, each.name))
        text = f"{purpose} (default: {default or value})"
        if kind is bool:
            parser.add_argument(*flags, dest=each.name, action=argparse.BooleanOptionalAction, help=text)
        else:
            many: dict[str, Any] = {"nargs": "+"} if each.metadata.get("several") else {}
            many |= {"nargs": "?", "const": True} if kind is truth else {}
            parser.add_argument(*flags, dest=each.name, type=kind, metavar=_metavar(kind), help=text, **many)


def _metavar(kind: Any) -> str:
    """Say in --help what kind of value a flag takes: N a whole number, X any number, NAME a word."""
    returned = kind if isinstance(kind, type) else get_type_hints(kind).get("return")
    known: dict[Any, str] = {int: "N", float: "X", bool: "True|False", str: "NAME", Path: "FILE"}
    return str(getattr(kind, "metavar", known.get(returned, "X")))


def by_recipe(recipes: Mapping[str, Any], name: str) -> str:
    """Return the values of a setting for --help: that of most recipes, then those of others with their names."""
    named: dict[str, list[str]] = {}
    for recipe, settings in recipes.items():
        named.setdefault(_shown(getattr(settings, name)), []).append(recipe)
    most, *others = sorted(named, key=lambda text: -len(named[text]))
    return "; ".join([most, *(f"{text} for {', '.join(named[text])}" for text in others)])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def with_options(options: argparse.Namespace, base: S) -> S:
    """Return the settings in `base`, changed by what the command line gives."""
    given = {each.name: getattr(options, each.name, None) for each in fields(base)}  # type: ignore[arg-type]
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return replace(base, **{name: value for name, value in given.items() if value is not None})  # type: ignore[type-var]


def from_mapping(values: Mapping[str, Any], base: S, source: str) -> S:
    """Return the settings in `base`, changed by those of a recipe file.

    Raises:
        UserError: a name is unknown, or a value is not what its flag would take; `source` is named.
    """
    known = {each.name: each for each in fields(base)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{source}: {unknown_name('setting', name, known)}")
        try:
            given[name] = _parsed(known[name].metadata, value)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise UserError(f"{source}: {name}: {error}") from error
    return replace(base, **given)  # type: ignore[type-var]


def _parsed(metadata: Mapping[str, Any], value: Any) -> Any:
    kind = metadata["kind"]
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {value!r}")
        return value
    if metadata.get("several"):
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {value!r}")
        return tuple(kind(str(each)) for each in value)
    return kind(str(value))


def configuration(settings: Any) -> dict[str, Any]:
    """Return the settings as they are stored: JSON knows lists, not tuples."""
    return {each.name: _plain(getattr(settings, each.name)) for each in _stored(settings)}


def from_configuration(values: Mapping[str, Any], kind: type[S]) -> S:
    """Make the settings of what `configuration` gave; what it lacks has its default.

    Raises:
        TypeError: a value is of another kind.
    """
    known = {each.name: each.metadata.get("several") for each in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{
            name: tuple(value) if known[name] and value is not None else value
            for name, value in values.items()
            if name in known
        }
    )


def defaults(settings: Any) -> dict[str, Any]:
    """Return the default of each setting, as it would be stored."""
    return {each.name: _plain(each.default) for each in _stored(settings) if each.default is not MISSING}


def _stored(settings: Any) -> list[Any]:
    return [each for each in fields(settings) if each.metadata.get("stored", True)]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
