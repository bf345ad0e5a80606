"""Stimuli with brain data, under one verb: embedded, found in a folder, or downloaded by checksum."""

from neurolens.datasets.cards import Card, list_datasets, read_card
from neurolens.datasets.fetching import Dataset, fetch

__all__ = ["Card", "Dataset", "fetch", "list_datasets", "read_card"]
