"""Where a stack keeps its files.

Unix sockets have room for 107 bytes of path, and servers under accounts of their own must be able to walk to theirs. A
folder that is too deep, closed to others or of an odd name therefore only gets a link to a short folder below /tmp.
"""

import os
import pathlib
import re
import shutil
import stat
import tempfile

# sun_path holds 108 bytes with its NUL; the longest socket below the home is "mx1/queue/private/proxywrite" and the
# like.
MAX_HOME = 107 - 48
# Configuration files take a path without blanks and quotes.
PLAIN = re.compile(r"[\w./+-]+")


def make_home(wanted=None):
    """The folder of a new stack: WANTED itself (emptied), or a short one that WANTED/home points to; without WANTED a
    fresh temporary one."""
    os.umask(0o022)
    if wanted is None:
        return _short_home()
    wanted = pathlib.Path(wanted).absolute()
    wanted.mkdir(parents=True, exist_ok=True)
    link = wanted / "home"
    remove_home(wanted)
    if len(str(link)) <= MAX_HOME and PLAIN.fullmatch(str(link)) and _open_to_all(wanted):
        link.mkdir()
        return link
    home = _short_home()
    link.symlink_to(home)
    return home


def remove_home(wanted):
    """Removes what make_home(WANTED) made; nothing when there is nothing."""
    link = pathlib.Path(wanted).absolute() / "home"
    if link.is_symlink():
        shutil.rmtree(os.readlink(link), ignore_errors=True)
        link.unlink()
    shutil.rmtree(link, ignore_errors=True)


def reachable_programs(bin_dir, home):
    """The folder of waybill's programs, or a copy below HOME when other accounts cannot walk to it (a checkout in /root):
    a helper runs as nobody."""
    bin_dir = pathlib.Path(bin_dir).absolute()
    if _open_to_all(bin_dir):
        return bin_dir
    copy = home / "bin"
    copy.mkdir()
    for program in bin_dir.glob("waybill*"):
        shutil.copy2(program, copy)
    return copy


def _short_home():
    home = pathlib.Path(tempfile.mkdtemp(prefix="waybill-", dir="/tmp"))
    home.chmod(0o755)
    return home


def _open_to_all(folder):
    """Can every account walk down to FOLDER?"""
    return all(part.stat().st_mode & stat.S_IXOTH for part in [folder, *folder.parents])
