"""The recipe for SLURM, as it stands in the documentation: its job script is what it says. No cluster is needed."""

import re
from pathlib import Path

import pytest

jobqueue = pytest.importorskip("dask_jobqueue")

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"


@pytest.mark.filterwarnings("ignore")  # of dask's own start on this machine
def test_the_job_script_asks_for_what_the_page_says():
    recipe = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names = {}
    exec(recipe, names)
    cluster = names["cluster"]
    try:
        lines = cluster.job_script().splitlines()
    finally:
        cluster.close()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert {"-p gpu", "-A brainlab", "--cpus-per-task=8", "--mem=30G", "-t 04:00:00", "--gres=gpu:1"} <= set(
        asked
    )
    assert lines.index("export OMP_NUM_THREADS=8") < lines.index("source ~/envs/vision/bin/activate")
    (command,) = [line for line in lines if "distributed.cli.dask_worker" in line]
    assert "--nthreads 1 " in command
    assert "--nworkers" not in command
    assert "--memory-limit 29.80GiB" in command
