"""A report is one sound HTML page that needs nothing beside itself, small, and safe whatever the run is called."""

import html.parser
import json
import math
import re
import shutil

from weir_test import check, checkpoints, setup

VOID = {"meta", "br", "link", "img", "input", "hr"}
LIMIT = 2_000_000


class Page(html.parser.HTMLParser):
    """Checks that elements are closed in the order in which they were opened, and keeps what was seen."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.attributes, self.text = [], {}, set(), []
        self.feed(text)
        self.close()
        check(not self.open, f"never closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attributes}
        check(len(attributes) == len(dict(attributes)), f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        check(self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read_page(path):
    data = path.read_bytes()
    check(len(data) < LIMIT, f"{path} has {len(data)} bytes")
    text = data.decode()
    check(text.startswith("<!DOCTYPE html>"), "no doctype")
    outside = re.findall(r"(?i)https?:|src=|@import|url\(|<link|<iframe|<object", text)
    check(not outside, f"the page refers to {outside}")
    page = Page(text)
    known = {"html", "head", "meta", "title", "style", "body", "main", "script", "header", "section", "h1", "h2", "h3", "p",
             "div", "span", "b", "small", "figure", "figcaption", "svg", "g", "path", "rect", "circle", "text", "polyline",
             "table", "tr", "th", "td", "details", "summary", "pre", "button"}
    check(set(page.elements) <= known, f"unknown elements: {set(page.elements) - known}")
    check(page.elements["script"] == 1, "more than one script")
    check(not [name for name in page.attributes if name.startswith("on")], f"handlers: {page.attributes}")
    return page, text


def check_page(weir, run):
    output = weir.succeed("report", run, "--threads", 1)
    check("report.html" in output, f"report says {output!r}")
    page, text = read_page(run / "report.html")
    seen = " ".join(page.text)
    for words in ("Loss", "Validation", "Learning rate", "Gradient norm", "Throughput", "Active channels", "Layer 1",
                  "Expert popularity", "Which experts go together", "feedforward.experts", "step 40"):
        check(words in seen, f"the page does not say {words!r}")
    check(text.count('class="heat"') == 2, "not one heat map per layer")
    first = text
    weir.succeed("report", run, "--threads", 1)
    check((run / "report.html").read_text() == first, "a second report differs")
    print("ok: one page with curves, channels, experts, pairs, settings and samples", flush=True)


def check_json(weir, run):
    report = weir.succeed_json("report", run, "--json", "--max-tokens", 512, "--threads", 1)
    check(report["page"] == str(run / "report.html"), f"--json names {report['page']}")
    (entry,) = report["runs"]
    inspected = weir.succeed_json("inspect", run, "--json")
    check(entry["parameters"] == inspected["parameters"], "report and inspect count different parameters")
    check(entry["steps"] == 60 and entry["tokens"] == 60 * 4 * 32, f"{entry['steps']} steps, {entry['tokens']} tokens")
    analysis = entry["analysis"]
    measured = weir.succeed_json("eval", run, "--max-tokens", 512, "--threads", 1, "--json")
    check(analysis["nats_per_token"] == measured["nats_per_token"], "report and eval measure different losses")
    check(analysis["tokens"] == measured["tokens"] and analysis["checkpoint"] == measured["checkpoint"],
          "report and eval measure different things")
    check(len(analysis["layers"]) == 2, "not one entry per layer")
    for layer in analysis["layers"]:
        selections, pairs = layer["selections"], layer["pairs"]
        total = sum(selections)
        check(total == 2 * analysis["tokens"], f"{total} selections of {analysis['tokens']} tokens")
        for expert, row in enumerate(pairs):
            check(row[expert] == selections[expert], "the diagonal of the pairs is not the number of selections")
            check(sum(row) == 2 * selections[expert], "of two experts per token, each has not one companion")
            check(row == [other[expert] for other in pairs], "the pairs are not symmetric")
        check(sum(layer["gate_sums"]) <= total * layer["gate_max"], "gates above the largest")
        shares = [count / total for count in selections if count > 0]
        perplexity = math.exp(-sum(share * math.log(share) for share in shares)) / len(selections)
        check(abs(layer["usage_perplexity"] - perplexity) < 1e-9, "usage perplexity")
        check(abs(layer["utilisation_max"] - max(selections) * len(selections) / total) < 1e-9, "utilisation")
        check(layer["channels"] == 32 and 0 < layer["active_mean"] < 32, f"{layer['active_mean']} of {layer['channels']}")
    print("ok: report --json agrees with eval, inspect and itself", flush=True)


def check_table(weir, run):
    (row,) = weir.succeed_json("report", "--table", run, "--json")["runs"]
    (entry,) = weir.succeed_json("report", run, "--json", "--max-tokens", 512)["runs"]
    check(row["parameters"] == entry["parameters"], f"the table has other parameters than the page: {row}")
    text = weir.succeed("report", "--table", run)
    check(f"{entry['result']['last']:.4f}" in text, f"the table lacks the result of the page:\n{text}")
    used = weir.succeed_json("eval", run, "--max-tokens", 512, "--threads", 1, "--json")["tokens"]
    check(row["last"]["tokens"] == used and f"on {used} tokens of" in text, f"the table does not say {used} tokens:\n{text}")
    check(weir.succeed("report", "--table", run, "--markdown").startswith("| variant |"), "no Markdown table")
    check(weir.run("report", run, "--markdown").returncode == 2, "--markdown was taken without --table")
    print("ok: report --table agrees with the page", flush=True)


def check_several(weir, run):
    other = weir.folder / "dense"
    weir.succeed(*weir.train_arguments(other, feedforward__kind="dense", train__steps=20, train__batch_size=8), "--quiet")
    out = weir.folder / "both.html"
    weir.succeed("report", run, other, "--out", out, "--threads", 1)
    page, text = read_page(out)
    check("2 runs" in page.text and "train.batch_size" in page.text, "the page does not compare the runs")
    check(text.count(">tokens</text>") >= 3, "runs with different batches are not drawn against tokens")
    for name in ("run", "dense"):
        check(f'data-label="{name} validation"' in text, f"no curve of {name}")
    print("ok: several runs over one another", flush=True)


def check_hostile_names(weir):
    name = "<img src=x onerror=alert(1)>\"'&\x1b[31m\u202e"
    run = weir.folder / name
    prompt = "</pre><script>alert(2)</script>"
    weir.succeed(*weir.train_arguments(run, train__steps=20, sample__every=5, sample__prompt=prompt, eval__every=5),
                 "name=<img src=y onerror=alert(3)>", "--quiet")
    weir.succeed("report", run, weir.folder / "run", "--out", weir.folder / "hostile.html")
    weir.succeed("report", run)
    for path in (weir.folder / "hostile.html", run / "report.html"):
        page, text = read_page_of_hostile(path)
        check("alert(1)" in text and "alert(2)" in text, "the names are not shown at all")
        check("\x1b" not in text and "\u202e" not in text, "control characters went into the page")
    print("ok: hostile names and prompts are text", flush=True)


def read_page_of_hostile(path):
    """The names contain what read_page looks for, harmlessly; here only elements and attributes count."""
    text = path.read_text()
    page = Page(text)
    check(page.elements["script"] == 1 and "img" not in page.elements, f"elements of a name: {page.elements}")
    check("onerror" not in page.attributes and "src" not in page.attributes, f"attributes of a name: {page.attributes}")
    return page, text


def check_long_run(weir, run):
    """A spike in 60,000 lines stays visible, and the page small."""
    long = weir.folder / "long"
    shutil.copytree(run, long)
    with (long / "metrics.jsonl").open("w") as file:
        for step in range(1, 60001):
            loss = 40 if step == 33333 else 3 + math.sin(step)
            file.write(json.dumps({"step": step, "time": step, "train/loss": loss, "valid/loss": loss + 1,
                                   "train/gradient_norm": loss, "train/learning_rate": 1 / step}) + "\n")
            if step % 1000 == 0:
                file.write("{broken\n")
    result = weir.run("report", long, "--json", "--max-tokens", 64)
    check(result.returncode == 0 and result.stderr.decode() == (
        f"weir: warning: {long}/metrics.jsonl:1001: this is not a whole JSON object; this line is passed over, one of 60 "
        "that are damaged\n"), f"damaged lines: {result.returncode}: {result.stderr.decode()!r}")
    report = json.loads(result.stdout)
    check(report["runs"][0]["damaged_lines"] == 60, f"{report['runs'][0]['damaged_lines']} damaged lines")
    page, text = read_page(long / "report.html")
    check(len(text) < 150_000, f"60,000 steps make a page of {len(text)} bytes")
    check(any("60 damaged lines" in part for part in page.text), "the page does not mention damaged lines")
    band = re.search(r'<path class="band c0" d="([^"]*)"', text).group(1)
    heights = [float(y) for y in re.findall(r"[ML][\d.-]+ ([\d.-]+)", band)]
    check(sum(y < 0 for y in heights) == 1, "the spike is not in the band")
    points = max(len(match.split()) for match in re.findall(r'<polyline [^>]*points="([^"]*)"', text))
    check(100 < points <= 310, f"a line of {points} points")
    print("ok: a long run is thinned, its spike kept", flush=True)


def check_many(weir):
    """The most runs that a page takes, with many layers and experts and long metrics."""
    first = weir.folder / "many0"
    weir.succeed(*weir.train_arguments(first, train__steps=2, optimizer__warmup_steps=1, model__layers=18, model__d_model=8,
                                       feedforward__experts=128, feedforward__expert_size=4, feedforward__k=4), "--quiet")
    names = ("train/loss", "valid/loss", "valid/bits_per_byte", "train/learning_rate", "train/gradient_norm",
             "train/tokens_per_second", "experts/usage_entropy", "experts/utilisation_max", "experts/utilisation_min",
             "experts/dead")
    with (first / "metrics.jsonl").open("w") as file:
        for step in range(1, 1001):
            file.write(json.dumps({"step": step} | {name: 2 + math.sin(step * step) for name in names}) + "\n")
    (first / "samples.txt").write_text("".join(f"--- step {step}\n{'<' * 10000}\n" for step in range(9)))
    runs = [first] + [weir.folder / f"many{i}" for i in range(1, 16)]
    for run in runs[1:]:
        shutil.copytree(first, run)
    weir.succeed("report", *runs, "--max-tokens", 128)
    check(not (first / "report.html").exists(), "a comparison takes the place of a run's own page")
    page, text = read_page(first / "comparison.html")
    check(page.elements["polyline"] >= 16 * 10, "not every run is drawn")
    print(f"ok: sixteen runs of 18 layers with 128 experts make a page of {len(text) // 1000} kB", flush=True)


def check_incomplete(weir, run):
    """What is missing is said, on stderr and on the page."""
    def damaged(name, change):
        copy = weir.folder / name
        shutil.copytree(run, copy)
        change(copy)
        full = (copy / "report.html").read_bytes()
        result = weir.run("report", copy)
        check(result.returncode == 65 and b"shows what the experts of a run do" in result.stderr and
              (copy / "report.html").read_bytes() == full, f"{name}: a full page does not stay: {result.stderr}")
        (copy / "report.html").unlink()
        result = weir.run("report", copy)
        check(result.returncode == 0 and b"warning" in result.stderr, f"{name}: {result.returncode}, {result.stderr}")
        page, text = read_page(copy / "report.html")
        check('class="note"' in text and "Active channels" not in text, f"{name}: no note on the page")
        check("Gradient norm" in "".join(page.text), f"{name}: no curves")

    damaged("bare", lambda copy: shutil.rmtree(copy / "checkpoints"))
    damaged("rotten", lambda copy: [(folder / "model.safetensors").write_bytes(b"x") for folder in checkpoints(copy)])
    copy = weir.folder / "silent"
    shutil.copytree(run, copy)
    (copy / "metrics.jsonl").unlink()
    errors = weir.run("report", copy).stderr.decode()
    check("metrics.jsonl: this file is not there, so there are no curves" in errors, f"without metrics: {errors!r}")
    page, _ = read_page(copy / "report.html")
    seen = "".join(page.text)
    check("Gradient norm" not in seen and "Active channels" in seen, "without metrics there are no channels")
    print("ok: a run without checkpoints or metrics is reported as far as it goes", flush=True)


def check_mistakes(weir, run):
    empty, begun = weir.folder / "empty", weir.folder / "begun"
    empty.mkdir()
    begun.mkdir()
    shutil.copy(run / "config.toml", begun)
    for arguments, code, words in (
            ([weir.folder / "nowhere"], 2, "there is no such folder"),
            ([empty], 2, "there is no run in this folder"),
            ([weir.folder], 2, "this is a folder of runs"),
            ([begun], 65, "neither metrics nor checkpoints"),
            ([run / "metrics.jsonl"], 2, "this is a file, expected the folder of a run"),
            ([run] * 17, 2, "at most 16"),
            ([run, "--out", weir.folder / "none" / "x.html"], 74, "x.html"),
            ([run, "--max-tokens", "-1"], 2, "--max-tokens"),
            ([], 2, "RUN is missing")):
        result = weir.run("report", *arguments)
        error = result.stderr.decode()
        check(result.returncode == code and words in error and error.count("\n") == 1,
              f"report {arguments[:2]}: {result.returncode}, {error!r}")
    check(not list(empty.iterdir()) and len(list(begun.iterdir())) == 1, "a refused report leaves files")
    print("ok: mistakes are told in one line", flush=True)


def main():
    with setup() as weir:
        run = weir.folder / "run"
        weir.succeed(*weir.train_arguments(run), "--quiet")
        check_page(weir, run)
        check_json(weir, run)
        check_table(weir, run)
        check_several(weir, run)
        check_hostile_names(weir)
        check_long_run(weir, run)
        check_many(weir)
        check_incomplete(weir, run)
        check_mistakes(weir, run)


main()
