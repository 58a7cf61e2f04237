#!/usr/bin/python3
"""verify_with_dkimpy.py PROGRAM FIRST COUNT: what PROGRAM (sign-messages) signed, verified by dkimpy."""

import subprocess
import sys

import dkim

RECORDS = dict(line.split(" ", 1) for line in open("tests/golden/milter/keys", encoding="ascii").read().splitlines())


def dns(name, timeout=5):
    return RECORDS[name.decode().rstrip(".")].encode()


def messages(stream):
    while line := stream.readline():
        yield stream.read(int(line))


def main():
    program, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    run = subprocess.Popen([program, str(first), str(count)], stdout=subprocess.PIPE)
    seen = failures = 0
    for seen, message in enumerate(messages(run.stdout), 1):
        for i in (0, 1):
            try:
                good = dkim.DKIM(message).verify(idx=i, dnsfunc=dns)
            except dkim.DKIMException as trouble:
                good = False
                print(trouble)
            if not good:
                failures += 1
                print(f"seed {first + seen - 1}: signature {i} does not verify")
    status = run.wait()
    print(f"{seen} messages, {failures} failures")
    return 1 if failures or status or seen != count else 0


if __name__ == "__main__":
    sys.exit(main())
