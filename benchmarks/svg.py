"""As much of SVG as two plots need: drawn here, because a picture out of plotly needs a browser."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

INK = "#333333"


class Drawing:
    """A picture of width x height pixels on white; y grows downwards.

    title: what a screen reader says instead of the picture.
    """

    def __init__(self, width: float, height: float, title: str):
        self.width, self.height = width, height
        self.parts = [f"<title>{escape(title)}</title>"]
        self.rectangle(0, 0, width, height, "#ffffff")

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """A filled box."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{fill}"/>'
        )

    def line(self, points, colour: str = INK, width: float = 1.0, dash: str = "") -> None:
        """A line through points (x, y); dash as SVG has it: "6 3"."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>'
        )

    def band(self, points, colour: str) -> None:
        """A pale area within the points."""
        self.parts.append(
            f'<polygon points="{_points(points)}" fill="{colour}" fill-opacity="0.15"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        anchor: str = "start",
        size: int = 12,
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Words at a point; anchor "start", "middle" or "end"."""
        weight = ' font-weight="bold"' if bold else ""
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{INK}"{weight}{turn}>{escape(words)}</text>'
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family="sans-serif">'
        )
        path.write_text("\n".join([head, *self.parts, "</svg>"]) + "\n")


def _points(points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
