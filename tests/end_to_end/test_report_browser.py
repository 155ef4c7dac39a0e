"""The report in a browser: it fits phones and screens, says what it shows, and its switch moves the curves.

Needs Chromium (tools/install_packages.sh --with browser). WEIR_SCREENSHOTS=FOLDER keeps pictures of the pages."""

import json
import math
import os
import pathlib
import shutil
import sys

from browser import Browser, find_browser
from weir_test import check, setup

WIDTHS = (390, 1280)

# What a reader must be able to tell at sight, gathered from the page as it was laid out.
FINDINGS = """(() => {
  const shown = element => element !== null && element.getClientRects().length > 0;
  const figures = [...document.querySelectorAll('figure')].map(figure => ({
    title: figure.querySelector('figcaption').childNodes[0].textContent.trim(),
    note: (figure.querySelector('figcaption small') || {textContent: ''}).textContent,
    axis: (figure.querySelector('.axis') || {textContent: ''}).textContent,
    legend: [...figure.querySelectorAll('.legend span')].filter(shown).map(span => span.textContent),
    log: (figure.querySelector(':scope > svg').dataset.y || '').endsWith(' 1'),
    ticks: [...figure.querySelectorAll('.scale text')].map(text => text.textContent),
    range: figure.querySelector(':scope > svg').dataset.x || null,
    small: figure.querySelector(':scope > svg').classList.contains('small'),
    outside: [...figure.querySelectorAll('svg > text, .scale text')].filter(text => {
      const box = text.getBoundingClientRect(), around = figure.getBoundingClientRect();
      return box.left < around.left - 1 || box.right > around.right + 1;
    }).map(text => text.textContent),
    marks: figure.querySelectorAll('.out, .cross').length,
    lines: [...figure.querySelectorAll('polyline')].map(line => [...line.points].map(point => point.x)),
  }));
  const cells = [...document.querySelectorAll('table.runs tr:nth-child(2) td')].slice(0, 2);
  return {
    width: document.documentElement.scrollWidth, inner: innerWidth,
    page: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
    switched: shown(document.querySelector('.switch')), figures,
    name: cells.length === 2 ? cells[0].getBoundingClientRect().width : null,
    result: cells.length === 2 ? cells[1].getBoundingClientRect().right : 0,
    legends: [...document.querySelectorAll('.legend span')].map(span => span.textContent),
    notes: [...document.querySelectorAll('.note')].map(note => note.textContent),
  };
})()"""


def lightness(colour):
    red, green, blue = map(float, colour[colour.index("(") + 1:-1].split(",")[:3])
    return (red + green + blue) / 3


def figure_of(findings, title):
    (figure,) = [figure for figure in findings["figures"] if figure["title"] == title]
    return figure


def look(browser, page, name):
    """Everything that holds for every page, at both widths, light and dark; the findings of the last."""
    findings = None
    for width in WIDTHS:
        for dark in (False, True):
            browser.open(page, width, dark)
            findings = browser.evaluate(FINDINGS)
            where = f"{name}, {width} pixels, {'dark' if dark else 'light'}"
            check(findings["inner"] == width, f"{where}: the window has {findings['inner']} pixels")
            check(findings["width"] <= width, f"{where}: the page is {findings['width']} pixels wide")
            check(findings["result"] <= width, f"{where}: the result is cut off at the right, at {findings['result']}")
            check(findings["name"] is None or findings["name"] > 100, f"{where}: a column of {findings['name']} for names")
            check((lightness(findings["page"]) < 60) == dark and (lightness(findings["ink"]) > 190) == dark,
                  f"{where}: {findings['ink']} on {findings['page']}")
            check(findings["switched"], f"{where}: no switch")
            for figure in findings["figures"]:
                check(not figure["outside"], f"{where}: {figure['title']} has text outside of it: {figure['outside']}")
                if figure["range"] is None:
                    continue
                check(figure["axis"], f"{where}: {figure['title']} has no name on its axis")
                check(figure["log"] == ("log scale" in figure["note"]), f"{where}: the scale of {figure}")
                numbers = [tick.rstrip("kM") for tick in figure["ticks"]]
                check("." not in "".join(numbers) or figure["ticks"][-1][-1] in "kM", f"{where}: {figure['ticks']} steps")
            if "WEIR_SCREENSHOTS" in os.environ:
                folder = pathlib.Path(os.environ["WEIR_SCREENSHOTS"])
                browser.screenshot(folder / f"{name}-{width}-{'dark' if dark else 'light'}.png")
    return findings


def check_one(weir, browser, run):
    weir.succeed("report", run)
    findings = look(browser, run / "report.html", "one")
    loss, validation = figure_of(findings, "Loss"), figure_of(findings, "Validation")
    check(loss["legend"][:2] == ["training", "validation"], f"the legend of the loss is {loss['legend']}")
    check(loss["range"] == validation["range"] == "0 60 0", f"ranges {loss['range']} and {validation['range']}")
    check({"by the sum of its gates", "by how often it was chosen"} <= set(findings["legends"]), "popularity: no legend")
    check(figure_of(findings, "Gradient norm")["log"], "the gradient norm is not on a logarithmic scale")
    print("ok: one run at both widths, light and dark", flush=True)


# Points at the right end of the loss, and says what appears there.
VALUES = """(() => {
  const chart = document.querySelector('svg.chart[data-switched]'), box = chart.querySelector('.plot').getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent('pointermove', {clientX: box.right - 2, clientY: box.top + 20, bubbles: true}));
  return document.getElementById('values').innerText.split('\\n');
})()"""
COLOURS = """new Set([...document.querySelectorAll('#values .key')].map(key => getComputedStyle(key).backgroundColor)
  .filter(colour => !colour.startsWith('rgba'))).size"""


def check_switch(browser, run, weir):
    """Against tokens and time each point must stand where metrics.jsonl says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    ends = {line["step"]: line for line in lines}  # after its evaluation, where a step has one
    steps = [ends[line["step"]] for line in lines if "train/loss" in line]
    last_loss = [line["train/loss"] for line in lines if "train/loss" in line][-1]
    browser.open(run / "report.html", 1280)
    before = browser.evaluate(FINDINGS)
    for clock, key in (("training time", "train/seconds"), ("tokens", "train/tokens"), ("step", "step")):
        browser.evaluate(f"document.querySelector('.switch [data-clock=\"{clock}\"]').click()")
        findings = browser.evaluate(FINDINGS)
        loss = figure_of(findings, "Loss")
        check(loss["axis"] == clock, f"the axis is called {loss['axis']}, not {clock}")
        low, high, _ = map(float, loss["range"].split())
        check(low == 0 and high >= steps[-1][key] * 0.999, f"the axis of {clock} ends at {high}")
        xs = loss["lines"][0]
        check(len(xs) == len(steps), f"{len(xs)} points of {len(steps)} steps")
        for x, line in zip(xs, steps):
            expected = 4 + 468 * line[key] / high
            check(abs(x - expected) < 3, f"{clock}: step {line['step']} stands at {x}, not {expected}")
        head, *values = browser.evaluate(VALUES)
        expected = {"step": "step 60", "tokens": "tokens 7,680"}.get(clock, "training time ")
        check(head.startswith(expected), f"under the mouse is {head!r}, not {expected!r}")
        check(browser.evaluate(COLOURS) == 2, "the values under the mouse do not have the colours of their lines")
        check(len(values) == 2 and abs(float(values[0].split()[-1]) - last_loss) < 0.02, f"{values}, not {last_loss}")
        check(browser.evaluate("document.querySelectorAll('.switch [aria-pressed=true]').length") == 1, "two are pressed")
    check(figure_of(findings, "Loss") == figure_of(before, "Loss"), "the way back to steps ends elsewhere")
    browser.open(run / "report.html", 1280, scripts=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    findings = browser.evaluate("document.querySelector('.switch').getClientRects().length")
    check(findings == 0, "without scripts there is a switch that does nothing")
    print("ok: curves against steps, tokens and time", flush=True)


def with_metrics(run, copy, change):
    shutil.copytree(run, copy)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = change(lines)
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line).replace("NaN", "null") + "\n" for line in lines))
    return copy


def check_odd_losses(weir, browser, run):
    """A run that diverged, one that began far above, one of a single line, one without any number."""
    def diverge(lines):
        return [line | {"train/loss": math.nan} if line["step"] > 30 and "train/loss" in line else line for line in lines]

    def begin_high(lines):
        return [line | {"train/loss": 500 / line["step"] ** 2} if "train/loss" in line else line for line in lines]

    def never(lines):
        return [{key: value if key == "step" else math.nan for key, value in line.items()} for line in lines]

    for name, change, mark in (("diverged", diverge, "not a finite number"), ("high", begin_high, "above the chart"),
                               ("single", lambda lines: lines[:1], ""), ("never", never, "not a finite number")):
        copy = with_metrics(run, weir.folder / name, change)
        weir.succeed("report", copy)
        findings = look(browser, copy / "report.html", name)
        loss = figure_of(findings, "Loss")
        said = any(mark in entry for entry in loss["legend"])
        check((loss["marks"] > 0 and said) if mark else loss["marks"] == 0, f"{name}: {loss['marks']} marks, {loss['legend']}")
    print("ok: losses that leave the chart, end, or never were", flush=True)


def check_several(weir, browser, run):
    """Kinds of models, tokenizers and names of all sorts together on one page."""
    kinds = {
        "a-name-that-goes-on-and-on-without-a-blank-in-it-as-those-of-sweeps-over-many-settings-do": {"feedforward__kind": "dense"},
        "pkm": {"feedforward__kind": "pkm", "feedforward__sub_keys": 16, "feedforward__k": 4},
        "switch head": {"model__attention": "switch-head", "train__batch_size": 8},
        "mine": {}, "other/mine": {},
    }
    runs = []
    for name, changes in kinds.items():
        (weir.folder / name).parent.mkdir(exist_ok=True)
        weir.succeed(*weir.train_arguments(weir.folder / name, **({"train__steps": 30} | changes)), "--quiet")
        runs.append(weir.folder / name)
    weir.succeed("report", *runs[:2], "--out", weir.folder / "two.html")
    look(browser, weir.folder / "two.html", "two")
    weir.succeed("report", *runs, "--out", weir.folder / "five.html")
    findings = look(browser, weir.folder / "five.html", "five")
    words = browser.evaluate("document.body.innerText")
    check("SwitchHead attention" in words and "σ-MoE" in words, "the table does not tell SwitchHead from σ-MoE")
    check("other/mine" in words, "two runs with one name look the same")
    check("has no experts in its feedforwards (dense)" in words, "nothing says why experts are missing")
    check(figure_of(findings, "Loss")["axis"] == "tokens", "runs with different batches are not drawn against tokens")
    print("ok: five runs of different kinds", flush=True)


def check_tokenizers(weir, browser, run):
    """Runs with another tokenizer compare by bits per byte, whatever the perplexity per token."""
    other = with_metrics(run, weir.folder / "pieces", lambda lines: [
        line | {"valid/perplexity": math.exp(line["valid/loss"]), "valid/bits_per_byte": 2.5} if "valid/loss" in line else line
        for line in lines])
    (other / "tokenizer.model").write_bytes(b"another tokenizer")
    bare = with_metrics(other, weir.folder / "bare", lambda lines: [
        {key: value for key, value in line.items() if key != "valid/bits_per_byte"} for line in lines])
    page = weir.folder / "tokenizers.html"
    weir.succeed("report", other, run, bare, "--out", page)
    findings = look(browser, page, "tokenizers")
    notes = " ".join(findings["notes"])
    check("different tokenizers" in notes and "bits per byte" in notes, f"notes: {notes}")
    check("No bits per byte, and so nothing that compares: bare" in notes, f"notes: {notes}")
    check(figure_of(findings, "Validation")["note"] == "bits per byte", "validation is not in bits per byte")
    check("does not compare" in figure_of(findings, "Loss")["note"], "losses of different tokenizers stand side by side")
    check([figure["title"] for figure in findings["figures"]][0] == "Validation", "what does not compare comes first")
    column = browser.evaluate("[...document.querySelectorAll('table.runs tr td:nth-child(2)')].map(cell => cell.textContent)")
    check(column[0] == "2.500" and column[2] == "–", f"results {column}")
    print("ok: tokenizers compare by bits per byte", flush=True)


def check_one_diverged(weir, browser, run):
    """Beside others, a run that diverged leaves the chart; it does not flatten them."""
    def diverge(lines):
        late = lines[-1]["step"] // 3
        return [line | {"train/loss": 40 + line["step"]} if "train/loss" in line and line["step"] > late else line
                for line in lines]

    other, page = with_metrics(run, weir.folder / "blown-up", diverge), weir.folder / "one-diverged.html"
    weir.succeed("report", run, other, "--out", page)
    loss = figure_of(look(browser, page, "one-diverged"), "Loss")
    check(loss["marks"] > 0 and any("above the chart" in entry for entry in loss["legend"]), f"one diverged: {loss}")
    print("ok: a run that diverged does not flatten the curves of another", flush=True)


def check_missing(weir, browser, run):
    copy = weir.folder / "unsaved"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints")
    (copy / "report.html").unlink(missing_ok=True)
    weir.run("report", copy)
    notes = look(browser, copy / "report.html", "missing")["notes"]
    check(any("is not shown here, because its feedforwards could not be measured" in note for note in notes), f"{notes}")
    print("ok: an absent section says why", flush=True)


def main():
    binary = find_browser()
    if binary is None:
        print("skipped: there is no Chromium; tools/install_packages.sh --with browser installs it", flush=True)
        sys.exit(77)
    with setup() as weir, Browser(binary) as browser:
        run = weir.folder / "run"
        weir.succeed(*weir.train_arguments(run), "--quiet")
        check_one(weir, browser, run)
        check_switch(browser, run, weir)
        check_odd_losses(weir, browser, run)
        check_several(weir, browser, run)
        check_tokenizers(weir, browser, run)
        check_one_diverged(weir, browser, run)
        check_missing(weir, browser, run)


main()
