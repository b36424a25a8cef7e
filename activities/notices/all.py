"""Importing this module defines every sink: each module of this folder is imported."""

import importlib
import pkgutil

import activities.notices

for _module in pkgutil.iter_modules(activities.notices.__path__):
    if not _module.name.startswith("all"):
        importlib.import_module(f"activities.notices.{_module.name}")
