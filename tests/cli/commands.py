"""Running a command: in this process, or in one of its own."""

import subprocess
import sys

from typer.testing import CliRunner

from neurolens.cli import app


def run_here(*arguments):
    """Run a command in this process."""
    wide = {"COLUMNS": "300"}  # a message in a box is wrapped to the terminal
    return CliRunner(env=wide).invoke(app, [str(argument) for argument in arguments])


def run_apart(folder, *arguments, check=True):
    """Run a command in a process of its own, in a folder."""
    command = [sys.executable, "-c", "from neurolens.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert not check or done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def assert_one_line(result, *words):
    """Assert that a command failed, and said so in one line."""
    assert result.exit_code == 1, (result.exit_code, result.stderr)
    *progress, line = result.stderr.splitlines()
    assert not any("Traceback" in other for other in progress)
    assert line.startswith("neurolens: ")
    for word in words:
        assert word in line
