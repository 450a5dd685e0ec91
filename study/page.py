"""An executed notebook as one page that needs no network: formulas as MathML, no scripts."""

import re
from html import escape
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

# nbconvert's page without what it fetches, and with what a figure shows in words.
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}<style>math[display=block] { margin: 1em 0 }</style>{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block footer %}</html>{% endblock %}
{% block data_png %}
{%- set alt = output | get_metadata('alt', 'image/png') -%}
{{ super() | replace('<img ', '<img alt="' ~ alt | escape_html ~ '" ' if alt else '<img ', 1) }}
{%- endblock %}"""
# What browsers draw better otherwise, as patterns and what takes their place.
_LETTER = r'<mi mathvariant="normal">([^<])</mi>'
TIDY = (
    # A word of upright letters is one name, to a screen reader, too.
    (rf"<mrow>((?:{_LETTER}|<mtext>[^<]*</mtext>){{2,}})</mrow>", lambda found: _word(found[1])),
    # \\bigl( is no larger than its line; without a font for formulas it would be twice as tall.
    (r'stretchy="true" fence="true" minsize="1.2em" maxsize="1.2em"', 'stretchy="false"'),
    # A prime beside its letter: raised and made smaller once more it is a speck.
    (r"<msup>(<mi>.</mi>)<mi>(&#x02032;)</mi></msup>", r'\1<mo lspace="0" rspace="0">\2</mo>'),
    (r"<mo>&#x0007C;</mo>", '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'),
    (r"<mi>log</mi>(?=<m(?:i|sub|subsup)>)", r'<mi>log</mi><mspace width="0.167em" />'),
    (r"(<mo>&#x0003D;</mo>)<mo>&#x02212;", r'\1<mo form="prefix">&#x02212;'),  # y = -x
)


def page_of(executed: NotebookNode) -> str:
    """The notebook as HTML that fetches nothing."""
    page, _ = _Page(raw_template=TEMPLATE).from_notebook_node(executed)
    return page


def mathml(formula: str, display: str = "inline") -> str:
    """A formula in LaTeX as MathML, "inline" or as a "block"; as it was where that fails."""
    try:
        drawn = convert(formula.strip(), display=display)
    except Exception:  # whatever it does not know; no formula is worth a page
        mark = "$$" if display == "block" else "$"
        return f"{mark}{escape(formula)}{mark}"
    for pattern, better in TIDY:
        drawn = re.sub(pattern, better, drawn)
    return drawn


def _word(letters: str) -> str:
    return f"<mi>{re.sub('<[^>]*>', '', letters)}</mi>"


class _Formulas(IPythonRenderer):
    """nbconvert's markdown with formulas that a browser draws by itself."""

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, "block")


class _Page(HTMLExporter):
    @pass_context
    def markdown2html(self, _context: Any, source: str) -> str:
        """Markdown to HTML, in place of nbconvert's filter of this name."""
        return MarkdownWithMath(renderer=_Formulas(escape=False)).render(source)
