"""Lets the tests of this room import their table of models and the oracle."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
