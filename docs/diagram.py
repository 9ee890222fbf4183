"""Mermaid's flow charts as SVG, because its own renderer is JavaScript that a site without a network does not have.

Of Mermaid's language this reads what docs/ uses: `graph LR`, and chains such as `a[a label] --> b --> c`.
"""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout, VertexViewer
from grandalf.routing import route_with_lines

LETTER, HEIGHT, GAP = 7.5, 32, 34
"""In pixels: width of a letter, height of a box, and the space between rows of boxes."""

_NODE = re.compile(r"(?P<name>\w+)(\[\(?(?P<label>[^\[\]()]+)\)?\])?")

Point = tuple[float, float]


class _Line:
    """Keeps the points through which an edge is led."""

    points: list[Point]

    def setpath(self, points: list[Point]) -> None:
        self.points = points


def svg(source: str) -> str:
    """Returns a flow chart as an SVG element, drawn downwards: a column of text is too narrow for its length.

    Raises:
        ValueError: the source has something that this does not read, or parts that are not connected.
    """
    labels, arrows = _parse(source)
    boxes = {name: Vertex(name) for name in labels}
    for name, box in boxes.items():
        box.view = VertexViewer(w=LETTER * len(labels[name]) + 20, h=HEIGHT)
    edges = [Edge(boxes[first], boxes[second]) for first, second in arrows]
    for edge in edges:
        edge.view = _Line()
    components = Graph(list(boxes.values()), edges).C
    if len(components) > 1:
        raise ValueError(f"docs/diagram.py draws what is connected. Received {len(components)} parts: {source}")
    layout = SugiyamaLayout(components[0])
    layout.yspace, layout.xspace, layout.route_edge = GAP, 16, route_with_lines
    layout.init_all(roots=[box for box in boxes.values() if not box.e_in()])
    layout.draw()
    lines = [_points(edge) for edge in edges]
    xs = [box.view.xy[0] + side * box.view.w / 2 for box in boxes.values() for side in (-1, 1)]
    xs += [x for points in lines for x, _ in points]
    ys = [box.view.xy[1] + side * HEIGHT / 2 for box in boxes.values() for side in (-1, 1)]
    left, top, width, height = min(xs) - 5, min(ys) - 2, max(xs) - min(xs) + 10, max(ys) - min(ys) + 4
    parts = [*map(_arrow, lines), *(_box(box, labels[name]) for name, box in boxes.items())]
    described = escape("; ".join(f"{labels[first]} to {labels[second]}" for first, second in arrows))
    return (
        f'<svg role="img" aria-label="{described}" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" style="max-width: 100%; height: auto"'
        f' fill="none" stroke="currentColor" font-size="14">{"".join(parts)}</svg>'
    )


def _parse(source: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Returns the labels by name, and the arrows as pairs of names."""
    head, *lines = source.strip().splitlines()
    if head.strip() != "graph LR":
        raise ValueError(f"docs/diagram.py draws `graph LR` alone. Received: {head}")
    labels: dict[str, str] = {}
    arrows = []
    for line in lines:
        chain = [_NODE.fullmatch(part.strip()) for part in line.split("-->")]
        if None in chain:
            raise ValueError(f"docs/diagram.py reads chains such as `a[a label] --> b`. Received: {line}")
        names = [node["name"] for node in chain if node]
        for node in filter(None, chain):
            labels[node["name"]] = node["label"] or labels.get(node["name"], node["name"])
        arrows += pairwise(names)
    return labels, arrows


def _box(box: Vertex, label: str) -> str:
    (x, y), width = box.view.xy, box.view.w
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - HEIGHT / 2:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle" fill="currentColor" stroke="none">'
        f"{escape(label)}</text>"
    )


def _points(edge: Edge) -> list[Point]:
    """Returns the points from the lower side of one box to the upper side of the other."""
    (x, y), (to_x, to_y) = (box.view.xy for box in edge.v)
    return [(x, y + HEIGHT / 2), *edge.view.points[1:-1], (to_x, to_y - HEIGHT / 2)]


def _arrow(points: list[Point]) -> str:
    """Returns a curve that is vertical at each of the points, with a tip at the last."""
    path = "M {:.1f} {:.1f}".format(*points[0])
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        path += f" C {x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
    x, y = points[-1]
    return f'<path d="{path} M {x - 4:.1f} {y - 7:.1f} L {x:.1f} {y:.1f} L {x + 4:.1f} {y - 7:.1f}"/>'
