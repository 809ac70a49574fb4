"""Griffe extensions: doctests as code, and the constructor's arguments of classes without an `__init__` in the source.

Griffe reads source and runs nothing, so it does not see that Equinox makes a constructor of a module's fields. Python
does: the signature is taken from the class itself.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: griffe.ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
    inspect.Parameter.VAR_POSITIONAL: griffe.ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: griffe.ParameterKind.var_keyword,
}


# Lines of a doctest, at the margin; what they print follows without a mark, up to an empty line.
_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Show doctests as code, which Markdown would take for quotations."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        self.on_object(obj=pkg)  # which Griffe tells of members alone

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = _DOCTEST.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match[str]) -> str:
    lines = re.sub(r"  # doctest:.*", "", match[0])
    return f"```pycon\n{lines}\n```"


class ModuleSignatures(griffe.Extension):
    """Give each Equinox module without an `__init__` in its source the one that Equinox makes."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if "__init__" in cls.members or cls.module.path.split(".")[0] != "thalweg" or not cls.bases:
            return
        import equinox

        owner = getattr(importlib.import_module(cls.module.path), cls.name, None)
        if not inspect.isclass(owner) or not issubclass(owner, equinox.Module) or inspect.isabstract(owner):
            return
        signature = inspect.signature(owner)
        parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
        for parameter in signature.parameters.values():
            default = None if parameter.default is inspect.Parameter.empty else repr(parameter.default)
            parameters.append(griffe.Parameter(parameter.name, kind=_KINDS[parameter.kind], default=default))
        cls.set_member(
            "__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters), lineno=cls.lineno)
        )
