"""One pass of a dataset through a probe into accumulators. Only statistics leave the device."""

from pwact.core.sweep.api import sweep
from pwact.core.sweep.preview import Plan, plan

__all__ = ["Plan", "plan", "sweep"]
