from .cards import Card as Card
from .cards import list_datasets as list_datasets
from .cards import read_card as read_card
from .fetching import Dataset as Dataset
from .fetching import fetch as fetch
