"""The elements of an HTML page, for tests of what pages hold."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page; fails on a tag that does not fit."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        parents = [index for _, index in self.open]
        self.elements.append((tag, dict(attrs), parents))
        if tag not in ("meta", "input", "br", "wbr"):
            self.open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text.append((data, self.open[-1][1] if self.open else None))

    def by_class(self, *names):
        return [e for e in self.elements if set(names) <= set((e[1].get("class") or "").split())]

    def parents(self, element):
        return [self.elements[index] for index in element[2]]
