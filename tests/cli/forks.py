"""Runs many commands, each in a process of its own, from one that has loaded what they need: a list of jobs as JSON.

A job has `argv`, and maybe `wait` (a path: once it is there the process gets SIGINT; until then a file `hold` is there)
and `effort` (of the demonstration). Exit codes, and what was written to stdout and stderr, go to a file as JSON.
"""

import json
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path


def load():
    """Import everything heavy before the first fork; start no thread."""
    import neurolens.activations.extract
    import neurolens.cli.drawing
    import neurolens.cli.encoders
    import neurolens.cli.plans
    import neurolens.cli.results
    import neurolens.cli.sources
    import neurolens.comparison
    import neurolens.demo.run
    import neurolens.explorer  # noqa: F401


def run(job, *, out, err):
    """Fork, run the command, and return its exit code."""
    if "wait" in job:
        Path("hold").touch()
    child = os.fork()
    if child == 0:
        for number, file in ((1, out), (2, err)):
            os.dup2(file.fileno(), number)
        os._exit(work(job))
    if "wait" in job:
        deadline = time.monotonic() + 100
        while not Path(job["wait"]).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child, signal.SIGINT)
        Path("hold").unlink()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    Path("running").unlink(missing_ok=True)
    return code


def work(job):
    """Be the process of one command."""
    from neurolens.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["neurolens", *job["argv"]]
    if "effort" in job:
        import neurolens.demo.run as demo

        demo.Effort = partial(demo.Effort, **job["effort"])
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    load()
    found = []
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = run(job, out=out, err=err)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        found.append({"code": code, "stdout": texts[0], "stderr": texts[1]})
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
