"""A flat badge in SVG that says the verdict, and asks no network for fonts or pictures."""

from __future__ import annotations

from edgekd.records import Release, Status

# Dark enough for white text: 4.5 to 1 at least.
COLOURS: dict[Status, str] = {
    "pass": "#2e7d32",
    "fail": "#c62828",
    "unmeasured": "#ad1457",
    "inconclusive": "#8a5a00",
}
_LABEL, _LABEL_COLOUR = "edgekd", "#555"
# In Verdana of 11 px, in pixels: the sum of the letters' advance widths.
_WIDTHS = {"edgekd": 40, "pass": 25, "fail": 17, "unmeasured": 69, "inconclusive": 67}
_PADDING = 6


def write(*, release: Release) -> str:
    """Draw the verdict.

    Args:
        release: Of the gate.

    Returns:
        SVG.
    """
    status = release.status
    left, right = _WIDTHS[_LABEL] + 2 * _PADDING, _WIDTHS[status] + 2 * _PADDING
    # No ids, such as of a clipping path: those of several badges in one page would be one.
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" \
aria-label="{_LABEL}: {status}">
<title>{_LABEL}: {status}</title>
<rect width="{left + right}" height="20" rx="3" fill="{COLOURS[status]}"/>
<path d="M3 0H{left}V20H3A3 3 0 0 1 0 17V3A3 3 0 0 1 3 0Z" fill="{_LABEL_COLOUR}"/>
<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true">
{_text(_LABEL, _PADDING)}
{_text(status, left + _PADDING)}
</g>
</svg>
"""


def _text(word: str, x: int) -> str:
    # Where Verdana is missing, another font is made as wide.
    return f'<text x="{x}" y="14" textLength="{_WIDTHS[word]}" lengthAdjust="spacingAndGlyphs">{word}</text>'
