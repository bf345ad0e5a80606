"""The demonstration from beginning to end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from neurolens.demo.analysis import Findings, compute_findings, load_data, load_twins, store_blocks, tabulate
from neurolens.demo.pictures import draw_graph, draw_profiles, draw_rdms
from neurolens.demo.report import print_report
from neurolens.demo.settings import TARGETS, TRAINED, Effort
from neurolens.demo.stages import Stages, make_progress
from neurolens.errors import check_choice
from neurolens.tracing import trace


def run_demo(
    out: str | Path = "demo", *, dataset: str | None = None, effort: Effort | None = None
) -> Findings:
    """Compare a real network and its untrained twin with brain data, operation by operation.

    EfficientNet-Lite0, trained on ImageNet, is traced. The RDM of every operation that depends on the stimulus
    is streamed, for the trained network and for the same network before training, and compared with every
    region. Written into `out`: profile_<region>.png, graph_<region>.svg (every operation) and .png (blocks),
    rdms.png, table.csv, and the outputs of blocks in activations.zarr. Files of an earlier run are replaced; a
    store of the same run is taken up where it stopped.

    Parameters
    ----------
    out
        Folder to write; made with its parents.
    dataset
        "kriegeskorte92" (people and monkeys saw 92 photographs) or "shapes80" (simulated regions). None: the
        first, or, where it cannot be had, the second, with a note.
    effort
        How much is computed; by default everything.

    Returns
    -------
    Findings
        Dataset, RDMs and profiles.

    Raises
    ------
    InputError
        If the dataset is not known.
    ModelError
        If the packages of the extra `demo` are missing.
    StoreError
        If the dataset cannot be had, or `out` holds a store that the demonstration did not write.

    References
    ----------
    Kriegeskorte et al. (2008), Neuron 60:1126, doi:10.1016/j.neuron.2008.10.043.

    Examples
    --------
    >>> findings = run_demo("demo")  # doctest: +SKIP
    >>> findings.profiles["trained"].score.dims  # doctest: +SKIP
    ('op', 'region')
    """
    if dataset is not None:
        check_choice(dataset, TARGETS, "dataset")
    effort = effort or Effort()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "activations.zarr"
    with make_progress() as progress:
        stages = Stages(progress)
        with stages.stage("network, its untrained twin, and data", 2) as stage:
            twins = load_twins(effort.seed)
            stage.step()
            data = load_data(dataset, stages)
        with stages.stage("trace of every operation"):
            model = twins[TRAINED]
            recorded = trace(model, data.stimuli.select(data.stimuli.ids[:1]))
        findings = compute_findings(data, twins, effort, stages)
        with stages.stage("block outputs to Zarr"):
            store_blocks(model, data.stimuli, store, effort)
        with stages.stage("table and pictures", 4) as stage:
            files = [folder / "table.csv"]
            tabulate(findings).to_csv(files[0], index=False)
            stage.step()
            files += draw_profiles(findings, folder)
            stage.step()
            files.append(draw_rdms(findings, folder / "rdms.png"))
            stage.step()
            files += draw_graph(recorded, findings, folder)
    print_report(findings, [*files, store], store, Console())
    return findings
