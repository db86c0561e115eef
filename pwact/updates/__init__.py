"""Update rules: one file and one factory each. `__all__` is the registry that recipes read."""

from pwact.updates.mltp import mltp
from pwact.updates.plain import plain
from pwact.updates.update_rule import UpdateRule as UpdateRule

__all__ = ["mltp", "plain"]
