"""Where, over time, subjects' scores are above chance."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from neurolens.errors import check_count
from neurolens.numerics.clusters import compute_cluster_test
from neurolens.schema import SUBJECT, TIME, hash_array, provenance, require_dims

__all__ = ["find_clusters"]


def find_clusters(
    scores: xr.DataArray,
    *,
    chance: float = 0.0,
    threshold: float = 0.01,
    two_sided: bool = False,
    n_permutations: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Test clusters over time (or time x time) of scores above chance, for subjects of this kind.

    Scores come from `compare_rdms`: RDMs of a model (op, ..) against those of subjects (subject, time, ..) give
    RSA over time; those of subjects against themselves under another name of the dim (`time_b`) give its
    generalisation over time. Signs of all of a subject's scores are flipped together; a cluster's mass, the sum
    of t in it, is compared with the largest of each flip.

    Parameters
    ----------
    scores
        DataArray (..., subject, time[, time_b]): each entry of the other dims (`op`) is tested on its own.
    chance
        What scores are without an effect.
    threshold
        p of the t over subjects that forms clusters; any is valid, it decides whether short and strong or long
        and weak ones are found.
    two_sided
        Whether scores below chance count as well.
    n_permutations
        Sign flips; all of them for up to 12 subjects.
    seed
        Seed of the flips.

    Returns
    -------
    Dataset
        `t`, `cluster` (number from 1, 0 outside), `p` (of the cluster a point is in, else 1) over (..., time[,
        time_b]). Family-wise over time, for each entry of the other dims.

    Raises
    ------
    LabelError
        If there is no dim `subject` or `time`.
    InputError
        If there are fewer than 2 subjects, NaN, or a threshold that is none.

    References
    ----------
    Maris & Oostenveld (2007), J. Neurosci. Methods 164:177, doi:10.1016/j.jneumeth.2007.03.024.

    Examples
    --------
    >>> values = np.random.default_rng(0).standard_normal((10, 30))
    >>> values[:, 10:20] += 2
    >>> scores = xr.DataArray(values, {"time": np.arange(30) / 100}, ("subject", "time"))
    >>> found = find_clusters(scores)
    >>> found.time.values[(found.p < 0.05).values].round(2).tolist()[::9]
    [0.1, 0.19]
    """
    require_dims(scores, SUBJECT, TIME, what="A cluster test")
    check_count(n_permutations, "n_permutations")
    grid = [str(dim) for dim in scores.dims if str(dim).split("_")[0] == TIME]
    others = [str(dim) for dim in scores.dims if dim != SUBJECT and dim not in grid]
    ordered = scores.transpose(*others, SUBJECT, *grid)
    sets = ordered.values.reshape(-1, scores.sizes[SUBJECT], *(scores.sizes[dim] for dim in grid))
    parts: dict[str, list[Any]] = {"t": [], "cluster": [], "p": []}
    for one in sets:
        found = compute_cluster_test(
            one - chance, threshold=threshold, n_flips=n_permutations, seed=seed, two_sided=two_sided
        )
        parts["t"].append(found.t)
        parts["cluster"].append(found.label)
        parts["p"].append(np.r_[1.0, found.p][found.label])
    dims = (*others, *grid)
    shape = [scores.sizes[dim] for dim in dims]
    parameters = {
        "chance": chance,
        "threshold": threshold,
        "two_sided": two_sided,
        "n_permutations": n_permutations,
    }
    attrs = provenance(
        "cluster-sign-flip", parameters=parameters, inputs={"scores": hash_array(scores)}, seed=seed
    )
    attrs["p_of"] = "cluster mass against the largest of each sign flip; for such subjects and these stimuli"
    variables = {name: (dims, np.stack(values).reshape(shape)) for name, values in parts.items()}
    coords: dict[Hashable, Any] = {
        name: coord for name, coord in scores.coords.items() if coord.dims and {*coord.dims} <= {*dims}
    }
    return xr.Dataset(variables, coords, attrs)
