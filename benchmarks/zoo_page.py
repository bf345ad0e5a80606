"""docs/zoo.md, made of the kept results."""


def write_page(results):
    pass
