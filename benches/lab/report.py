"""Medians, spreads and tables; one JSON and one table for each instrument, below target/bench/."""

import json
import os
import statistics


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def spread(values):
    """Median, the middle half, and the ends."""
    values = sorted(value for value in values if value is not None)
    if not values:
        return None
    quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {
        "median": statistics.median(values),
        "quarter": quarters[0],
        "three_quarters": quarters[2],
        "min": values[0],
        "max": values[-1],
        "n": len(values),
    }


def shown(value, digits=2):
    if value is None:
        return "–"
    if isinstance(value, dict):
        low, high = value["quarter"], value["three_quarters"]
        return f"{value['median']:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def table(heads, rows):
    """Markdown that reads well as it stands."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]

    def line(cells):
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(heads), line(rule), *(line(row) for row in rows)]) + "\n"


def write(name, result, text, folder):
    """Shows the table, and keeps it beside what it was made of."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{name}.json"), "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, f"{name}.md"), "w") as file:
        file.write(text)
    print(text)
    print(f"kept in {folder}: {name}.json, {name}.md")
