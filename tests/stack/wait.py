"""Waiting for what happens elsewhere: rows, keys, files. Bounded, and with an error that says what was missing."""

from .errors import StackError
from .process import wait_until


def wait_for(what, look, seconds=30):
    """LOOK()'s first true value; WHAT names it in the error when it does not come."""
    value = wait_until(look, seconds, every=0.05)
    if not value:
        raise StackError(f"{what}: nothing within {seconds} s")
    return value
