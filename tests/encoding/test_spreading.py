"""Operations on dask workers: the same numbers, in order, and no more of them on their way than needed."""

import pickle

import numpy as np
import pytest
import xarray as xr

from neurolens.encoding import Ridge, encode
from neurolens.encoding.evaluation import ask
from neurolens.encoding.operations import make_plans, score_operation
from neurolens.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def source(rng, label):
    arrays = {f"op{i}": label(rng.normal(size=(60, 5 + i))) for i in range(6)}
    return arrays | {"weight": xr.DataArray(np.ones(3), dims="axis_1"), "flat": label(np.ones((60, 2)))}


@pytest.fixture
def voxels(source, rng, measure):
    return measure(source["op3"].values @ rng.normal(size=(8, 4)) + rng.normal(size=(60, 4)))


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as client:
        yield client


def test_workers_give_the_same_numbers(source, voxels, client):
    here = encode(source, voxels, predictions=True)
    there = encode(source, voxels, predictions=True, client=client)
    xr.testing.assert_identical(here, there)


def test_a_failure_on_a_worker_names_the_operation(source, voxels, client):
    source["op2"][5, 1] = np.nan
    with pytest.raises(InputError, match=r"operation 'op2' has 1 features"):
        encode(source, voxels, client=client)


def test_few_operations_are_on_their_way(source, voxels, client):
    submitted, finished, ahead = [], [], []

    class Watch:
        def __init__(self, client):
            self.client = client

        def __getattr__(self, name):
            return getattr(self.client, name)

        def submit(self, *args, **kwargs):
            future = self.client.submit(*args, **kwargs)
            submitted.append(future)
            ahead.append(len(submitted) - len(finished))

            class Counted:
                def result(self):
                    value = future.result()
                    finished.append(value)
                    return value

            return Counted()

    encode(source, voxels, model=Ridge(1.0), client=Watch(client))
    assert len(submitted) == 8
    assert max(ahead) <= 4  # two a worker


def test_what_is_sent_to_another_process_comes_back_the_same(source, voxels):
    question, _ = ask(voxels, model=Ridge(1.0))
    plans = make_plans(question, source["op3"], "op3")
    sent = pickle.loads(pickle.dumps((question, plans, "op3", source["op3"], 3)))
    here, there = (score_operation(*job) for job in ((question, plans, "op3", source["op3"], 3), sent))
    np.testing.assert_array_equal(here.score, there.score)
    assert pickle.loads(pickle.dumps(there)).digest == here.digest


def test_something_else_is_no_client(source, voxels):
    with pytest.raises(InputError, match="is no dask"):
        encode(source, voxels, client="tcp://nowhere")
