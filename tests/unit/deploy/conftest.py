import sys
from pathlib import Path

# loadtests/ is no installed package; locust finds it from the repository root in the same way.
sys.path.insert(0, str(Path(__file__).parents[3]))
