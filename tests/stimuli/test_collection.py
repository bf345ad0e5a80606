import functools
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image
from torchvision.transforms import Compose, Resize, ToTensor

from neurolens import Stimuli
from neurolens.errors import NeurolensWarning, StimulusError

NOISE = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
IDS = ["cat", "dog", "car", "cup"]


@pytest.fixture
def folder(tmp_path):
    """A tree of four images (two that differ in extension only), a text and hidden files."""
    for k, name in enumerate(
        ["b/dog.png", "a/cat.png", "a/cat.bmp", "Z.PNG", ".hidden.png", ".thumbs/x.png"]
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(NOISE[k % 4]).save(path)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.fixture
def pictures():
    return Stimuli.from_array(NOISE, ids=IDS, metadata={"animate": [True, True, False, False]})


def to_array(image):
    return torch.from_numpy(np.array(image))


# ---- constructors


def test_a_folder_is_read_in_the_order_of_paths(folder):
    stimuli = Stimuli.from_folder(folder)
    assert stimuli.ids == ("Z", "a/cat.bmp", "a/cat.png", "b/dog")
    assert stimuli.metadata["folder"].tolist() == [".", "a", "a", "b"]
    np.testing.assert_array_equal(np.asarray(stimuli.read(3)), NOISE[0])


def test_pattern_and_extensions_choose_files(folder):
    assert Stimuli.from_folder(folder, "*").ids == ("Z",)
    assert Stimuli.from_folder(folder, "a/*").ids == ("a/cat.bmp", "a/cat.png")
    assert Stimuli.from_folder(folder, extensions=[".bmp"]).ids == ("a/cat",)


def test_a_folder_without_images_says_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(StimulusError, match=r"only files ending in '\.txt'"):
        Stimuli.from_folder(tmp_path)
    with pytest.raises(StimulusError, match="There is no folder"):
        Stimuli.from_folder(tmp_path / "missing")


def test_files_keep_their_order_and_are_named_below_their_common_folder(folder):
    stimuli = Stimuli.from_files([folder / "b/dog.png", folder / "a/cat.png"])
    assert stimuli.ids == ("b/dog", "a/cat")
    assert Stimuli.from_files([folder / "a/cat.png"]).ids == ("cat",)
    assert Stimuli.from_files([folder / "Z.PNG"], ids=["z"]).ids == ("z",)
    with pytest.raises(StimulusError, match="from_folder"):
        Stimuli.from_files(str(folder))


def test_the_same_file_twice_is_a_repeated_id(folder):
    with pytest.raises(StimulusError, match=r"a/cat\.png \(x2\)|cat\.png \(x2\)"):
        Stimuli.from_files([folder / "a/cat.png", folder / "a/cat.png"])


def test_a_frame_gives_paths_and_metadata(folder):
    frame = pd.DataFrame({"file": ["b/dog.png", "Z.PNG"], "name": ["dog", "zed"], "size": [2.5, None]})
    stimuli = Stimuli.from_frame(frame, column="file", ids="name", root=folder)
    assert stimuli.ids == ("dog", "zed")
    assert list(stimuli.metadata.columns) == ["size"]
    np.testing.assert_array_equal(np.asarray(stimuli.read(0)), NOISE[0])
    assert Stimuli.from_frame(frame, column="file", root=folder).ids == ("b/dog", "Z")
    assert Stimuli.from_frame(frame.set_index("name"), column="file", root=folder).ids == ("dog", "zed")


def test_a_frame_without_the_column_lists_what_it_has():
    with pytest.raises(StimulusError, match="no column 'path'; it has 'file'"):
        Stimuli.from_frame(pd.DataFrame({"file": ["a.png"]}))
    with pytest.raises(StimulusError, match=r"no path in the rows 1"):
        Stimuli.from_frame(pd.DataFrame({"path": ["a.png", None]}))


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 4, 4, 3), (2, 4, 4, 4)])
def test_uint8_is_images(shape):
    stimuli = Stimuli.from_array(np.full(shape, 255, dtype=np.uint8), ids=["a", "b"])
    image = stimuli.read(0)
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_other_numbers_are_inputs_and_not_preprocessed(dtype):
    values = np.arange(12).reshape(2, 6).astype(dtype)
    batch = Stimuli.from_array(values, ids=["a", "b"]).batch([1, 0], preprocess=lambda item: item * 0)
    assert str(batch.dtype) == f"torch.{dtype}"
    np.testing.assert_array_equal(batch.numpy(), values[::-1])


def test_tensors_are_arrays_too():
    tensor = torch.randn(2, 3)
    torch.testing.assert_close(Stimuli.from_array(tensor, ids=["a", "b"]).batch([0, 1]), tensor)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "moveaxis"),
        (np.zeros((2, 8, 8, 2), np.uint8), r"shape \(2, 8, 8, 2\)"),
        (np.zeros((2, 4), bool), "this array is bool"),
        (torch.zeros((2, 4), dtype=torch.bfloat16), r"bfloat16.*pass tensor\.float\(\)"),
        (np.zeros((2, 4), complex), "this array is complex128"),
        (torch.zeros((2, 4), dtype=torch.complex64).conj(), "this array is complex64"),
        (torch.eye(2).to_sparse(), "sparse_coo.*to_dense"),
        (torch.zeros((2, 4), device="meta"), "on meta.*no plain array of values"),
    ],
)
def test_an_array_of_no_kind_is_refused(array, message):
    with pytest.raises(StimulusError, match=message):
        Stimuli.from_array(array, ids=["a", "b"])


def test_texts_reach_the_tokenizer():
    stimuli = Stimuli.from_texts(["ab", "xyz"], ids=["short", "long"])
    batch = stimuli.batch([0, 1], preprocess=lambda text: {"n": torch.tensor(len(text))})
    assert batch["n"].tolist() == [2, 3]
    assert stimuli.read(1) == "xyz"
    with pytest.raises(StimulusError, match="1: int"):
        Stimuli.from_texts(["a", 3], ids=["a", "b"])
    with pytest.raises(StimulusError, match="put a single one in a list"):
        Stimuli.from_texts("abc", ids=["a", "b", "c"])


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat"]


@pytest.fixture
def tokenizer(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra 'models' is not installed")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))


def test_a_tokenizer_is_a_transform(tokenizer):
    """Each text padded alone is what the tokenizer itself makes of all texts at once."""
    texts = ["the cat", "the cat sat", "dog"]
    padded = functools.partial(tokenizer, padding="max_length", max_length=6)
    stimuli = Stimuli.from_texts(texts, ids=list("abc"), transform=padded)
    batch = stimuli.batch([2, 0, 1])
    expected = tokenizer([texts[2], *texts[:2]], padding="max_length", max_length=6, return_tensors="pt")
    assert set(batch) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor)
    assert " at 0x" not in stimuli.preprocessing


def test_texts_of_different_length_are_named_when_they_are_not_padded(tokenizer):
    stimuli = Stimuli.from_texts(["the cat", "the cat sat"], ids=["two", "three"], transform=tokenizer)
    with pytest.raises(StimulusError, match=r"two: input_ids \(4,\).*three: input_ids \(5,\)"):
        stimuli.batch([0, 1])


class Pairs(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k]


def test_a_dataset_loses_its_labels():
    x = torch.randn(2, 3)
    stimuli = Stimuli.from_dataset(Pairs([(x[0], 7), (x[1], torch.tensor(1))]))
    assert stimuli.ids == ("0", "1")
    torch.testing.assert_close(stimuli.batch([0, 1]), x)


def test_a_dataset_of_two_inputs_keeps_both():
    x = torch.randn(2, 3)
    first, second = Stimuli.from_dataset(Pairs([(x[0], x[1]), (x[1], x[0])])).batch([0, 1])
    torch.testing.assert_close(first, x)
    torch.testing.assert_close(second, x.flip(0))


def test_a_dataset_of_images_is_preprocessed():
    images = Pairs([(Image.fromarray(NOISE[0]).convert("L"), 0)])
    assert Stimuli.from_dataset(images).batch([0], preprocess=ToTensor()).shape == (1, 3, 6, 5)


def test_an_iterable_dataset_is_refused():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield 1

    with pytest.raises(StimulusError, match="Stream has no length"):
        Stimuli.from_dataset(Stream())


# ---- ids and metadata


def test_repeated_ids_are_all_listed():
    with pytest.raises(StimulusError, match=r"'a \(x3\)', 'b \(x2\)'"):
        Stimuli.from_texts(list("12345x"), ids=["a", "b", "a", "b", "a", "c"])


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a"], "2 stimuli but 1 ids"), (["a", ""], "stimulus 1 is empty"), ("ab", "single text 'ab'")],
)
def test_bad_ids_are_refused(ids, message):
    with pytest.raises(StimulusError, match=message):
        Stimuli.from_texts(["x", "y"], ids=ids)


def test_numbers_become_text_ids():
    assert Stimuli.from_texts(["x", "y"], ids=[1, np.int64(2)]).ids == ("1", "2")


def test_no_stimuli_are_refused():
    with pytest.raises(StimulusError, match="at least one"):
        Stimuli.from_files([])


def test_metadata_with_an_index_is_joined_by_label():
    table = pd.DataFrame({"n": [1, 2, 3]}, index=["b", "a", "unused"])
    assert Stimuli.from_texts(["x", "y"], ids=["a", "b"], metadata=table).metadata["n"].tolist() == [2, 1]
    with pytest.raises(StimulusError, match="no row for 'c'"):
        Stimuli.from_texts(["x", "y"], ids=["a", "c"], metadata=table)


@pytest.mark.parametrize("name", ["stimulus", "x", "op", "depth", "channel", "pass"])
def test_names_of_dims_are_no_metadata_columns(name):
    with pytest.raises(StimulusError, match=f"'stimulus_{name}'"):
        Stimuli.from_texts(["x"], ids=["a"], metadata={name: [1]})


def test_metadata_of_the_wrong_length_is_refused():
    with pytest.raises(StimulusError, match="'n' has 1 values for 2 stimuli"):
        Stimuli.from_texts(["x", "y"], ids=["a", "b"], metadata={"n": [1]})


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        ([True, False], "b", [True, False]),
        ([1, 2], "i", [1, 2]),
        ([0.5, 2.0], "f", [0.5, 2.0]),
        (["x", None], "O", ["x", ""]),
        (pd.Series([1, 2], dtype="Int64"), "i", [1, 2]),
        (pd.Categorical(["u", "v"]), "O", ["u", "v"]),
        ([1, "a"], "O", ["1", "a"]),
    ],
)
def test_columns_become_what_files_can_hold(tmp_path, column, kind, values):
    stimuli = Stimuli.from_texts(["x", "y"], ids=["a", "b"], metadata={"c": column})
    array = xr.DataArray(np.zeros(2), dims="stimulus", coords=stimuli.coords())
    assert array.c.dtype.kind == kind
    assert array.c.values.tolist() == values
    array.to_dataset(name="data").to_zarr(tmp_path / "s.zarr", zarr_format=3, consolidated=False)
    assert xr.open_zarr(tmp_path / "s.zarr", consolidated=False).c.values.tolist() == values


def test_coords_label_an_array(pictures):
    array = xr.DataArray(np.arange(4), dims="stimulus", coords=pictures.coords())
    assert array.sel(stimulus="car").item() == 2
    assert array.animate.values.tolist() == [True, True, False, False]


# ---- immutable


def test_the_set_does_not_follow_the_array_it_came_from():
    array = NOISE.copy()
    stimuli = Stimuli.from_array(array, ids=IDS)
    before = stimuli.fingerprint()
    array[:] = 0
    assert stimuli.fingerprint() == before
    np.testing.assert_array_equal(np.asarray(stimuli.read(0)), NOISE[0])


def test_nothing_handed_out_changes_the_set(pictures):
    table = pictures.metadata
    table.loc["cat", "animate"] = False
    assert pictures.metadata.loc["cat", "animate"]
    with pytest.raises(AttributeError):
        pictures.ids = ()
    inputs = Stimuli.from_array(np.ones((1, 2), np.float32), ids=["a"])
    inputs.read(0).zero_()
    assert inputs.read(0).sum() == 2


def test_select_takes_by_label_in_the_order_asked(pictures):
    chosen = pictures.select(["cup", "cat"])
    assert chosen.ids == ("cup", "cat")
    assert chosen.metadata["animate"].tolist() == [False, True]
    np.testing.assert_array_equal(np.asarray(chosen.read(0)), NOISE[3])
    np.testing.assert_array_equal(np.asarray(chosen.select(["cat"]).read(0)), NOISE[0])
    assert pictures.select("dog").ids == ("dog",)


def test_select_names_unknown_ids_with_near_misses(pictures):
    with pytest.raises(StimulusError, match=r"'cap'.*Near 'cap': 'cup'"):
        pictures.select(["cap"])
    with pytest.raises(StimulusError, match=r"cat \(x2\)"):
        pictures.select(["cat", "cat"])


# ---- reading


def test_a_batch_stacks_what_preprocess_makes(pictures):
    batch = pictures.batch([2, 0], preprocess=to_array)
    np.testing.assert_array_equal(batch.numpy(), NOISE[[2, 0]])


def test_the_sets_own_transform_takes_the_place_of_the_models():
    stimuli = Stimuli.from_array(NOISE, ids=IDS, transform=Compose([Resize((2, 2)), ToTensor()]))
    assert stimuli.batch([0, 1], preprocess=to_array).shape == (2, 3, 2, 2)


def test_images_without_any_preprocessing_are_refused(pictures):
    with pytest.raises(StimulusError, match=r"'dog' is an image.*Pass transform="):
        pictures.batch([1])


def test_items_of_different_shape_are_named():
    stimuli = Stimuli.from_texts(
        ["a", "bb"], ids=["one", "two"], transform=lambda text: torch.zeros(len(text))
    )
    with pytest.raises(StimulusError, match=r"one: Tensor \(1,\); two: Tensor \(2,\)"):
        stimuli.batch([0, 1])


def test_all_damaged_files_are_reported_at_once(folder):
    whole = (folder / "b/dog.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.png").write_text("this is no image")
    names = ["b/dog.png", "cut.png", "empty.png", "words.png", "gone.png"]
    stimuli = Stimuli.from_files([folder / name for name in names])
    with pytest.raises(StimulusError) as caught:
        stimuli.check()
    message = str(caught.value)
    assert "4 of 5 stimuli cannot be read" in message
    for name, reason in [
        ("cut", ""),
        ("empty", "0 bytes"),
        ("words", "not an image"),
        ("gone", "no such file"),
    ]:
        line = next(line for line in message.splitlines() if line.startswith(f"  {name!r}"))
        assert reason in line
        assert str(folder / f"{name}.png") in line
    stimuli.select(["b/dog"]).check()


def test_reading_one_damaged_file_names_it(folder):
    stimuli = Stimuli.from_files([folder / "gone.png"])
    with pytest.raises(StimulusError, match=r"'gone' .*gone\.png.*no such file"):
        stimuli.batch([0], preprocess=to_array)
    with pytest.raises(StimulusError, match="'gone'"):
        stimuli.fingerprint()


def test_inputs_that_are_not_finite_are_reported():
    values = np.ones((3, 4), np.float32)
    values[1, 2] = np.nan
    with pytest.raises(StimulusError, match="'b': has 1 values that are NaN"):
        Stimuli.from_array(values, ids=list("abc")).check()


def test_a_dataset_that_raises_is_reported():
    class Broken(Pairs):
        def __getitem__(self, k):
            if k == 1:
                raise KeyError("lost")
            return torch.zeros(1)

    with pytest.raises(StimulusError, match="'1': KeyError: 'lost'"):
        Stimuli.from_dataset(Broken([0, 0, 0])).check()


def test_complaints_of_the_reader_are_passed_on(tmp_path, monkeypatch):
    Image.fromarray(NOISE[0]).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.warns(NeurolensWarning, match="decompression bomb"):
        Stimuli.from_folder(tmp_path).check()


# ---- fingerprint


def test_the_fingerprint_depends_on_content_ids_order_and_transform_only(pictures):
    base = pictures.fingerprint()
    assert Stimuli.from_array(NOISE, ids=IDS).fingerprint() == base
    assert pictures.select(IDS).fingerprint() == base
    changed = NOISE.copy()
    changed[0, 0, 0, 0] ^= 1
    others = [
        pictures.select(IDS[::-1]),
        pictures.select(IDS[:3]),
        Stimuli.from_array(NOISE, ids=[*IDS[:3], "mug"]),
        Stimuli.from_array(changed, ids=IDS),
        Stimuli.from_array(NOISE, ids=IDS, transform=ToTensor()),
    ]
    assert len({base, *(other.fingerprint() for other in others)}) == 6


@pytest.mark.parametrize(
    "make",
    [
        lambda k: Stimuli.from_texts([f"text {k}"], ids=["a"]),
        lambda k: Stimuli.from_array(np.full((1, 2), k, np.float32), ids=["a"]),
        lambda k: Stimuli.from_dataset(Pairs([torch.full((2,), k)])),
        lambda k: Stimuli.from_dataset(Pairs([{"n": (k, None), "t": np.ones(k + 1)}])),
        lambda k: Stimuli.from_dataset(Pairs([Image.fromarray(NOISE[k])])),
        lambda k: Stimuli.from_dataset(Pairs([torch.full((2,), k, dtype=torch.bfloat16)])),
    ],
)
def test_every_kind_has_a_fingerprint_of_its_content(make):
    assert make(0).fingerprint() == make(0).fingerprint()
    assert make(0).fingerprint() != make(1).fingerprint()


def test_the_fingerprint_of_files_is_the_same_in_another_process(folder):
    code = f"import neurolens; print(neurolens.Stimuli.from_folder({str(folder)!r}).fingerprint())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == Stimuli.from_folder(folder).fingerprint()


def test_a_set_survives_pickling(pictures):
    again = pickle.loads(pickle.dumps(pictures))
    assert again.fingerprint() == pictures.fingerprint()
    assert again.metadata.equals(pictures.metadata)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stimuli.from_array(NOISE, ids=IDS), "resize"),
        (lambda: Stimuli.from_array(NOISE.astype("float32"), ids=IDS), "none: "),
        (lambda: Stimuli.from_array(NOISE.astype("float32"), ids=IDS, transform=ToTensor()), "ToTensor()"),
        (lambda: Stimuli.from_texts(["a"], ids=["a"]), "resize"),
        (lambda: Stimuli.from_dataset(Pairs([torch.zeros(2)])), "none: "),
        (lambda: Stimuli.from_dataset(Pairs([Image.fromarray(NOISE[0])])), "resize"),
    ],
)
def test_preparation_is_the_models_only_where_it_has_work_to_do(make, said):
    assert make().describe_preparation("resize").startswith(said)


# ---- several readers


KINDS = {
    "files": lambda folder: Stimuli.from_folder(folder, transform=Compose([Resize((4, 4)), ToTensor()])),
    "pixels": lambda folder: Stimuli.from_array(NOISE, ids=IDS, transform=ToTensor()),
    "inputs": lambda folder: Stimuli.from_array(NOISE.astype("float32"), ids=IDS),
    "texts": lambda folder: Stimuli.from_texts(["a", "bc", "d", "e"], ids=IDS, transform=encode),
    "dataset": lambda folder: Stimuli.from_dataset(Pairs([(torch.full((2,), k), k) for k in range(4)])),
}


def encode(text):
    return torch.tensor([len(text), ord(text[0])])


@pytest.mark.parametrize("kind", KINDS)
def test_threads_read_what_one_reader_reads(folder, kind):
    stimuli = KINDS[kind](folder)
    order = [[3, 1], [0], [2, 2, 1]] * 20
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(stimuli.batch, order))
    for indices, batch in zip(order, batches, strict=True):
        assert torch.equal(batch, stimuli.batch(indices))


def test_processes_read_what_one_reader_reads(folder):
    sets = [make(folder) for make in KINDS.values()]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for stimuli in sets:
            assert torch.equal(pool.submit(stimuli.batch, [2, 0]).result(), stimuli.batch([2, 0]))


# ---- thumbnails


@pytest.mark.parametrize("size", [16, 50])
@pytest.mark.parametrize(
    "stimuli",
    [
        Stimuli.from_array(NOISE, ids=IDS),
        Stimuli.from_array(NOISE[..., 0], ids=IDS),
        Stimuli.from_array(np.random.default_rng(1).normal(size=(1, 3, 8, 9)), ids=["a"]),
        Stimuli.from_array(np.random.default_rng(1).normal(size=(1, 1, 8, 9)), ids=["a"]),
        Stimuli.from_array(np.zeros((1, 8, 9)), ids=["a"]),
        Stimuli.from_texts(["The quick brown fox jumps over the lazy dog."], ids=["a"]),
    ],
)
def test_a_thumbnail_is_a_square_of_rgb(stimuli, size):
    picture = stimuli.thumbnail(0, size)
    assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)


def test_a_thumbnail_keeps_proportions_and_pads_with_grey():
    tall = Stimuli.from_array(np.full((1, 40, 20, 3), 255, np.uint8), ids=["a"]).thumbnail(0, 40)
    assert (tall[:, 10:30] == 255).all()
    assert (tall[:, :10] == 128).all()
    assert (tall[:, 30:] == 128).all()


def test_inputs_are_stretched_over_the_grey_levels():
    picture = Stimuli.from_array(np.array([[[-3.0, 1.0], [-3.0, 1.0]]]), ids=["a"]).thumbnail(0, 2)
    assert picture[:, 0].max() == 0
    assert picture[:, 1].min() == 255


def test_what_is_no_picture_has_no_thumbnail():
    with pytest.raises(StimulusError, match="'a' is no picture"):
        Stimuli.from_array(np.zeros((1, 4)), ids=["a"]).thumbnail(0)


def test_the_repr_tells_what_is_inside(pictures):
    text = repr(pictures)
    for part in ("4 images", "'cat'", "'cup'", "animate"):
        assert part in text


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ({"a", "b"}, "ids is a set, which has no order"),
        (["a", None], "id of stimulus 1 is None"),
        ([float("nan"), "b"], "id of stimulus 0 is nan"),
        (["a", "b\0"], "zero byte"),
        (["caf\udce9", "b"], r"'caf\\udce9' holds .*another encoding"),
    ],
)
def test_ids_that_would_be_lost_or_mixed_are_refused(ids, said):
    with pytest.raises(StimulusError, match=said):
        Stimuli.from_texts(["one", "two"], ids=ids)


def test_sets_are_no_columns_texts_or_paths():
    with pytest.raises(StimulusError, match="metadata column 'kind' is a set"):
        Stimuli.from_texts(["one", "two"], ids=["a", "b"], metadata={"kind": {"x", "y"}})
    with pytest.raises(StimulusError, match="texts is a set"):
        Stimuli.from_texts({"one", "two"}, ids=["a", "b"])
    with pytest.raises(StimulusError, match="paths is a set"):
        Stimuli.from_files({"a.png", "b.png"})


def test_what_comes_one_by_one_is_taken_in_its_order(folder):
    files = [folder / "b" / "dog.png", folder / "Z.PNG"]
    stimuli = Stimuli.from_files((file for file in files), ids=(name for name in ("x", "y")))
    assert stimuli.ids == ("x", "y")
    np.testing.assert_array_equal(np.asarray(stimuli.read(0)), NOISE[0])
    assert Stimuli.from_texts((text for text in ("one", "two")), ids=iter("ab")).read(1) == "two"


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([np.zeros((3, 3)), np.zeros((3, 4))], "stimuli of one shape"),
        ((np.zeros((3, 3)) for _ in range(2)), "this is a generator. Stack"),
        ({"a": np.zeros((3, 3))}, "this is a dict. Stack"),
    ],
    ids=["ragged", "generator", "dict"],
)
def test_what_is_no_array_is_explained(array, said):
    with pytest.raises(StimulusError, match=said):
        Stimuli.from_array(array, ids=["a", "b"])


def test_folders_reached_by_a_link_are_left_out_with_a_warning(tmp_path):
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (3, 3)).save(tmp_path / name / f"{name}.png")
    (tmp_path / "inside" / "more").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "inside" / "up").symlink_to(tmp_path / "inside", target_is_directory=True)
    (tmp_path / "inside" / "one.png").symlink_to(tmp_path / "outside" / "outside.png")
    with pytest.warns(NeurolensWarning, match="links to folders.*'more', 'up'"):
        stimuli = Stimuli.from_folder(tmp_path / "inside")
    assert stimuli.ids == ("inside", "one")
    assert Stimuli.from_folder(tmp_path / "inside", "*").ids == ("inside", "one")
    stimuli.check()


def test_a_file_name_in_another_encoding_is_named(tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    try:
        os.rename(os.fsencode(tmp_path / "a.png"), os.fsencode(tmp_path) + b"/caf\xe9.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    with pytest.raises(StimulusError, match="another encoding"):
        Stimuli.from_folder(tmp_path)
    assert Stimuli.from_files(tmp_path.iterdir(), ids=["café"]).read(0).size == (3, 3)


@pytest.mark.parametrize("transform", ["resize", ToTensor, 3])
def test_a_transform_is_a_function_of_one_item(transform):
    with pytest.raises(StimulusError, match="is no function of one item"):
        Stimuli.from_array(NOISE, ids=IDS, transform=transform)


@pytest.mark.parametrize("result", [Image.new("RGB", (3, 3)), None], ids=["image", "nothing"])
def test_a_transform_that_makes_no_tensor_is_told_so(result):
    stimuli = Stimuli.from_array(NOISE, ids=IDS, transform=lambda image: result)
    with pytest.raises(StimulusError, match=r"no tensors after their preparation.*ToTensor\(\)"):
        stimuli.batch([0, 1])


def test_texts_without_a_tokenizer_are_refused():
    stimuli = Stimuli.from_texts(["one", "two"], ids=["a", "b"])
    with pytest.raises(StimulusError, match=r"'a' is a text, and nothing says .*a tokenizer"):
        stimuli.batch([0, 1])
