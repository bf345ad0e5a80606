"""The documentation: every block of code runs or says why not, every public name is documented, with an example."""

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
import warnings
from operator import attrgetter
from pathlib import Path
from types import ModuleType

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


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_lines_of_code_fit_a_page_of_1280_pixels(page):
    blocks = re.findall(
        r"^```(?:python|sh)\b[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert [line for block in blocks for line in block.splitlines() if len(line) > 96] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_it_links_to_is_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", text)
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_site_folds_checks_and_solutions_and_nothing_else(tmp_path):
    (gather_tutorials,) = read_conf("gather_tutorials")
    gather_tutorials(ROOT / "tutorials", tmp_path / "pages")
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


# Of special methods, those that somebody meets: by indexing, a loop, `len`, `in`, `print`, `if` or `with`.
SPECIAL = {
    "__getitem__", "__iter__", "__len__", "__contains__", "__call__", "__enter__", "__exit__",
    "__bool__", "__repr__", "__str__", "_repr_html_",
}  # fmt: skip


def own_parts(thing):
    """What a class and those of its ancestors that are ours define: name, value; the nearest wins."""
    parts = {}
    for ancestor in reversed(thing.__mro__):
        if ancestor.__module__.startswith("neurolens."):
            parts |= vars(ancestor)
    return parts


def find_members():
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    for name, thing in CLASSES.items():
        for key, value in own_parts(thing).items():
            told = inspect.isfunction(value) or isinstance(value, kinds)
            if told and not key.startswith("_") and not key.endswith("_request"):
                yield f"{name}.{key}", value


def find_specials():
    for name, thing in CLASSES.items():
        for key, value in own_parts(thing).items():
            written = inspect.isfunction(value) and inspect.getsourcefile(value) is not None
            if key in SPECIAL and written and "neurolens" in inspect.getsourcefile(value):
                yield f"{name}.{key}", value


MEMBERS = dict(find_members())
SPECIALS = dict(find_specials())

# What numpydoc knows to be wrong. Left out: PR04 (types stand in the signature), SA01 (no "See also" where the
# reference is grouped), PR03 (parameters are in order of meaning), ES01 (a summary may say all), and capitals and full
# stops of descriptions, which are prose.
WANTED = {
    "GL01", "GL02", "GL05", "GL07", "GL08", "SS01", "SS02", "SS03", "SS04", "SS05", "SS06",
    "PR01", "PR02", "PR10", "RT01", "RT02", "RT03",
}  # fmt: skip


# Made by functions, never by users: what they hold is told by their attributes, not as parameters.
MADE_BY_FUNCTIONS = {
    "neurolens.comparison": {"ProfileAccessor"},
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
        "address_of", "axes", "describe", "drop_all_but", "events_in", "graph", "items_of", "maker_of", "names",
        "pass_address", "place_of", "planner", "read_gradient", "read_tensor", "resolve", "sites_of", "split",
        "stimulus_coords",
    )),
    *(f"neurolens.activations.{name}.plan" for name in (
        "ChosenUnits", "Pooling", "PrincipalComponents", "RandomProjection",
    )),
    *(f"neurolens.encoding.{name}" for name in (
        "BandedRidge.inner_folds", "BandedRidge.options", "Delay.n_lags", "HRF.n_lags", "Ridge.inner_folds",
    )),
    "neurolens.errors.as_names", "neurolens.errors.check_choice", "neurolens.errors.check_name",
    "neurolens.errors.explain_unreadable", "neurolens.errors.check_count", "neurolens.errors.is_between",
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


def find_examples(thing):
    """The examples of a class and of those of its ancestors that are ours, as one text."""
    ours = [ancestor for ancestor in thing.__mro__ if ancestor.__module__.startswith("neurolens.")]
    texts = (NumpyDocString(inspect.getdoc(ancestor) or "")["Examples"] for ancestor in ours)
    return "\n".join(line for text in texts for line in text)


@pytest.mark.parametrize("name", [name for name in MEMBERS if name not in INNER])
def test_member_has_an_example_or_stands_in_that_of_its_class(name):
    owner, _, member = name.rpartition(".")
    own = inspect.getdoc(MEMBERS[name]) or ""
    shown = rf"\.(fit_)?{member}\b" if member != "fit" else r"\.fit(_transform|_predict)?\("
    assert ">>>" in own or re.search(shown, find_examples(CLASSES[owner])), f"{name} is shown nowhere"


@pytest.mark.parametrize("name", SPECIALS)
def test_special_method_tells_what_it_does(name):
    assert SPECIALS[name].__doc__, f"{name} has no docstring"
    if name.endswith("__getitem__"):
        assert find_faults(name) == []


def find_held(thing):
    """Public names that a class holds: fields, and what its methods set on `self`."""
    held = set(getattr(thing, "_fields", ()))
    if dataclasses.is_dataclass(thing):
        held |= {field.name for field in dataclasses.fields(thing)}
    for ancestor in thing.__mro__:
        if ancestor.__module__.startswith("neurolens."):
            tree = ast.parse(textwrap.dedent(inspect.getsource(ancestor)))
            stored = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
            stored = [node for node in stored if isinstance(node.ctx, ast.Store)]
            held |= {node.attr for node in stored if getattr(node.value, "id", None) == "self"}
    return {name for name in held if not name.startswith("_")}


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_class_holds_is_told(name):
    sections = NumpyDocString(inspect.getdoc(CLASSES[name]) or "")
    entries = [entry for section in ("Attributes", "Parameters") for entry in sections[section]]
    told = {name.strip() for entry in entries if any(entry.desc) for name in entry.name.split(",")}
    assert find_held(CLASSES[name]) <= told


def test_reader_of_what_is_held_finds_fields_and_fitted_attributes():
    assert {"alphas", "alpha_", "coef_"} <= find_held(nl.Ridge)
    assert {"file", "line", "text"} <= find_held(nl.tracing.Source)
    assert {"trace", "address"} <= find_held(nl.tracing.Pass)


ARRAYS = re.compile(r"DataArray|xr\.Dataset|NDArray|ndarray|FloatArray")
DIMS = re.compile(r"\([a-z\[.]+[^)]*\)|shape|\bdims\b|\bover\b|coords on", re.IGNORECASE)


def get_function(thing):
    for kind, name in ((property, "fget"), (functools.cached_property, "func")):
        if isinstance(thing, kind):
            return getattr(thing, name)
    return inspect.unwrap(getattr(thing, "__func__", thing))


ARRAY_GIVERS = [
    name
    for name, thing in (PUBLIC | MEMBERS | SPECIALS).items()
    if not inspect.isclass(thing) and name not in INNER
    if ARRAYS.search(str(get_function(thing).__annotations__.get("return", "")))
]


@pytest.mark.parametrize("name", ARRAY_GIVERS)
def test_an_array_that_is_returned_tells_its_dims(name):
    thing = (PUBLIC | MEMBERS | SPECIALS)[name]
    doc = NumpyDocString(inspect.getdoc(get_function(thing)) or "")
    told = [*doc["Summary"], *doc["Extended Summary"]]
    for entry in doc["Returns"]:
        told += [entry.name, entry.type, *entry.desc]
    assert DIMS.search(" ".join(told)), f"{name} does not say over what its array is"


def test_there_are_arrays_to_ask():
    assert len(ARRAY_GIVERS) > 50
    assert not DIMS.search("What it computed, read-only.")


def test_reference_lists_everything_public():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    listed = [attrgetter(name)(nl) for name in re.findall(r"^   neurolens\.(\S+)$", text, re.MULTILINE)]
    assert [name for name, thing in PUBLIC.items() if thing not in listed and name not in INNER] == []


def read_conf(*names):
    """Functions of the configuration of the site; the rest of the file writes files."""
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", "") in names]
    scope = {
        "inspect": inspect,
        "jupytext": jupytext,
        "shutil": shutil,
        "Path": Path,
        "ModuleType": ModuleType,
    }
    exec(compile(tree, "conf.py", "exec"), scope)
    return [scope[name] for name in names]


def test_page_of_a_class_shows_every_member_of_ours_and_none_of_others():
    (list_untold,) = read_conf("list_untold")
    for name, thing in CLASSES.items():
        room, _, own = name.rpartition(".")
        untold = set(list_untold(importlib.import_module(room))[own])
        shown = {key for key in dir(thing) if not key.startswith("_")} - untold
        told = {key.rpartition(".")[2] for key in MEMBERS if key.rpartition(".")[0] == name}
        assert shown >= told - find_held(thing)
        assert shown - told <= {key for key in own_parts(thing) if key not in find_held(thing)}


def find_raised(thing):
    """Names of the errors that a function raises in its own body."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(get_function(thing))))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    made = [error.func if isinstance(error, ast.Call) else error for error in raised]
    return {error.id for error in made if isinstance(error, ast.Name) and error.id[0].isupper()}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, thing in (PUBLIC | MEMBERS | SPECIALS).items()
        if not inspect.isclass(thing) and name not in INNER
    ],
)
def test_what_is_raised_is_told(name):
    thing = (PUBLIC | MEMBERS | SPECIALS)[name]
    told = {error.type for error in NumpyDocString(inspect.getdoc(get_function(thing)) or "")["Raises"]}
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


def read_environment():
    """The parts of environment.yml: names that conda resolves, lines that pip does."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (lines,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    return [entry for entry in entries if isinstance(entry, str)], lines


def test_pip_part_of_the_environment_is_this_project_with_extras_that_exist(tmp_path):
    """As conda does it: pip reads the lines as a requirements file, in the folder of environment.yml."""
    ((option, requirement),) = [shlex.split(line) for line in read_environment()[1]]
    assert option == "-e"  # left out below: only this needs a build requirement that is not installed here
    listed = tmp_path / "requirements.txt"
    listed.write_text(f"{requirement}\n", encoding="utf-8")
    options = [
        "--dry-run",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--ignore-installed",
        "--quiet",
    ]
    command = [sys.executable, "-m", "pip", "install", *options, "--report", "-", "-r", str(listed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["install"]
    assert found["metadata"]["name"] == "neurolens-toolkit"
    assert found["download_info"]["url"] == ROOT.as_uri()
    assert found["requested_extras"]
    assert set(found["requested_extras"]) <= set(found["metadata"]["provides_extra"])


def test_python_of_the_environment_is_one_that_the_project_takes():
    (python,) = [entry.partition("=")[2] for entry in read_environment()[0] if entry.startswith("python=")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = project["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, least.split(".")))
