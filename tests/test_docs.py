"""The documentation: every block of code runs or says why not, every public name is documented, with an example."""

import ast
import doctest
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import warnings
from operator import attrgetter
from pathlib import Path

import jupytext
import matplotlib
import matplotlib.pyplot as plt
import pytest
import yaml
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import neurolens as nl

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
ROOMS = (
    "activations", "brain", "comparison", "datasets", "demo", "encoding", "errors", "explorer", "models",
    "plot", "rsa", "stimuli", "store", "testing", "tracing",
)  # fmt: skip
REASON = re.compile(r"<!-- not run: (.+?) -->\s*$")


# --- pages


def read_blocks(page):
    """Python blocks of a page: line, code, and why it is not run (None: it is)."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: match.start()]
        reason = REASON.search(before)
        yield before.count("\n") + 2, match[1], reason[1] if reason else None


def pages_with_code():
    return [page for page in PAGES if any(reason is None for _, _, reason in read_blocks(page))]


def make_script(page):
    """The blocks of a page that are run, each where it stands, so that a traceback names the line of the page."""
    lines = []
    for line, code, reason in read_blocks(page):
        if reason is None:
            lines += [""] * (line - 1 - len(lines)) + code.splitlines()
    return "\n".join(lines)


@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: page.stem)
def test_code_of_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    source = make_script(page)
    if "import torchlens" in source:  # it leaves torch wrapped: other tests would meet that
        (tmp_path / "page.py").write_text(source, encoding="utf-8")
        done = subprocess.run([sys.executable, "page.py"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    with warnings.catch_warnings():
        warnings.simplefilter(
            "default"
        )  # peers warn of their own dependencies; readers see values, not warnings
        exec(compile(source, str(page), "exec"), {"__name__": "__page__"})


def test_a_reason_is_a_sentence():
    reasons = [reason for page in PAGES for _, _, reason in read_blocks(page) if reason is not None]
    assert all(len(reason.split()) >= 3 for reason in reasons)


def test_reader_of_blocks_tells_what_is_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n```python\nx = 1\n```\n<!-- not run: needs a cluster -->\n```python\nx = 2\n```\n")
    assert list(read_blocks(page)) == [(3, "x = 1\n", None), (7, "x = 2\n", "needs a cluster")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_it_links_to_is_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", text)
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_site_folds_checks_and_solutions_and_nothing_else(tmp_path):
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", "") == "gather_tutorials"]
    scope = {"shutil": shutil, "jupytext": jupytext, "Path": Path}  # the rest of the file writes inventories
    exec(compile(tree, "conf.py", "exec"), scope)
    scope["gather_tutorials"](ROOT / "tutorials", tmp_path / "pages")
    pages = sorted((tmp_path / "pages").glob("*.ipynb"))
    assert len(pages) == 9
    for cell in (cell for page in pages for cell in jupytext.read(page).cells):
        tags = set(cell.metadata.get("tags", []))
        assert ("hide-input" in tags) == bool(tags & {"check", "solution"})


# --- what is public


def find_public():
    """Every public callable: name under its room, object; of classes what they define themselves."""
    for room in ROOMS:
        module = importlib.import_module(f"neurolens.{room}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"neurolens.{room}.{name}", thing


PUBLIC = dict(find_public())
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}


def find_members():
    kinds = (property, classmethod, staticmethod)
    for name, thing in CLASSES.items():
        for key, value in vars(thing).items():
            told = inspect.isfunction(value) or isinstance(value, kinds)
            if told and not key.startswith("_") and not key.endswith("_request"):
                yield f"{name}.{key}", value


MEMBERS = dict(find_members())

# What numpydoc knows to be wrong. Left out: PR04 (types stand in the signature), SA01 (no "See also" where the
# reference is grouped), PR03 (parameters are in order of meaning), ES01 (a summary may say all), and capitals and full
# stops of descriptions, which are prose.
WANTED = {
    "GL01", "GL02", "GL05", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04", "SS05", "SS06",
    "PR01", "PR02", "PR10", "RT01", "RT02", "RT03",
}  # fmt: skip


# Made by functions, never by users: what they hold is told by their attributes, not as parameters.
MADE_BY_FUNCTIONS = {
    "neurolens.activations": {"ActivationsInMemory", "Candidate", "StoredActivations", "StreamedActivations"},
    "neurolens.datasets": {"Card", "Dataset"},
    "neurolens.stimuli": {"Stimuli"},
    "neurolens.store": {"Problem", "StoreWriter", "Verification"},
    "neurolens.tracing": {
        "Module",
        "Operation",
        "Pass",
        "Readout",
        "Report",
        "Source",
        "Trace",
        "TracedActivations",
    },
}

# What other rooms of the package call; users index a trace, hand a reduction to `extract`, and fit an estimator.
INNER = {
    *(f"neurolens.tracing.Trace.{name}" for name in (
        "address_of", "describe", "drop_all_but", "events_in", "items_of", "maker_of", "pass_address", "place_of",
        "read_gradient", "read_tensor", "resolve", "sites_of", "split", "stimulus_coords",
    )),
    *(f"neurolens.activations.{name}.plan" for name in (
        "ChosenUnits", "Pooling", "PrincipalComponents", "RandomProjection",
    )),
    "neurolens.encoding.BandedRidge.options",
    "neurolens.errors.check_choice", "neurolens.errors.explain_unreadable",
    "neurolens.errors.list_names", "neurolens.errors.near_misses",
}  # fmt: skip


def is_made_by_functions(name):
    room, _, own = name.rpartition(".")
    return own in MADE_BY_FUNCTIONS.get(room, ())


def find_faults(name):
    wanted = WANTED
    if name in INNER:
        wanted = WANTED - {"PR01", "RT01", "RT03"}
    elif is_made_by_functions(name):
        wanted = WANTED - {"PR01"}
    return [f"{code}: {message}" for code, message in validate(name)["errors"] if code in wanted]


def is_error(thing):
    return inspect.isclass(thing) and issubclass(thing, Exception)


@pytest.mark.parametrize("name", [*PUBLIC, *MEMBERS])
def test_docstring_is_valid_numpydoc(name):
    assert find_faults(name) == []


@pytest.mark.parametrize(
    "name", [name for name, thing in PUBLIC.items() if not is_error(thing) and name not in INNER]
)
def test_public_name_has_an_example(name):
    assert NumpyDocString(inspect.getdoc(PUBLIC[name]) or "")["Examples"], f"{name} has no example"


@pytest.mark.parametrize(
    "name",
    [name for name, member in MEMBERS.items() if name not in INNER and not isinstance(member, property)],
)
def test_method_has_an_example_or_stands_in_that_of_its_class(name):
    owner, _, method = name.rpartition(".")
    own = inspect.getdoc(getattr(CLASSES[owner], method)) or ""
    of_class = "\n".join(NumpyDocString(inspect.getdoc(CLASSES[owner]))["Examples"])
    assert ">>>" in own or re.search(rf"\.(fit_)?{method}\(", of_class), f"{name} is shown nowhere"


def test_reference_lists_everything_public():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    listed = [attrgetter(name)(nl) for name in re.findall(r"^   neurolens\.(\S+)$", text, re.MULTILINE)]
    assert [name for name, thing in PUBLIC.items() if thing not in listed and name not in INNER] == []


def find_raised(thing):
    """Names of the errors that a function raises in its own body."""
    thing = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing))))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    made = [error.func if isinstance(error, ast.Call) else error for error in raised]
    return {error.id for error in made if isinstance(error, ast.Name) and error.id[0].isupper()}


@pytest.mark.parametrize(
    "name",
    [name for name, thing in (PUBLIC | MEMBERS).items() if not inspect.isclass(thing) and name not in INNER],
)
def test_what_is_raised_is_told(name):
    thing = (PUBLIC | MEMBERS)[name]
    told = {error.type for error in NumpyDocString(inspect.getdoc(thing) or "")["Raises"]}
    assert find_raised(thing) <= told


def test_reader_of_raised_errors_finds_them():
    assert find_raised(nl.plot.rdms) == {"InputError"}
    assert find_raised(test_a_reason_is_a_sentence) == set()


# Of the rooms of science, what is no method of the literature: readers, writers, labels, bookkeeping, least squares.
NO_METHOD = {
    *(f"neurolens.brain.{name}" for name in (
        "average_blocks", "average_repetitions", "by_subject",
        "check_responses", "flatten_repetitions", "label_regions", "read_betas",
        "read_bold", "read_responses", "region_masks", "responses", "split_regions", "stack_repetitions",
        "to_brainscore", "to_nifti", "to_rsatoolbox",
    )),
    *(f"neurolens.encoding.{name}" for name in ("Linear", "Pool", "fit_weights", "join_spaces", "summarize_regions")),
    *(f"neurolens.rsa.{name}" for name in (
        "from_rsatoolbox", "label_rdms", "read_rdms", "to_rsatoolbox", "write_rdms",
    )),
    *(f"neurolens.activations.{name}" for name in ("ChosenUnits", "Pooling")),
}  # fmt: skip
METHODS = [
    name
    for name in PUBLIC
    if name.split(".")[1] in {"brain", "comparison", "encoding", "rsa"} or name.split(".")[2] in {
        "PrincipalComponents", "RandomProjection",
    }
    if name not in NO_METHOD
]  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_method_names_its_paper(name):
    references = "\n".join(NumpyDocString(inspect.getdoc(PUBLIC[name]))["References"])
    assert re.search(r"doi:10\.\S+|jmlr\.org|jstor\.org", references), f"{name} names no reference"


def test_what_is_left_out_exists():
    assert set(PUBLIC) >= NO_METHOD
    made = {f"{room}.{name}" for room, names in MADE_BY_FUNCTIONS.items() for name in names}
    assert made <= set(CLASSES)
    assert set(PUBLIC) | set(MEMBERS) >= INNER


def test_every_doi_of_a_docstring_stands_among_the_references():
    text = (DOCS / "references.md").read_text(encoding="utf-8").replace("%28", "(").replace("%29", ")")
    named = {
        doi.rstrip(".,;")
        for path in (ROOT / "neurolens").rglob("*.py")
        for doi in re.findall(r"doi:(10\.\S+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert sorted(doi for doi in named if doi not in text) == []


# --- examples


def find_modules():
    folder = ROOT / "neurolens"
    for path in sorted(folder.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(find_modules()))
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0
    plt.close("all")


def test_citation_file_names_what_is_needed():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "title", "message", "authors", "license"} <= set(citation)
    assert (
        citation["license"]
        == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    )


def test_environment_asks_for_extras_that_exist():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    (asked,) = [re.search(r"\[(.+)\]", line)[1].split(",") for line in pip]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(asked) <= set(project["optional-dependencies"])
