"""Every public measure and loss shows an example with a known answer; pytest runs them all."""

import importlib
import inspect
import pkgutil

import pytest

import recombine.metrics

MODULES = ["recombine.losses", *(f"recombine.metrics.{module.name}" for module in pkgutil.iter_modules(recombine.metrics.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example(name):
    functions = inspect.getmembers(importlib.import_module(name), inspect.isfunction)
    own = {key: function for key, function in functions if function.__module__ == name and not key.startswith("_")}
    assert own and [key for key, function in own.items() if ">>>" not in (function.__doc__ or "")] == []
