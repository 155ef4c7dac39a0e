#!/usr/bin/env python3
"""Validation curves of runs: a Markdown table on standard output (the evaluation nearest to
each minute), and a picture.

  docs/results/curve.py OUT.svg NAME=RUN_FOLDER [NAME=RUN_FOLDER ...]

Reads the lines of metrics.jsonl that hold valid/bits_per_byte; the horizontal axis is the time spent training.
"""
import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 20, 20, 50
COLOURS = ["#1f5fa8", "#c2571a", "#2c7a4b", "#7a3b8f"]


def read_curve(folder):
    """[(minutes, tokens, bits per byte)] of a run."""
    points = []
    for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "valid/bits_per_byte" in row:
            points.append((row["train/seconds"] / 60, int(row["train/tokens"]), row["valid/bits_per_byte"]))
    return points


def print_table(curves):
    print("| minutes | " + " | ".join(f"{name}: bits per byte | MB read" for name in curves) + " |")
    print("|---" * (1 + 2 * len(curves)) + "|")
    last = max(points[-1][0] for points in curves.values())
    for minute in [m for m in (1, 2, 3, 5, 7, 10, 13, 16, 20, 30, 40, 60) if m <= last + 1]:
        nearest = [min(points, key=lambda p: abs(p[0] - minute)) for points in curves.values()]
        print(f"| {minute} | " + " | ".join(f"{bits:.3f} | {tokens / 1e6:.1f}" for _, tokens, bits in nearest) + " |")


def draw(curves):
    points = [p for curve in curves.values() for p in curve]
    end = max(p[0] for p in points)
    low, high = min(p[2] for p in points) - 0.05, max(p[2] for p in points)
    x = lambda minutes: LEFT + minutes / end * (WIDTH - LEFT - RIGHT)
    y = lambda bits: TOP + (high - bits) / (high - low) * (HEIGHT - TOP - BOTTOM)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           f'font-size="13"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    tick = 0.2 if high - low < 2.5 else 0.5
    for k in range(int(low / tick) + 1, int(high / tick) + 1):
        out.append(f'<path d="M{LEFT} {y(k * tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(k * tick) + 4:.1f}" text-anchor="end">{k * tick:.1f}</text>')
    for minute in range(0, int(end) + 1, 5 if end > 12 else 1):
        out.append(f'<text x="{x(minute):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{minute}</text>')
    out.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">minutes of training</text>'
               f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">validation bits per byte</text>')
    for k, (name, curve) in enumerate(curves.items()):
        path = "L".join(f"{x(p[0]):.1f} {y(p[2]):.1f}" for p in curve)
        out.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[k % 4]}" stroke-width="2"/>'
                   f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 18 + 18 * k}" text-anchor="end" fill="{COLOURS[k % 4]}">'
                   f'{name} ({curve[-1][2]:.3f})</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    if len(sys.argv) < 3 or not all("=" in a for a in sys.argv[2:]):
        sys.exit(__doc__)
    curves = {name: read_curve(folder) for name, folder in (a.split("=", 1) for a in sys.argv[2:])}
    print_table(curves)
    pathlib.Path(sys.argv[1]).write_text(draw(curves))


main()
