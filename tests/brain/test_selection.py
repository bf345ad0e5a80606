"""Selection by reliability on trials that are not scored."""

import numpy as np
import pytest

from neurolens import brain
from neurolens.errors import InputError, LabelError
from neurolens.numerics import reliability


def make_noise(n_repetitions=4, n_stimuli=40, n_neuroids=2000, seed=0):
    values = np.random.default_rng(seed).normal(size=(n_repetitions, n_stimuli, n_neuroids))
    split = ("stimulus", ["train"] * 20 + ["test"] * (n_stimuli - 20))
    return brain.responses(values, stimulus={"stimulus": range(n_stimuli), "split": split})


def test_noise_that_is_selected_elsewhere_does_not_look_reliable():
    """The mistake it prevents: choosing and scoring on the same trials makes noise look reliable."""
    data = make_noise()
    choosing = (data.isel(repetition=[0, 1]), data.isel(stimulus=slice(0, 20)))
    for held_out, part in zip(({"repetition": [0, 1]}, {"split": ["train"]}), choosing, strict=True):
        kept = brain.select_reliable(data, held_out=held_out, n_best=50)
        honest = brain.explainable_variance(kept)
        assert abs(honest.mean()) < 0.06
        assert kept.reliability.min() > 0.3
        circular = brain.explainable_variance(part.isel(neuroid=kept.neuroid.values))
        assert circular.mean() > 0.2


@pytest.mark.parametrize("measure", ["split_half", "noise_ceiling", "explainable_variance"])
def test_the_best_on_held_out_trials_are_kept_and_the_others_given_back(measure):
    data = make_noise(n_neuroids=60)
    truth = getattr(reliability, measure)(data.values[[1, 3]])
    kept = brain.select_reliable(data, held_out={"repetition": [3, 1]}, measure=measure, n_best=7)
    assert kept.neuroid.values.tolist() == sorted(np.argsort(-truth)[:7].tolist())
    np.testing.assert_allclose(kept.reliability, truth[kept.neuroid.values])
    np.testing.assert_array_equal(kept.values, data.values[[0, 2]][:, :, kept.neuroid.values])
    above = brain.select_reliable(data, held_out={"repetition": [1, 3]}, measure=measure, minimum=0.2)
    assert above.neuroid.values.tolist() == np.flatnonzero(truth >= 0.2).tolist()
    assert "selection_parameters" in kept.attrs


def test_held_out_stimuli_are_not_given_back():
    kept = brain.select_reliable(make_noise(n_neuroids=9), held_out={"split": "train"}, n_best=3)
    assert kept.stimulus.values.tolist() == list(range(20, 40))
    kept = brain.select_reliable(make_noise(n_neuroids=9), held_out={"stimulus": [0, 1, 2]}, n_best=3)
    assert kept.sizes["stimulus"] == 37


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_best": 3, "minimum": 0.1}, InputError, "exactly one"),
        ({}, InputError, "exactly one"),
        ({"n_best": 10}, InputError, "9 neuroids have a defined"),
        ({"minimum": 2.0}, InputError, "No neuroid reaches minimum=2.0; the best has"),
        ({"n_best": 1, "measure": "ncsnr"}, InputError, "measure='ncsnr'"),
        ({"n_best": 1, "held_out": {"repetition": [0, 1, 2, 3]}}, InputError, "takes 4 of 4 labels"),
        ({"n_best": 1, "held_out": {"repetition": [7]}}, LabelError, "names 7 of 'repetition'"),
        ({"n_best": 1, "held_out": {"run": [7]}}, LabelError, "names 'run'"),
        ({"n_best": 1, "held_out": {"split": ["train"], "stimulus": [1]}}, InputError, "one dim or coord"),
        ({"n_best": 1, "held_out": {"repetition": [1]}}, InputError, "at least 2 repetitions"),
    ],
)
def test_selections_that_make_no_sense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        brain.select_reliable(make_noise(n_neuroids=9), **{"held_out": {"repetition": [0, 1]}, **options})


def test_means_are_refused():
    with pytest.raises(InputError, match="not their mean"):
        brain.select_reliable(make_noise(n_neuroids=9)[0], held_out={"split": ["train"]}, n_best=1)
