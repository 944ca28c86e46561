"""Stand-ins for packages that handlers need and tests do not install."""

import sys
from types import ModuleType


def install(monkeypatch, name, **members):
    """Make ``import name`` give a module with these members; parents become packages.

    Returns:
        The module.
    """
    parent = None
    for end in [at for at, letter in enumerate(name) if letter == "."] + [len(name)]:
        full_name = name[:end]
        module = sys.modules.get(full_name)
        if module is None:
            module = ModuleType(full_name)
            module.__path__ = []
            monkeypatch.setitem(sys.modules, full_name, module)
            if parent is not None:
                monkeypatch.setattr(parent, full_name.rpartition(".")[2], module, raising=False)
        parent = module
    for key, value in members.items():
        monkeypatch.setattr(parent, key, value, raising=False)  # it may be a real module
    return parent


def block(monkeypatch, *names):
    """Make importing these packages fail as if they were not installed."""
    monkeypatch.setattr(sys, "meta_path", [_Blocker(names), *sys.meta_path])
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            monkeypatch.delitem(sys.modules, name)


class _Blocker:
    def __init__(self, names):
        self._names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._names:
            msg = f"No module named {name!r}"
            raise ModuleNotFoundError(msg, name=name)
