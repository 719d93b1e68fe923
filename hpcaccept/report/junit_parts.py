"""What every JUnit document needs: sums of what is below an element, and text that XML can hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcaccept.report.printable import safe

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

#: What ``safe`` leaves and XML 1.0 does not allow. https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[\ufffe\uffff]")


def sum_up(suite: ET.Element) -> None:
    """Set the attributes that sum up what is below."""
    suite.set("tests", str(sum(1 for _ in suite.iter("testcase"))))
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(1 for _ in suite.iter(kind))))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in suite.iter('testcase')):.3f}")


def xml_text(text: str) -> str:
    """The text without what XML does not allow."""
    return _NO_XML.sub("\ufffd", safe(text))
