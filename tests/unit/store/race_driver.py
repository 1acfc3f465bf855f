"""Processes that commit one run at once.

    python race_driver.py URL COUNT

Each child opens the store and says `ready`; on a line from standard input all of them commit, and
each prints what it was told: True if it won.
"""

from __future__ import annotations

import os
import sys

from acdc_pipeline.store import open_store
from acdc_pipeline.store.codec import encode
from tests import records


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    record = records.record()
    encode(record)  # what it imports, children have from here
    starts, ends = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.close(ends)
            store = open_store(url)
            store.has(record.spec.run_id())
            say("ready")
            os.read(starts, 1)  # nothing ever comes: it returns when the parent closes its end
            say(str(store.commit(record)))
            os._exit(0)
        children.append(child)
    os.close(starts)
    sys.stdin.readline()
    os.close(ends)
    for child in children:
        os.waitpid(child, 0)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
