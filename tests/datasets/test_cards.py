import hashlib

import pytest

from neurolens import datasets
from neurolens.datasets.cards import find_catalogue, read_registry
from neurolens.errors import InputError


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_every_card_is_complete(name):
    card = datasets.read_card(name)
    for text in (card.title, card.description, card.origin, card.licence, *card.citation):
        assert text.strip() == text != ""
    assert dict(card.shapes)["stimuli"]
    assert f"({name}, {'SIMULATED' if card.simulated else 'measured'} data)" in repr(card)


def test_an_unknown_dataset_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'shapes80'.*Did you mean 'kriegeskorte92'"):
        datasets.read_card("kriegeskorte29")


@pytest.mark.parametrize("name", datasets.list_datasets())
def test_the_catalogue_holds_cards_and_embedded_files_only(name):
    registry = read_registry(name)
    allowed = {"card.toml", "registry.toml", "make.py"}
    if not registry.origins:
        allowed |= {file.name for file in registry.files}
    present = {path.name for path in (find_catalogue() / name).iterdir() if path.name != "__pycache__"}
    assert present <= allowed


def test_embedded_files_are_small_and_have_their_checksums():
    for file in read_registry("shapes80").files:
        content = (find_catalogue() / "shapes80" / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert len(content) == file.size < 3_000_000


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["site/neurolens/_datasets"], "site/neurolens/_datasets"),
        (["site/datasets"], "site/datasets"),
        (["site/neurolens/_datasets", "site/datasets"], "site/neurolens/_datasets"),
    ],
)
def test_the_installed_package_is_looked_at_before_the_checkout(tmp_path, folders, expected):
    for folder in folders:
        (tmp_path / folder / "some").mkdir(parents=True)
        (tmp_path / folder / "some" / "card.toml").write_text("")
    assert find_catalogue(tmp_path / "site" / "neurolens") == tmp_path / expected


def test_another_package_named_datasets_is_not_the_catalogue(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    with pytest.raises(InputError, match="cards of the datasets are missing"):
        find_catalogue(tmp_path / "neurolens")
