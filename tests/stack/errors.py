"""What a stack says when something does not come up."""

import pathlib


class StackError(Exception):
    """A server did not do what it should; the message names it and shows the end of its log."""


def tail(path, lines=15):
    """The last lines of a log file, for a message; empty when there is none."""
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""
    last = text.splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in last)
