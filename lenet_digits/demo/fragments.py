"""Puts together the HTML and the JavaScript of the page from the files in ``static/``.

It needs neither Gradio nor a server, so that the static site is written without them.
"""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path

from lenet_digits import __version__
from lenet_digits.storage.shipped import examples_directory, weights_directory
from lenet_digits.training.metrics import METRICS_FILE, Metrics, Share

NAME = "lenet-digits"
ABOUT = "Draw a digit or a number, or give a photo. LeNet-5 from 1998 reads it."
STATIC = Path(__file__).parent / "static"

MANIFEST = {
    "name": NAME,
    "short_name": NAME,
    "description": ABOUT,
    "icons": [{"src": "icon.png", "sizes": "512x512", "type": "image/png", "purpose": "any"}],
    "start_url": "./",
    "scope": "./",
    "display": "standalone",
    "background_color": "#f6f2e8",
    "theme_color": "#f6f2e8",
}

SKETCHES = (  # the examples that can be put on the sketchpad: dark ink on a plain ground
    "0-marker",
    "0-slashed",
    "1-long-up-stroke",
    "3-transparent",
    "4-pencil",
    "7-corner",
)

COMMENTS = re.compile(r"^ *//.*\n", re.MULTILINE)  # lines of a script that visitors need not load

log = logging.getLogger(__name__)


def static_file(name: str) -> str:
    """The text of a file in ``static/``."""
    return (STATIC / name).read_text(encoding="utf-8")


def head_html(root: str) -> str:
    """The page's title, icons and share card. `root` is its address without the last slash."""
    template = (STATIC / "head.html").read_text(encoding="utf-8")
    return template.format(name=NAME, about=ABOUT, root=html.escape(root))


def example_pictures() -> list[Path]:
    """The example pictures that come with the package, sorted by name."""
    pictures = examples_directory().glob("[0-9a-z]*-*.*")
    return sorted(path for path in pictures if path.suffix in (".png", ".jpg"))


# Readers ---------------------------------------------------------------------------------------


def reader_html(source: str) -> str:
    """The HTML of a reader, ``pad`` or ``upload``; `reader_scripts` bring it to life."""
    answer = static_file("answer.html").replace("@inside@", static_file("inside.html"))
    template = static_file(f"{source}.html") + answer + _examples(source)
    return f'<div class="reader">{template}</div>'.replace("@bars@", _bars())


def reader_scripts(engine: str, *sources: str) -> str:
    """The JavaScript of an engine, ``engine-server`` or ``engine-browser``, and of readers."""
    scripts = "".join(static_file(f"{name}.js") for name in (engine, "answer", "inside", *sources))
    return COMMENTS.sub("", scripts)


def _bars() -> str:
    return "".join(
        f'<li><span aria-hidden="true">{digit}</span><span role="meter" aria-label="{digit}" '
        'aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><i></i></span>'
        '<span class="share" aria-hidden="true"></span></li>'
        for digit in range(10)
    )


def _examples(source: str) -> str:
    pictures = [
        picture for picture in example_pictures() if source == "upload" or picture.stem in SKETCHES
    ]
    if not pictures:
        return ""
    buttons = "".join(
        f'<button type="button" data-file="examples/{picture.name}" title="{name}">'
        f'<img src="examples/{picture.name}" alt="Example: {name}" loading="lazy"></button>'
        for picture in pictures
        for name in [html.escape(picture.stem.replace("-", ", ", 1).replace("-", " "))]
    )
    return f'<div class="examples" role="group" aria-label="Examples">{buttons}</div>'


# About -----------------------------------------------------------------------------------------


REFUSALS = "If a picture looks like none of the ten digits, the page says so."
NO_REFUSALS = (
    "These weights learned from digits only, so the page cannot tell whether a picture is a digit."
)


def about_html(
    weights_note: str,
    metrics: Metrics | None,
    *,
    sees_nondigits: bool = True,
    where: str | None = None,
) -> str:
    """The page's text about itself; ``where`` is HTML that says where pictures are read.

    By default it says that a server reads them, and how a program asks that server.
    """
    figures = "<h2>How often it is right</h2>"
    figures += "" if metrics else "<p>The figures of these weights are missing or damaged.</p>"
    curves = ""
    if metrics and metrics.count:
        what = "MNIST test digits" if metrics.tested_on_mnist else metrics.evaluated_on
        figures += _table({what: Share(metrics.accuracy, metrics.count)})
    if metrics and metrics.real_input:
        short = {what.partition(": ")[2] or what: r for what, r in metrics.real_input.items()}
        figures += f"<details><summary>On other input</summary>{_table(short)}</details>"
    if metrics and len(metrics.epochs) > 1:
        cost = _curve("Training cost", [epoch.train_loss for epoch in metrics.epochs])
        accuracy = [100 * epoch.test_accuracy for epoch in metrics.epochs]
        curves = f"<h2>How it learned</h2>{cost}{_curve('Test accuracy, %', accuracy)}"
    return static_file("about.html").format(
        figures=figures,
        curves=curves,
        weights=html.escape(weights_note),
        refusals=REFUSALS if sees_nondigits else NO_REFUSALS,
        where=static_file("about-server.html") if where is None else where,
    )


def footer_html(weights_note: str, *, links: str = "") -> str:
    """The foot of the page; ``links`` is HTML that follows its own links."""
    return static_file("footer.html").format(
        weights=html.escape(weights_note), version=__version__, links=links
    )


def _table(results: dict[str, Share]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{html.escape(what)}</th><td>{result.accuracy:.2%}</td>"
        f"<td>{result.count:,}</td></tr>"
        for what, result in results.items()
    )
    head = "<tr><th>Pictures</th><th>Right</th><th>Of</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _curve(title: str, values: list[float]) -> str:
    """A small line chart over the epochs, as SVG that takes its colours from the page."""
    low, high = min(values), max(values)
    span = (high - low) or 1
    points = " ".join(
        f"{300 * i / (len(values) - 1):.1f},{90 - 80 * (value - low) / span:.1f}"
        for i, value in enumerate(values)
    )
    return f"""<figure class="curve"><figcaption>{title}</figcaption>
        <svg viewBox="0 0 300 100" role="img" preserveAspectRatio="none" aria-label="{title}: from
        {values[0]:.4g} after epoch 1 to {values[-1]:.4g} after epoch {len(values)}">
        <polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>
        <p><span>epoch 1: {values[0]:.4g}</span><span>epoch {len(values)}: {values[-1]:.4g}</span>
        </p></figure>"""


def shipped_metrics() -> Metrics | None:
    """The figures of the shipped weights; None, and a line in the log, if they are damaged."""
    try:
        return Metrics.read(weights_directory() / METRICS_FILE)
    except (OSError, ValueError) as error:
        log.warning("%s", error)
        return None
