"""The documentation site: `make docs` builds it, and a warning is an error."""

import importlib
import inspect
import pkgutil
import re
import shutil
import sys
import zlib
from importlib.metadata import version as installed_version
from pathlib import Path
from types import ModuleType

import jupytext

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import neurolens  # noqa: E402  (from this checkout)

project = "neurolens"
author = "the neurolens developers"
copyright = author
release = installed_version("neurolens-toolkit")
version = release

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_design",
]
exclude_patterns = ["_build", "images/*.py", "inventories.txt"]
html_theme = "pydata_sphinx_theme"
html_title = "neurolens"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_theme_options = {
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": {
        "*": ["page-toc"],
        "tutorials/*": ["page-toc"],
        "generated/*": [],
    },  # room for examples
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = (
    "off"  # the tests run every tutorial and every block of code; a page shows what was exported
)

default_role = "code"  # names in docstrings stand in single backticks

nb_merge_streams = True  # lines of one cell in one box

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "FloatArray", "Ops")}
maximum_signature_line_length = 90
numpydoc_show_class_members = False  # the template of classes lists methods and attributes
numpydoc_xref_param_type = False  # types are prose: "DataArray (stimulus, unit)"
templates_path = ["_templates"]
# Two names that differ only in case would be one file on some disks.
autosummary_filename_map = {"neurolens.Trace": "neurolens.Trace_class"}


def list_untold(room: ModuleType) -> dict[str, list[str]]:
    """List for each class of a room what its page leaves out: what others define, and fields, which it tells itself."""
    untold = {}
    for name in room.__all__:
        thing = getattr(room, name)
        if not inspect.isclass(thing):
            continue
        ours, theirs, fields = set(), set(), set()
        for ancestor in thing.__mro__:
            (ours if ancestor.__module__.startswith("neurolens.") else theirs).update(vars(ancestor))
            fields.update(vars(ancestor).get("__annotations__", ()))
        requests = {
            name for name in ours if name.endswith("_request")
        }  # of scikit-learn, made for each class
        untold[name] = sorted((theirs - ours) | fields | requests)
    return untold


autosummary_context = {
    "untold": {
        name: names
        for room in pkgutil.iter_modules(neurolens.__path__)
        if hasattr(module := importlib.import_module(f"neurolens.{room.name}"), "__all__")
        for name, names in list_untold(module).items()
    }
}


def write_inventories(target: Path) -> dict[str, tuple[str, str]]:
    """Turn `inventories.txt` into Sphinx inventories, so that links to other projects need no network."""
    mapping, rows = {}, {}
    for line in (HERE / "inventories.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            name, url = line[1:-1].split()
            mapping[name], rows[name] = (url, str(target / f"{name}.inv")), []
        elif line and not line.startswith("#"):
            rows[name].append(line)
    target.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        entries = "".join(f"{words[0]} {words[1]} 1 {words[2]} -\n" for words in map(str.split, lines))
        head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# zlib\n"
        (target / f"{name}.inv").write_bytes(head.encode() + zlib.compress(entries.encode()))
    return mapping


def gather_tutorials(source: Path, target: Path) -> None:
    """Copy the exported notebooks beside the pages; a tutorial without an export is shown without outputs."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for script in sorted(source.glob("[0-9]*.py")):
        exported = [
            path for path in source.rglob(f"{script.stem}.ipynb") if ".ipynb_checkpoints" not in path.parts
        ]
        notebook = jupytext.read(exported[0] if exported else script)
        notebook.cells = [cell for cell in notebook.cells if "wrong" not in cell.metadata.get("tags", [])]
        for cell in notebook.cells:
            for kind in {"check", "solution"} & set(
                cell.metadata.get("tags", [])
            ):  # folded, as in the notebook
                cell.metadata["tags"].append("hide-input")
                cell.metadata["mystnb"] = {
                    "code_prompt_show": f"Show the {kind}",
                    "code_prompt_hide": f"Hide the {kind}",
                }
        notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
        jupytext.write(notebook, target / f"{script.stem}.ipynb")


intersphinx_mapping = write_inventories(HERE / "_build" / "inventories")
gather_tutorials(HERE.parent / "tutorials", HERE / "tutorials")


def drop_unwritten(app: object, page: str, source: list[str]) -> None:
    """Leave pages out of the contents that a target writes (`make bench`) and has not written here."""
    for name in ("benchmarks", "cli", "layer_to_brain"):
        if not (HERE / f"{name}.md").exists():
            source[0] = source[0].replace(f"\n{name}\n", "\n")


ARRAY = re.compile(
    r"~?numpy\.ndarray\[(?:tuple\[~?typing\.Any, \.\.\.\]|~?typing\.Any), "
    r"~?numpy\.dtype\[([^\[\]]+(?:\[[^\[\]]*\])?)\]\]"
)


def shorten_types(text: str | None) -> str | None:
    """Write types of arrays as the code does: NDArray[float64]."""
    if text is None:
        return None
    return ARRAY.sub(r"NDArray[\1]", re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text))


def shorten_signature(*event: object) -> tuple[str | None, str | None]:
    """Shorten the types of parameters and of what is returned: the last two things that autodoc tells."""
    arguments, returned = event[-2:]
    return shorten_types(arguments), shorten_types(returned)  # type: ignore[arg-type]


def setup(app: object) -> None:
    """Tell Sphinx what to call."""
    app.connect("source-read", drop_unwritten)  # type: ignore[attr-defined]
    app.connect("autodoc-process-signature", shorten_signature)  # type: ignore[attr-defined]
