"""The badge: what it says, to those who see it and to those who don't."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from PIL import ImageFont

from edgekd.announcers.badge import COLOURS, write
from edgekd.records import Status
from tests.announcers.verdicts import check, release_of

SVG = "{http://www.w3.org/2000/svg}"
STATUSES: tuple[Status, ...] = ("pass", "fail", "inconclusive", "unmeasured")


def drawn(status: Status) -> ET.Element:
    return ET.fromstring(write(release=release_of(check(status))))  # noqa: S314 - our own


@pytest.mark.parametrize("status", STATUSES)
def test_it_says_the_verdict_by_title_by_label_and_in_writing(status: Status) -> None:
    svg = drawn(status)
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == f"edgekd: {status}"
    assert svg.findtext(f"{SVG}title") == f"edgekd: {status}"
    assert [each.text for each in svg.iter(f"{SVG}text")] == ["edgekd", status]
    assert svg.findall(f"{SVG}rect")[0].get("fill") == COLOURS[status]


@pytest.mark.parametrize("status", STATUSES)
def test_texts_lie_in_the_middle_of_their_boxes(status: Status) -> None:
    svg = drawn(status)
    whole = float(svg.attrib["width"])
    match = re.match(r"M3 0H(\d+)V20", svg.findall(f"{SVG}path")[0].attrib["d"])
    assert match
    for (left, right), text in zip(
        ((0.0, float(match[1])), (float(match[1]), whole)), svg.iter(f"{SVG}text"), strict=True
    ):
        start = float(text.attrib["x"])
        assert start - left == right - start - float(text.attrib["textLength"]) == 6


@pytest.mark.parametrize("status", STATUSES)
def test_texts_are_about_as_wide_as_a_font_makes_them(status: Status) -> None:
    try:
        font = ImageFont.truetype("DejaVuSans.ttf", 110)  # drawn after Verdana's widths, a little narrower
    except OSError:
        pytest.skip("the font DejaVu Sans is not installed (Debian: fonts-dejavu-core)")
    for text in drawn(status).iter(f"{SVG}text"):
        assert float(text.attrib["textLength"]) == pytest.approx(font.getlength(text.text or "") / 10, rel=0.08)


def test_no_verdict_looks_like_another_and_all_can_be_read() -> None:
    assert len(set(COLOURS.values())) == len(STATUSES)
    assert all(contrast_to_white(colour) >= 4.5 for colour in COLOURS.values())


def contrast_to_white(colour: str) -> float:
    """WCAG 2's ratio."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def test_several_can_be_in_one_page() -> None:
    assert "id=" not in write(release=release_of())


def test_it_asks_no_network() -> None:
    assert "http" not in write(release=release_of()).replace('xmlns="http://www.w3.org/2000/svg"', "")
