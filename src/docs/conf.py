"""Sphinx reads this beside the pages that scripts/docs has laid out; it says where root and Doxygen's output are."""
import os
import re
import sys

ROOT = os.environ["GKA_ROOT"]
sys.path.insert(0, os.path.join(ROOT, "src", "python"))
with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
    version = release = re.search(r"project\(gka VERSION ([0-9.]+)", file.read())[1]

project, author, project_copyright = "gka", "The gka maintainers", "The gka maintainers"
extensions = ["myst_parser", "breathe", "sphinx.ext.autodoc"]
root_doc = "index"
highlight_language = "none"
myst_heading_anchors = 4

breathe_projects, breathe_default_project = {"gka": os.environ["GKA_XML"]}, "gka"
breathe_domain_by_extension = {"h": "c"}
breathe_show_include = False
autodoc_mock_imports = ["gka._gka", "torch", "pytest"]  # the extension and PyTorch: not needed to read what is written
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
nitpick_ignore_regex = [("c:.*", ".*"), ("cpp:.*", ".*"), ("py:.*", ".*")]

html_theme = "furo"
html_title = f"gka {release}"
html_static_path = ["static"]
html_css_files = ["gka.css"]
html_show_sphinx = False
html_copy_source = False


def as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text: what is laid out by hand keeps its lines, and no character of it means anything to Sphinx."""
    out = []
    for paragraph in "\n".join(lines).split("\n\n"):
        rows = paragraph.split("\n")
        if any(re.match(r"\s{2,}\S", row) or re.search(r"\S {3,}\S", row) for row in rows):
            out += ["::", ""] + ["    " + row for row in rows] + [""]
        else:
            out += [re.sub(r"([*`|_\\])", r"\\\1", row) for row in rows] + [""]
    lines[:] = out


def without_fields(app, what, name, obj, skip, options):
    """A named tuple's fields: the class says what they are."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-skip-member", without_fields)
    app.connect("autodoc-process-docstring", as_written)
