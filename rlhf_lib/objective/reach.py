"""What a function can reach: the modules that it may run and the generators it may draw from.

Found by looking, not by running: in the cells, defaults and used globals of the function and of the
functions it uses, in the attributes of objects and in containers. What hides elsewhere (a local
import, an iterator) is not seen; a loss that it changes is found by evaluating it twice.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from types import BuiltinMethodType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_MOST = 1000  # objects; the search itself must cost nothing beside a step
_WIDEST = 100  # elements of a container that are looked at
_PLAIN = (str, bytes, int, float, complex, type, Tensor, ModuleType, type(None))
_REGISTERED = vars(nn.Module()).keys()  # of which all is known already
_LIBRARIES = {"torch", "numpy", "transformers"}  # which keep no state of the caller's in globals


def reach(fn: Callable) -> tuple[list[nn.Module], list[Any]]:
    """All modules, those below others included, and all generators but torch's default one.

    Generators are those of torch, of numpy and of Python's random.
    """
    kinds = _generator_kinds()
    modules: dict[int, nn.Module] = {}
    generators: dict[int, Any] = {}
    seen: dict[int, Any] = {}  # the objects themselves, so that no address is used again
    todo: list[Any] = [fn]
    while todo and len(seen) < _MOST:
        x = todo.pop()
        if isinstance(x, _PLAIN) or id(x) in seen:
            continue
        seen[id(x)] = x
        if isinstance(x, kinds):
            generators[id(x)] = x
        elif isinstance(x, nn.Module):
            functions = set()
            for module in x.modules():
                seen[id(module)] = modules[id(module)] = module
                own = vars(module)
                for name in own.keys() - _REGISTERED:
                    if isinstance(own[name], kinds):
                        generators[id(own[name])] = own[name]
                functions.add(getattr(type(module), "forward", None))
                for hooks in (module._forward_pre_hooks, module._forward_hooks):
                    functions.update(hooks.values())
            todo.extend(functions)
        todo.extend(_below(x))
    return list(modules.values()), list(generators.values())


def _generator_kinds() -> tuple[type, ...]:
    kinds: tuple[type, ...] = (torch.Generator, random.Random)
    numpy = sys.modules.get("numpy")
    return kinds if numpy is None else (*kinds, numpy.random.Generator, numpy.random.RandomState)


def _below(x: Any) -> Iterator[Any]:
    """What one object refers to, as far as a closure is likely to use it."""
    if isinstance(x, FunctionType):
        for cell in x.__closure__ or ():
            with suppress(ValueError):  # a name that has no value yet
                yield cell.cell_contents
        yield from x.__defaults__ or ()
        yield from (x.__kwdefaults__ or {}).values()
        if _library(x.__module__) not in _LIBRARIES:
            yield from _globals(x)
    elif isinstance(x, MethodType):
        yield from (x.__self__, x.__func__)
    elif isinstance(x, BuiltinMethodType):
        if not isinstance(x.__self__, ModuleType):
            yield x.__self__
    elif isinstance(x, partial):
        yield from (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, dict):
        yield from islice(dict.values(x), _WIDEST)  # as they lie there: some load on demand
    elif isinstance(x, list | tuple | set):
        yield from islice(x, _WIDEST)
    elif isinstance(x, nn.Module):
        yield from (value for name, value in vars(x).items() if name not in _REGISTERED)
    elif _library(type(x).__module__) not in _LIBRARIES:
        yield from getattr(x, "__dict__", {}).values()
        yield from (getattr(x, name, None) for name in getattr(type(x), "__slots__", ()))
        yield type(x).__dict__.get("__call__")


def _globals(function: FunctionType) -> Iterator[Any]:
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield value
        elif value.__name__ == "random":
            yield value.random  # a method of the generator that all functions in there share
        elif value.__name__ in ("numpy", "numpy.random"):
            yield sys.modules["numpy.random"].rand
        elif _library(value.__name__) not in _LIBRARIES:  # losses.py, as losses.model
            yield from (vars(value)[part] for part in names & vars(value).keys())


def _names(code: CodeType) -> Iterator[str]:
    inner = (_names(part) for part in code.co_consts if isinstance(part, CodeType))
    return chain(code.co_names, *inner)


def _library(name: str | None) -> str:
    return (name or "").partition(".")[0]
