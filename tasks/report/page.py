"""Write a report as one page for a browser, page.html, that needs no other file and no network."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from tasks.report.sections import NOTHING, Cell, Grid, Picture, Report, Section

TEMPLATE = Path(__file__).with_name("page.html")


def page(report: Report) -> str:
    """Return the page."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    contents = [f'<li><a href="#{_anchor(each.title)}">{html.escape(each.title)}</a></li>' for each in report.sections]
    return template.substitute(
        title=html.escape(report.title),
        contents="\n".join(contents),
        sections="\n".join(_section(each) for each in report.sections),
    )


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _section(section: Section) -> str:
    anchor = _anchor(section.title)
    parts = [f'<section aria-labelledby="{anchor}">', f'<h2 id="{anchor}">{html.escape(section.title)}</h2>']
    parts += [f'<p class="warning" role="note">{html.escape(each)}</p>' for each in section.warnings]
    parts += [_list(section.text, "")] if section.text else []
    parts += [_figure(each) for each in section.pictures]
    parts += [_table(each) for each in section.grids]
    return "\n".join([*parts, "</section>"])


def _list(lines: Sequence[str], kind: str) -> str:
    items = "".join(f"<li>{html.escape(each)}</li>" for each in lines)
    return f'<ul class="{kind}">{items}</ul>' if kind else f"<ul>{items}</ul>"


def _figure(picture: Picture) -> str:
    """Return the figure as an image of its own, so that the names inside of several do not meet."""
    data = base64.b64encode(picture.svg.encode()).decode()
    meaning = html.escape(picture.meaning)
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(picture.title)}. {meaning}">'
    return f"<figure>{image}<figcaption>{meaning}</figcaption></figure>"


def _table(grid: Grid) -> str:
    title = html.escape(grid.title)
    head = "".join(f'<th scope="col"><button type="button">{html.escape(each)}</button></th>' for each in grid.header)
    lines = []
    for place, line in enumerate(grid.lines):
        first, *others = line
        kind = ' class="paper"' if place in grid.published else ""
        lines.append(f"<tr{kind}>{_cell(first, 'th')}{''.join(_cell(each, 'td') for each in others)}</tr>")
    body, notes = "\n".join(lines), _list(grid.notes, "notes") if grid.notes else ""
    return (
        f"<h3>{title}</h3>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n{notes}"
    )


def _cell(cell: Cell, tag: str) -> str:
    kinds = [name for name, is_it in (("best", cell.best), ("failed", cell.failed)) if is_it]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    sort = cell.text if cell.sort is None else repr(cell.sort)
    sort = "" if sort == NOTHING else sort
    scope = ' scope="row"' if tag == "th" else ""
    text = html.escape(cell.text) + (f" {html.escape(cell.mark)}" if cell.mark else "")
    text = f"<strong>{text}</strong>" if cell.best else text
    return f'<{tag}{scope}{kind} data-sort="{html.escape(sort)}">{text}</{tag}>'
