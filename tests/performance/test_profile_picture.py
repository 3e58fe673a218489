"""The picture of a profile: a file by itself, with a point and a bar for each layer that was measured."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from menndl_dask.performance.profile_picture import profile_picture
from tests.performance.profiles import BUSY, PROFILE

_SVG = "{http://www.w3.org/2000/svg}"


def test_each_measured_layer_has_a_point_under_the_roof_and_a_bar() -> None:
    picture = ET.fromstring(profile_picture(PROFILE, "a <network>"))
    points = picture.findall(f"{_SVG}circle")
    assert [point[0].text for point in points] == [
        "1. Convolution 8 · 3 · relu: 410 M FLOP/s, 0.5% of peak",
        "2. Pooling 2 · max · stride 2: 6.83 M FLOP/s, 0.0% of peak",
    ]
    words = [text.text for text in picture.findall(f"{_SVG}text")]
    assert {"a <network>", "arithmetic intensity, FLOP/byte", "FLOP/s", "convolution: 80.0 G FLOP/s"} <= set(words)
    assert "0.1 ms, 0.5% of peak" in words
    assert not any("busy" in str(word) for word in words)
    # styles are attributes, so that the file needs no page
    assert all(text.get("font-size") and text.get("fill") for text in picture.findall(f"{_SVG}text"))


def test_a_picture_of_a_busy_machine_says_so() -> None:
    assert "the machine was busy" in profile_picture(BUSY, "a network")
