"""Importing this module defines every built-in kind: each module of this folder is imported."""

import importlib
import pkgutil

import emco.domain.kinds

for _module in pkgutil.iter_modules(emco.domain.kinds.__path__):
    importlib.import_module(f"emco.domain.kinds.{_module.name}")
