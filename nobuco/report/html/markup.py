"""HTML from functions: text is escaped unless it is markup already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_VOID = ("input", "meta", "wbr")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element. None and False leave an attribute out, True gives it no value; `class_` is `class`."""
    text = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{text}>")
    return Markup(f"<{name}{text}>{join(content)}</{name}>")


def join(content: object) -> Markup:
    """The markup of strings, elements and sequences of them; None is nothing."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(_printable(content)))
    if isinstance(content, Iterable):
        return Markup("".join(join(part) for part in content))
    return join(str(content))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(_printable(str(value)))}"'


def _printable(text: str) -> str:
    """The text without a terminal's colours, and with a sign in place of control characters, which HTML has not."""
    return _CONTROL.sub("�", _COLOUR.sub("", text)) if _CONTROL.search(text) else text
