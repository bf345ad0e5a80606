"""`python -m benchmarks`: every section in a process of its own, then the page."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.page import write_page

# One thread where cores would hide what is compared; both where users have both.
SECTIONS = {
    "machine": {},
    "tracing": {},
    "extraction": {},
    "rsa": {"OMP_NUM_THREADS": "1"},
    "rsa_inference": {"OMP_NUM_THREADS": "1"},
    "encoding": {"OMP_NUM_THREADS": "1"},
    "brain": {},
    "comparison": {},
    "explorer": {},
    "scaling": {},
    "threads": {},
    "shares": {},
    "random_models": {"OMP_NUM_THREADS": "1"},
    "soak": {"OMP_NUM_THREADS": "1"},
}


def main() -> int:
    """Run all sections, or those named; the page is written also where one fails."""
    chosen = sys.argv[1:] or list(SECTIONS)
    failed = []
    for section in chosen:
        command = [sys.executable, "-m", f"benchmarks.{section}"]
        done = subprocess.run(command, env={**os.environ, **SECTIONS.get(section, {})}, check=False)
        if done.returncode:
            failed.append(section)
    write_page()
    if failed:
        print(f"These sections failed, and their rows are old: {', '.join(failed)}.", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
