"""How Sphinx builds these pages: ``make docs``. No network is needed."""

from __future__ import annotations

import importlib.metadata

project = "ctckit"
author = "The ctckit developers"
project_copyright = author
release = importlib.metadata.version("ctckit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["figures"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
default_role = "py:obj"  # `ctckit.ctc_loss` in a docstring is a link where it can be one

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output stay behind

html_theme = "furo"
html_title = f"ctckit {release}"
