"""Configure the documentation site: what `make docs` makes of the repository's pages and docstrings.

The source folder is the whole repository, so that a relative link means here what it means on a code host. What is
linked and is no page stands in the site at its own path: a source file as a page, a folder as a list, data as they are.
"""

import importlib
import inspect
import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from golu import __version__

ROOT = Path(__file__).parents[1]
# the sidebar: pages below a page, in groups with a caption; a page that no group has is a warning
SIDEBAR = {
    "README": {
        "Use": ["docs/usage", "docs/integrations", "docs/export", "docs/first_steps", "docs/performance", "docs/forms"],
        "Compare": ["docs/comparison", "docs/report"],
        "Train": ["docs/tasks/*", "docs/results"],
        "Explain": ["docs/behaviour", "docs/gallery"],
        "Reference": ["docs/api/*"],
        "Develop": ["docs/extending", "docs/design", "CHANGELOG"],
    },
    "docs/performance": {"": ["benchmarks/results/*"]},
    "docs/comparison": {"": ["benchmarks/results/*/**"]},
}
AS_THEY_ARE = {".csv", ".gif", ".json", ".png"}  # what a browser shows or saves without a page around it
COMPILED = {".pyc", ".so"}

project, html_title, copyright = "GoLU", f"GoLU {__version__}", "the authors of GoLU, MIT licence"
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**", "benchmarks/results/**"]
exclude_patterns = ["**/.*", "build", "data", "results"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
smartquotes = False  # would make a dash of the flag --seeds
default_role = "py:obj"  # what a docstring has in backticks: a link, if that is in the reference
autodoc_member_order = "bysource"
napoleon_use_param = False  # one entry for alpha, beta, gamma
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 90
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*"), ("py:class", r"(?!golu\.).*")]  # our own types are in the reference
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False


def add_sidebar(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add what Markdown files do not say: the pages below one, the title of a stored table, what is not searched."""
    if docname == "CHANGELOG":  # it has a word of everything, and would come first
        source[0] = f"---\nnosearch: true\n---\n\n{source[0]}"
    if docname.endswith("/table"):
        title = docname.removeprefix("benchmarks/results/").replace("/tuned/table", "").removesuffix("/table")
        source[0] = f"# {title.replace('_', ' ')}\n\n{source[0]}"
    for caption, pages in SIDEBAR.get(docname, {}).items():
        lines = [f":caption: {caption}"] * bool(caption) + [":hidden:", ":glob:", "", *(f"/{page}" for page in pages)]
        source[0] += "\n".join(["", "```{toctree}", *lines, "```", ""])


def plain_signature(app: Sphinx, *described: Any) -> tuple[str | None, str | None]:
    """Write the defaults of a dataclass as its source does."""
    *_, signature, returned = described
    return signature and signature.replace("<factory>", "{}").replace("PosixPath", "Path"), returned


class Dashes(SphinxTransform):
    """Set a dash between a parameter and what is said of it, which smart quotes would do everywhere."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Replace what Sphinx has put there in one page."""
        for text in list(self.document.findall(nodes.Text)):
            if text.startswith(" -- "):
                text.parent.replace(text, nodes.Text(text.replace(" -- ", " \N{EN DASH} ", 1)))


class LinksToFiles(SphinxTransform):
    """Let what is linked and no page, and the source of what the reference describes, be found in the site."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Make the links of one page."""
        here = posixpath.dirname(self.env.docname)
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                path = posixpath.normpath(posixpath.join(here, node["reftarget"]))
                if node["reftype"] == "myst" and node["refdomain"] is None and (ROOT / path).exists():
                    node.replace_self(self.link(path, "", node.children))
        for node in self.document.findall(addnodes.desc_signature):
            if source := source_of(node["module"], node["fullname"]):
                node += self.link(*source, [nodes.inline("", "[source]", classes=["viewcode-link"])])

    def link(self, path: str, anchor: str, shown: list[nodes.Node]) -> nodes.reference:
        """Link to a file or folder of the repository, and note that it is linked."""
        self.env.metadata[self.env.docname].setdefault("linked", []).append(path)
        uri = posixpath.relpath(address(path), posixpath.dirname(self.env.docname)) + anchor
        return nodes.reference("", "", *shown, internal=True, refuri=uri)


def source_of(module: str, name: str) -> tuple[str, str] | None:
    """Return the file that defines a function or class, and the anchor of its line; None: it is a value."""
    found: Any = importlib.import_module(module)
    for each in name.split("."):
        found = getattr(found, each, None)
    found = inspect.unwrap(getattr(found, "fget", found))
    if not inspect.isroutine(found) and not inspect.isclass(found):
        return None
    path = Path(inspect.getsourcefile(found) or "").relative_to(ROOT).as_posix()
    return path, f"#line-{inspect.getsourcelines(found)[1]}"


def address(path: str) -> str:
    """Return where the site has a file or folder of the repository."""
    if (ROOT / path).is_dir():
        return f"{path}/index.html"
    if path.endswith(".md"):
        return f"{path.removesuffix('.md')}.html"
    return path if Path(path).suffix in AS_THEY_ARE else f"{path}.html"


def add_linked(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Make pages of the linked files and folders, and of all that these hold; copy what needs no page."""
    paths = sorted({path for values in app.env.metadata.values() for path in values.get("linked", [])})
    for path in paths:  # a folder adds to them
        file = ROOT / path
        if file.is_dir():
            held = [each.relative_to(ROOT).as_posix() for each in sorted(file.rglob("*")) if each.is_file()]
            held = [each for each in held if Path(each).suffix not in COMPILED]
            paths += [each for each in held if each not in paths and not each.endswith(".md")]
            links = [(posixpath.relpath(address(each), path), posixpath.relpath(each, path)) for each in held]
            body = f"<ul>{''.join(f'<li><a href={link!r}>{name}</a></li>' for link, name in links)}</ul>"
        elif file.suffix in AS_THEY_ARE:
            (app.outdir / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, app.outdir / path)
            continue
        else:
            language = {".py": "python", ".yaml": "yaml", "": "make"}.get(file.suffix, "text")
            body = app.builder.highlighter.highlight_block(file.read_text(), language, lineanchors="line")
        yield address(path).removesuffix(".html"), {"title": path, "body": f"<h1>{path}</h1>{body}"}, "page.html"


def add_entrance(app: Sphinx, error: Exception | None) -> None:
    """Lead from the address of the site to its first page."""
    (app.outdir / "index.html").write_text(f'<meta http-equiv="refresh" content="0; url={root_doc}.html">\n')


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("source-read", add_sidebar)
    app.connect("autodoc-process-signature", plain_signature)
    app.add_transform(Dashes)
    app.add_transform(LinksToFiles)
    app.connect("html-collect-pages", add_linked)
    app.connect("build-finished", add_entrance)
