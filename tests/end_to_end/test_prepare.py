"""weir prepare: small data sets of each kind, downloads from a server on this machine, everything that can go wrong."""

import bz2
import gzip
import hashlib
import http.server
import io
import json
import lzma
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile

from weir_test import CONTROL, TINY, check, setup, small_disk, write_text

USAGE, DATA, IO, STOPPED = 2, 65, 74, 75
SPLITS = ("train", "valid", "test")


# --- what prepared data must look like, read without weir -----------------------------------------------------------

def read_shard(path):
    data = path.read_bytes()
    magic, version, width, vocabulary, count, _ = struct.unpack("<8sIIQQQ", data[:40])
    check(magic == b"weir tok" and version == 1, f"{path} has another header")
    body = data[64:]
    check(len(body) == count * width, f"{path} has {len(body)} bytes of tokens for {count} tokens")
    tokens = list(struct.unpack(f"<{count}{ {1: 'B', 2: 'H', 4: 'I'}[width] }", body))
    check(max(tokens) < vocabulary, f"{path} has a token outside its vocabulary")
    return tokens


def read_split(folder, split):
    description = json.loads((folder / "dataset.json").read_text())["splits"][split]
    tokens = [token for shard in description["shards"] for token in read_shard(folder / shard["file"])]
    check(len(tokens) == description["tokens"], f"{split} has {len(tokens)} tokens, dataset.json says otherwise")
    return tokens


def same_folders(left, right):
    names = sorted(path.name for path in left.iterdir())
    return names == sorted(path.name for path in right.iterdir()) and all(
        (left / name).read_bytes() == (right / name).read_bytes() for name in names)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if ".tmp-" in path.name] if folder.is_dir() else []


def train_on(weir, folder, vocabulary):
    """Three steps on the folder, and an evaluation."""
    run = weir.folder / f"run-{folder.name}"
    arguments = weir.train_arguments(run, data__train=folder, model__vocabulary=vocabulary, train__steps=3,
                                     optimizer__warmup_steps=1, sample__every=0)
    weir.succeed(*arguments)
    result = weir.succeed_json("eval", run, "--max-tokens", 512, "--threads", 1, "--json")
    shutil.rmtree(run)
    return result


def refused(weir, code, fragments, *arguments):
    result = weir.run(*arguments)
    message = result.stderr.decode(errors="replace")
    where = f"weir {' '.join(map(str, arguments))}"
    check(result.returncode == code, f"{where} exits with {result.returncode}, expected {code}: {message}")
    check(message.startswith("weir: ") and message.count("\n") == 1, f"{where} says {message!r}")
    check(not CONTROL.search(message), f"{where} prints control characters: {message!r}")
    for fragment in fragments:
        check(fragment in message, f"{where}: no {fragment!r} in {message!r}")


# --- the data sets --------------------------------------------------------------------------------------------------

def articles(size, seed):
    """Lines as WikiText has them: a blank at the start, a heading, empty lines."""
    text, state, vocabulary = [], seed, ["the", "river", "stone", "<unk>", "weir", "over", "1914", "falls", ",", "of"]
    length = 0
    while length < size:
        words = []
        for _ in range(state % 23):
            state = (state * 1103515245 + 12345) % 2**31
            words.append(vocabulary[(state >> 16) % len(vocabulary)] + ("s" if state % 7 == 0 else ""))
        state = (state * 1103515245 + 12345) % 2**31
        line = " " + "".join(word + " " for word in words) + "\n" if words else " \n"
        text.append(line)
        length += len(line)
    return "".join(text)


def spm_encode(folder, text):
    """The tokens of each line."""
    result = subprocess.run(["spm_encode", f"--model={folder}/tokenizer.model", "--output_format=id"],
                            input=text.encode(), capture_output=True, check=True)
    return [list(map(int, line.split())) for line in result.stdout.splitlines()]


def check_wikitext(weir):
    texts = {"train": articles(60000, 1), "valid": articles(9000, 2), "test": articles(9000, 3)}
    archive = weir.folder / "wikitext-2-v1.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("wikitext-2/", "")
        file.writestr("wikitext-2/../../etc/passwd", "root")
        for split, text in texts.items():
            file.writestr(f"wikitext-2/wiki.{split}.tokens", text)
    out = weir.folder / "data" / "wikitext-2"
    common = ["prepare", "wikitext-2", "--vocabulary", 60]
    result = weir.succeed_json(*common, "--from", archive, "--threads", 2, "--json")
    check(result["folder"] == "data/wikitext-2" and result["vocabulary"] == 60, f"prepare --json says {result}")
    check(sorted(path.name for path in out.iterdir()) ==
          ["dataset.json", "test-00000.tokens", "tokenizer.model", "train-00000.tokens", "valid-00000.tokens"],
          f"data/wikitext-2 holds {sorted(out.iterdir())}")
    description = json.loads((out / "dataset.json").read_text())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    check(digest in json.dumps(description), "dataset.json does not name the digest of the archive")
    for split, text in texts.items():
        words = sum(len(line.split()) + 1 for line in text.splitlines())
        check(description["splits"][split]["words"] == words, f"{split}: dataset.json counts other words than {words}")
        check(description["splits"][split]["bytes"] == len(text.encode()), f"{split}: dataset.json counts other bytes")
        if shutil.which("spm_encode"):
            expected = [token for line in spm_encode(out, text) for token in [*line, 3]]  # 3 is the end of a line
            check(read_split(out, split) == expected, f"{split} is not what spm_encode makes of it")
        check("unknown_share" not in description["splits"][split], f"{split}: the tokenizer loses some of the text")
    evaluation = train_on(weir, out, 60)
    check(evaluation["word_perplexity"] > evaluation["perplexity"] > 1, f"eval on prepared words says {evaluation}")
    print("ok: wikitext from an archive, as spm_encode has it; trained on and evaluated per word", flush=True)

    files = []
    for split, text in texts.items():
        files.append(weir.folder / f"wiki.{split}.tokens.xz")
        files[-1].write_bytes(lzma.compress(text.encode()))
    weir.succeed(*common, "--from", *files, "--threads", 1, "--out", weir.folder / "other")
    for split in SPLITS:
        check(read_split(weir.folder / "other", split) == read_split(out, split), f"{split} differs from three files")
    refused(weir, USAGE, ["--force"], *common, "--from", archive)
    before = (out / "dataset.json").read_bytes()
    weir.succeed(*common, "--from", archive, "--force", "--quiet")
    check((out / "dataset.json").read_bytes() == before, "preparing again gives another dataset.json")
    weir.succeed(*common[:2], "--from", archive, "--tokenizer", out / "tokenizer.model", "--out", weir.folder / "again")
    check(same_folders(out, weir.folder / "again"), "the tokenizer trained, given as a file, makes other data")
    weir.succeed(*common[:2], "--from", archive, "--tokenizer", "bytes", "--out", weir.folder / "bytes")
    for split in SPLITS:
        check(bytes(read_split(weir.folder / "bytes", split)) == texts[split].encode(), f"{split} is not its bytes")
    check(leftovers(weir.folder) == leftovers(weir.folder / "data") == [], "something temporary is left")
    print("ok: the same from three files, again with --force, with a tokenizer given, as bytes", flush=True)
    return archive


def check_published(weir):
    """The tokenizer of wikitext-103 is the published one: it loses blanks, line ends, and brackets."""
    files = [weir.folder / f"wiki.{split}.tokens.xz" for split in SPLITS]
    out = weir.folder / "published"
    said = weir.succeed("prepare", "wikitext-103", "--vocabulary", 60, "--from", *files, "--out", out)
    check("perplexities per token compare with published ones" in said, f"prepare wikitext-103 says {said}")
    for split, path in zip(SPLITS, files):
        text = lzma.decompress(path.read_bytes()).decode()
        if shutil.which("spm_encode"):
            expected = [token for line in spm_encode(out, text) for token in line]
            check(read_split(out, split) == expected, f"{split} is not what spm_encode makes of it")
        lost = sum(1 + len(line) - len(" ".join(line.split())) for line in text.splitlines())
        lost += len("<uk>") * text.count("<unk>")  # no other word has these letters
        share = json.loads((out / "dataset.json").read_text())["splits"][split]["unknown_share"]
        check(abs(share - lost / len(text)) < 1e-12, f"{split}: {share} is lost, expected {lost / len(text)}")
    print("ok: wikitext-103 as published; what its tokenizer loses is counted", flush=True)


def check_layout(weir):
    """Indented text: a tokenizer trained on it keeps all, one with the library's settings loses the indentation."""
    text = "".join("    " * (i % 5) + f"if (a{i % 7})\treturn  <b>{i}</b>;\n" + "\n" * (i % 3) for i in range(400))
    path, out = weir.folder / "code.txt", weir.folder / "code"
    path.write_text(text)
    splits = weir.succeed_json("prepare", "files", "--train", path, "--vocabulary", 60, "--out", out, "--json")["splits"]
    check("unknown_share" not in splits["train"], f"blanks or line ends are lost: {splits}")
    model = weir.folder / "published" / "tokenizer.model"
    weir.succeed("prepare", "files", "--train", path, "--tokenizer", model, "--out", out, "--force")
    share = json.loads((out / "dataset.json").read_text())["splits"]["train"]["unknown_share"]
    blanks = sum(1 + len(line) - len(" ".join(line.split())) for line in text.splitlines()) / len(text)
    check(blanks > 0.25 and share >= blanks, f"{share} is lost, of blanks and line ends alone {blanks}")
    shutil.rmtree(out)
    print("ok: blanks, tabs and line ends of a text are kept, or counted", flush=True)


def check_bytes(weir):
    block = "".join(f"line {i} of a text that is repeated\n" for i in range(3000)).encode()
    text = (block * (100_000_000 // len(block) + 1))[:100_000_000]
    archive = weir.folder / "enwik8.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("enwik8", text)
    output = weir.succeed("prepare", "enwik8", "--from", archive, "--out", weir.folder / "enwik8")
    check("not the published enwik8" in output, f"prepare takes another text for enwik8: {output}")
    position = 0
    for split, size in zip(SPLITS, (90_000_000, 5_000_000, 5_000_000)):
        data = (weir.folder / "enwik8" / f"{split}-00000.tokens").read_bytes()[64:]
        check(data == text[position:position + size], f"{split} is not its {size} bytes")
        position += size
    plain = weir.folder / "plain"
    plain.write_bytes(text[:99_000_000])
    refused(weir, DATA, ["99000000", "100000000"], "prepare", "text8", "--from", plain, "--out", weir.folder / "text8")
    plain.write_bytes(text + b"x")
    refused(weir, DATA, ["more than"], "prepare", "text8", "--from", plain, "--out", weir.folder / "text8")
    plain.unlink()
    check(not (weir.folder / "text8").exists() and leftovers(weir.folder) == [], "something of text8 is left")
    train_on(weir, weir.folder / "enwik8", 256)
    shutil.rmtree(weir.folder / "enwik8")
    archive.unlink()
    print("ok: enwik8 split at 90 and 95 million bytes; other lengths are refused", flush=True)


def documents(count, seed):
    texts = [articles(20 + seed * i % 700, seed + i) if i % 5 else "" for i in range(count)]
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
    return gzip.compress(lines.encode()), "".join(text + "<STORY_SEP>" for text in texts if text)


def pes2o_shards():
    shards = {}
    for split, count in (("train", 3), ("validation", 2)):
        total = 20 if split == "train" else 2
        for i in range(count):
            shards[f"{split}-{i:05}-of-{total:05}.json.gz"] = documents(120, 10 * i + len(split))
    return shards


def check_documents(weir, shards):
    paths = []
    for name, (packed, _) in shards.items():
        paths.append(weir.folder / name)
        paths[-1].write_bytes(packed)
    expected = {split: "".join(text for name, (_, text) in shards.items() if name.startswith(split)).encode()
                for split in SPLITS}
    out = weir.folder / "data" / "peS2o"
    common = ["prepare", "peS2o", "--from", *paths, "--tokenizer", "bytes"]
    result = weir.succeed_json(*common, "--tokens", 1000000, "--json")
    check(bytes(read_split(out, "train")) == expected["train"], "the documents are not joined in order")
    check(bytes(read_split(out, "valid")) == expected["valid"], "the validation documents are not joined in order")
    check(result["splits"]["train"]["bytes"] == len(expected["train"]), f"prepare --json says {result}")
    train_on(weir, out, 256)
    weir.succeed(*common, "--tokens", 1000, "--force")
    check(bytes(read_split(out, "train")) == expected["train"][:1000], "--tokens 1000 is not the first 1000")
    weir.succeed(*common, "--tokens", 1000000, "--shards", 1, "--force")
    first = shards["train-00000-of-00020.json.gz"][1].encode()
    check(bytes(read_split(out, "train")) == first, "--shards 1 is not the first shard")
    weir.succeed(*common, "--tokens", 1000000, "--force")
    weir.succeed("prepare", "peS2o", "--from", *paths, "--tokens", 1000000, "--vocabulary", 70, "--out",
                 weir.folder / "trained")
    check(json.loads((weir.folder / "trained" / "dataset.json").read_text())["vocabulary"] == 70, "another vocabulary")
    for path in paths:
        path.unlink()
    print("ok: documents joined in the order of their shards, cut by --tokens and --shards", flush=True)
    return out


def check_files(weir):
    first, second = articles(20000, 5).encode(), articles(9000, 6).encode()
    paths = [weir.folder / "first.txt.bz2", weir.folder / "second.txt"]
    paths[0].write_bytes(bz2.compress(first))
    paths[1].write_bytes(second)
    out = weir.folder / "data" / "files"
    weir.succeed("prepare", "files", "--train", *paths, "--valid", paths[1], "--test", paths[0], "--tokenizer", "bytes")
    for split, text in zip(SPLITS, (first + second, second, first)):
        check(bytes(read_split(out, split)) == text, f"{split} of files is not its text")
    weir.succeed("prepare", "files", "--train", *paths, "--valid-fraction", 0.25, "--tokenizer", "bytes", "--force")
    train, valid = bytes(read_split(out, "train")), bytes(read_split(out, "valid"))
    check(train + valid == first + second and train.endswith(b"\n"), "--valid-fraction does not cut at a line")
    check(abs(len(valid) / len(train + valid) - 0.25) < 0.02, f"--valid-fraction 0.25 keeps {len(valid)} bytes")
    tokenizer = letters(96)
    (weir.folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    result = weir.run("prepare", "files", "--train", paths[1], "--tokenizer", weir.folder / "tokenizer.json", "--force")
    if b"this build cannot" in result.stderr:
        print("skipped: tokenizer.json: this build does not read it", flush=True)
    else:
        check(result.returncode == 0, f"prepare with a tokenizer.json: {result.stderr.decode()}")
        vocabulary = tokenizer["model"]["vocab"]
        check(read_split(out, "train") == [vocabulary[chr(c)] for c in second], "tokenizer.json loses line ends")
    train_on(weir, out, json.loads((out / "dataset.json").read_text())["vocabulary"])
    lines = weir.folder / "lines.jsonl"
    lines.write_text(9 * '{"text": "one"}\n')
    output = weir.succeed("prepare", "files", "--train", lines, "--tokenizer", "bytes", "--out", weir.folder / "lines")
    check("lines.jsonl seems to be JSON lines" in output, f"nothing is said of JSON lines: {output}")
    print("ok: files of all sorts, packed or not, with a part kept for validation", flush=True)


# --- downloads ------------------------------------------------------------------------------------------------------

class Server:
    """Files over HTTP on this machine, with ranges, and faults on request."""

    def __init__(self):
        self.files, self.faults, self.log = {}, {}, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[1]
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(wanted[1]) if wanted else 0
                server.log.append((name, start, self.headers.get("User-Agent")))
                fault = server.faults.get(name, [None])
                fault = fault.pop(0) if len(fault) > 1 else fault[0]
                data = server.files.get(name)
                if isinstance(fault, int) or data is None:
                    return self.send_error(fault or 404)
                if fault == "no ranges":
                    wanted, start = None, 0
                if start >= len(data):
                    return self.send_error(416)
                body = data[start:]
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(body)))
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if fault == "silent":
                    time.sleep(8)
                    return self.close()
                if fault == "slow":
                    for i in range(0, len(body), 1000):
                        self.wfile.write(body[i:i + 1000])
                        time.sleep(0.2)
                    return None
                self.wfile.write(body[:len(body) // 2] if fault == "broken" else body)
                return self.close() if fault == "broken" else None

            def close(self):
                self.close_connection = True

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that went away
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/data"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, files, **faults):
        """`faults` per file name are consumed one per request; the last one stays."""
        self.files, self.log = files, []
        self.faults = {name: list(fault) for name, fault in faults.items()}


def check_downloads(weir, shards, expected):
    server = Server()
    files = {name: packed for name, (packed, _) in shards.items()}
    first = "train-00000-of-00020.json.gz"
    downloads = weir.folder / "downloads"
    out = weir.folder / "downloaded"

    def command(*more):
        return ["prepare", "peS2o", "--tokenizer", "bytes", "--tokens", 1000000, "--shards", 3, "--downloads",
                downloads, "--out", out, "--mirror", server.url, "--only-mirror", *more]

    def fresh():
        for folder in (downloads, out):
            shutil.rmtree(folder, ignore_errors=True)

    faults = {"none": [None], "a broken connection": ["broken", "broken", None], "an error of the server": [503, None],
              "no ranges": ["broken", "no ranges"], "silence": ["silent", None]}
    for name, fault in faults.items():
        fresh()
        server.serve(files, **{first: fault})
        weir.succeed(*command(*(["--timeout", 3] if name == "silence" else [])))
        check((downloads / first).read_bytes() == files[first], f"{name}: the file downloaded is another")
        for split in ("train", "valid"):
            check(read_split(out, split) == read_split(expected, split), f"{name}: {split} is another")
        check(sorted(path.name for path in downloads.iterdir()) == sorted(files), f"{name}: other files are left")
        requests = [start for asked, start, _ in server.log if asked == first]
        if fault[0] == "broken" and fault[1] == "broken":
            half = len(files[first]) // 2
            check(requests[:2] == [0, half] and len(requests) == 3 and requests[2] > half,
                  f"{name}: asked from {requests}, not where it broke off")
        check(all(agent.startswith("weir/") for _, _, agent in server.log), "another user agent")
    server.serve({})
    weir.succeed(*command("--force"))
    check(server.log == [], "what is downloaded already is asked for again")
    print(f"ok: downloads, with {', '.join(faults)}", flush=True)

    fresh()
    for code in (403, 404):
        server.serve(files, **{first: [code]})
        refused(weir, IO, ["127.0.0.1", f"HTTP status {code}", "--from", "--mirror"], *command())
    server.serve(files, **{first: [500]})
    refused(weir, IO, ["HTTP status 500"], *command())
    check(not out.exists() and leftovers(weir.folder) == [], "a failed download leaves a data set")
    fresh()
    server.serve({"wikitext-2-v1.zip": b"not what was published" * 1000})
    refused(weir, DATA, ["SHA-256 is", "expected 92675f1d"], "prepare", "wikitext-2", "--downloads", downloads, "--out",
            out, "--mirror", server.url + "/wikitext-2-v1.zip", "--only-mirror")
    server.serve({"enwik8.zip": b"a page that says sorry"})
    refused(weir, IO, ["22 bytes", "36445475"], "prepare", "enwik8", "--downloads", downloads, "--out", out, "--mirror",
            server.url, "--only-mirror")
    fresh()
    refused(weir, IO, ["127.0.0.1:1"], "prepare", "peS2o", "--downloads", downloads, "--out", out, "--mirror",
            "http://127.0.0.1:1/", "--only-mirror")
    check(not downloads.exists(), "a download that fails leaves an empty folder")
    failed = weir.run("prepare", "peS2o", "--downloads", downloads, "--out", out, "--mirror", "http://127.0.0.1:1/",
                      "--only-mirror")
    check((failed.stdout + failed.stderr).count(b"127.0.0.1:1: ") == 1, f"a failed place is told more than once: {failed}")
    refused(weir, USAGE, ["--mirror"], "prepare", "peS2o", "--only-mirror", "--out", out)
    print("ok: refusals, wrong digests, wrong sizes and closed ports are told", flush=True)

    fresh()
    server.serve(files, **{first: ["slow"]})
    process = subprocess.Popen(weir.command(*command()), cwd=weir.folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    part = downloads / (first + ".part")
    for _ in range(1000):
        if part.exists() and part.stat().st_size > 2000:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    message = process.communicate()[1].decode()
    check(process.returncode == STOPPED, f"Ctrl-C in a download: code {process.returncode}, {message}")
    check(part.stat().st_size > 2000 and not out.exists() and leftovers(weir.folder) == [],
          "Ctrl-C leaves other things")
    server.serve(files)
    weir.succeed(*command())
    check(server.log[0][1] > 2000, "what Ctrl-C left is not used")
    print("ok: Ctrl-C leaves what was downloaded, and the next attempt uses it", flush=True)


# --- what can go wrong ----------------------------------------------------------------------------------------------

def check_bad_inputs(weir, archive):
    folder = weir.folder / "bad"
    folder.mkdir()
    out = folder / "out"

    def file(name, data):
        (folder / name).write_bytes(data)
        return folder / name

    def words(code, fragments, path, *more):
        vocabulary = [] if "--vocabulary" in more or "--tokenizer" in more else ["--vocabulary", 60]
        refused(weir, code, fragments, "prepare", "wikitext-2", "--from", path, "--out", out, *vocabulary, *more)

    good = archive.read_bytes()
    words(DATA, ["cut.zip"], file("cut.zip", good[:len(good) // 2]))
    words(DATA, ["not a zip archive"], file("page.zip", b"<html>sorry</html>"))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0x40
    words(DATA, ["flipped.zip"], file("flipped.zip", bytes(flipped)))
    incomplete = io.BytesIO()
    with zipfile.ZipFile(incomplete, "w") as packed:
        packed.writestr("wikitext-2/wiki.train.tokens", "text")
        packed.writestr("wikitext-2/\x1b[31m", "text")
    words(DATA, ["wiki.valid.tokens", "no "], file("incomplete.zip", incomplete.getvalue()))
    words(IO, ["nothing.zip"], folder / "nothing.zip")
    words(IO, ["absent.model"], archive, "--tokenizer", folder / "absent.model")
    words(DATA, ["broken.model"], archive, "--tokenizer", file("broken.model", b"\xff" * 100))
    words(USAGE, ["bytes"], archive, "--tokenizer", "words")
    words(DATA, ["is too large for it", "or fewer, or more text"], archive, "--vocabulary", 100000)

    text = articles(30000, 7).encode()
    packings = {"gz": gzip.compress(text), "bz2": bz2.compress(text), "xz": lzma.compress(text)}
    for ending, packed in packings.items():
        path = file(f"text.{ending}", packed[:-20])
        refused(weir, DATA, [f"text.{ending}"], "prepare", "files", "--train", path, "--out", out)
        flipped = bytearray(packed)
        flipped[len(packed) // 2] ^= 1
        path = file(f"text.{ending}", bytes(flipped))
        refused(weir, DATA, [f"text.{ending}", "damaged"], "prepare", "files", "--train", path, "--out", out)
        path = file(f"text.{ending}", packed)
        weir.succeed("prepare", "files", "--train", path, "--tokenizer", "bytes", "--out", folder / ending)
        check(bytes(read_split(folder / ending, "train")) == text, f"{ending} is unpacked to another text")
    bomb = file("bomb.bz2", bz2.compress(b"a" * 100_000_000))
    refused(weir, DATA, ["unpacks to more than 67,", "far more than text"], "prepare", "files", "--train", bomb, "--tokenizer", "bytes", "--out", out)
    several = io.BytesIO()
    with zipfile.ZipFile(several, "w") as packed:
        for name in "ab":
            packed.writestr(name, "text")
    path = file("several.zip", several.getvalue())
    refused(weir, DATA, ["several files (a, b)"], "prepare", "files", "--train", path, "--out", out)
    refused(weir, DATA, ["empty"], "prepare", "files", "--train", file("empty.txt", b""), "--out", out)
    path = file("blank.txt", b"\n\n\n")
    model = weir.folder / "published" / "tokenizer.model"
    refused(weir, DATA, ["train", "no token"], "prepare", "files", "--train", path, "--tokenizer", model, "--out", out)
    refused(weir, DATA, ["line 2", "text"], "prepare", "c4", "--tokenizer", "bytes", "--tokens", 1000, "--from",
            file("c4-train.json", b'{"text": "a"}\n{"txt": "b"}\n'), file("c4-validation.json", b'{"text": "a"}\n'),
            "--out", out)
    check(not out.exists() and leftovers(folder) == [], f"a failure leaves {sorted(folder.iterdir())}")
    print("ok: damaged, strange and hostile files are refused, and leave nothing", flush=True)


def check_bad_arguments(weir, archive):
    text = weir.text
    refused(weir, USAGE, ["did you mean enwik8"], "prepare", "enwik9")
    refused(weir, USAGE, ["DATASET"], "prepare")
    refused(weir, USAGE, ["--train"], "prepare", "files")
    refused(weir, USAGE, ["--from"], "prepare", "files", "--from", text)
    refused(weir, USAGE, ["--train"], "prepare", "enwik8", "--train", text)
    refused(weir, USAGE, ["--shards"], "prepare", "enwik8", "--shards", 1)
    refused(weir, USAGE, ["--tokens"], "prepare", "text8", "--tokens", "big")
    refused(weir, USAGE, ["--tokens", "tiny"], "prepare", "c4", "--tokens", "tiny")
    refused(weir, USAGE, ["--valid-fraction"], "prepare", "files", "--train", text, "--valid", text,
            "--valid-fraction", 0.1)
    refused(weir, USAGE, ["one file"], "prepare", "enwik8", "--from", text, text)
    refused(weir, USAGE, ["text.txt", "train"], "prepare", "peS2o", "--from", text)
    refused(weir, USAGE, ["no prepared data set"], "prepare", "files", "--train", text, "--out", weir.folder, "--force")
    refused(weir, IO, ["text.txt"], "prepare", "files", "--train", text, "--out", weir.text / "below")
    refused(weir, IO, ["/proc"], "prepare", "wikitext-2", "--from", archive, "--out", "/proc/weir-data")
    print("ok: mistakes on the command line are told", flush=True)


def check_advice(weir):
    """Whoever names texts in the wrong place is told a command that works when it is pasted."""
    tiny, packed = weir.folder / "my tiny text.txt", weir.folder / "packed.txt.gz"
    tiny.write_text("A weir.")
    packed.write_bytes(gzip.compress(weir.text.read_bytes()))
    for words in ([weir.text], [tiny], [packed], ["files", tiny], ["files", packed, tiny], [tiny, packed]):
        message = weir.run("prepare", *words).stderr.decode()
        command = re.search(r"weir (prepare files --train .+? --out (?:'[^']+'|[\w/.]+))", message)
        check(command, f"prepare {words} has no advice: {message}")
        result = subprocess.run(["bash", "-c", f"{weir.binary} {command[1]}"], capture_output=True, cwd=weir.folder)
        check(result.returncode == 0, f"{command[0]} exits with {result.returncode}: {result.stderr.decode()}")
        out, = re.findall(r"(data/[^:]+) is ready", result.stdout.decode())
        shutil.rmtree(weir.folder / out)
    message = weir.run("prepare", "files", "--train", weir.text, "--out", weir.folder / "out").stderr.decode()
    most = re.search(r"give (\d+) or fewer, or more text, or --tokenizer bytes", message)
    check(most, f"the default vocabulary on a small text: {message}")
    weir.succeed("prepare", "files", "--train", weir.text, "--vocabulary", most[1], "--out", weir.folder / "out")
    shutil.rmtree(weir.folder / "out")
    refused(weir, USAGE, ["weir prepare enwik8 --from enwik8.zip"], "prepare", "enwik8", "enwik8.zip")
    refused(weir, USAGE, ["is a folder", "--train FILE..."], "prepare", weir.folder)
    refused(weir, USAGE, ["no data set and no file"], "prepare", weir.folder / "nothing.txt")
    (weir.folder / "wikitext-2-v1.zip.part").write_bytes(b"PK")
    refused(weir, USAGE, ["weir prepare wikitext-2 --from wikitext-2-v1.zip.part"], "prepare", "wikitext-2-v1.zip.part")
    print("ok: advised commands work when they are pasted", flush=True)


def letters(count):
    """A tokenizer of letters that claims so many tokens, most of which no text has."""
    vocabulary = {chr(c): i for i, c in enumerate([10, *range(32, 127)])}
    vocabulary |= {f"<{i}>": i for i in range(len(vocabulary), count)}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "merges": [],
                      "vocab": vocabulary}}


def check_foreseen_size(weir):
    """The size that is stated beforehand suffices for all that is written, and is not much more."""
    words, digits = articles(2_000_000, 3), "".join(f"{i * i:x}\n" for i in range(150_000))
    text, valid = weir.folder / "mixed.txt", weir.folder / "mixed-valid.txt"
    text.write_text(words + digits)
    valid.write_text(digits + words)
    (weir.folder / "letters.json").write_text(json.dumps(letters(70_000)))
    arguments = ["prepare", "files", "--train", text, "--valid", valid, "--test", valid]
    model = weir.folder / "data" / "wikitext-2" / "tokenizer.model"
    for more in ["bytes"], ["train", "--vocabulary", 300], [model], [weir.folder / "letters.json"]:
        out = weir.folder / "foreseen"
        output = weir.succeed(*arguments, "--tokenizer", *more, "--out", out)
        number, unit = re.search(r"will take about ([\d.]+) (kB|MB);", output).groups()
        stated = float(number) * {"kB": 1e3, "MB": 1e6}[unit]
        taken = sum(path.stat().st_size for path in out.iterdir())
        check(taken <= stated <= 1.25 * taken + 100_000, f"{more}: takes {taken} bytes, stated are {stated}")
        shutil.rmtree(out)
        with small_disk(weir.folder / "foreseen-disk", -(-int(stated) // 4096) * 4096) as mounted:
            if mounted:
                weir.succeed(*arguments, "--tokenizer", *more, "--out", weir.folder / "foreseen-disk" / "set")
        (weir.folder / "foreseen-disk").rmdir()
    print("ok: a disk of the size that is stated beforehand is large enough", flush=True)


def check_full_disk(weir):
    text = weir.folder / "long.txt.xz"
    text.write_bytes(lzma.compress(articles(3_000_000, 9).encode()))
    arguments = ["prepare", "files", "--train", text, "--tokenizer", "bytes", "--out"]
    with small_disk(weir.folder / "disk", "1m") as mounted:
        if mounted:
            refused(weir, IO, ["3.1 MB", "free"], *arguments, weir.folder / "disk" / "set")
            check(list((weir.folder / "disk").iterdir()) == [], "a disk that is too small is written to")
            print("ok: a disk that is too small is told beforehand", flush=True)
        else:
            print("skipped: a small disk: it cannot be mounted here", flush=True)
    # Where every letter is a token, more comes out than is to be expected of documents.
    with small_disk(weir.folder / "disk2", "1m") as mounted:
        if mounted:
            for split, count in ("train", 15_000), ("valid", 1):
                (weir.folder / f"{split}.json").write_text(count * (json.dumps({"text": 70 * "v"}) + "\n"))
            target = weir.folder / "disk2" / "set"
            refused(weir, IO, ["train", "space"], "prepare", "c4", "--from", weir.folder / "train.json",
                    weir.folder / "valid.json", "--tokenizer", weir.folder / "data" / "wikitext-2" / "tokenizer.model",
                    "--out", target)
            check(list((weir.folder / "disk2").iterdir()) == [], "a full disk is left with something")
            print("ok: a disk that fills up is told, and nothing is left on it", flush=True)
    refused(weir, IO, ["at least 200 TB", "free"], "prepare", "c4", "--tokens", 10**14, "--out", weir.folder / "large")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    result = subprocess.run(weir.command(*arguments, weir.folder / "limited"), capture_output=True, cwd=weir.folder,
                            preexec_fn=limit)
    check(result.returncode == IO and b"train" in result.stderr, f"a write that fails: {result.stderr!r}")
    check(not (weir.folder / "limited").exists() and leftovers(weir.folder) == [], "a failed write leaves something")
    print("ok: a write that fails is told, and nothing is left", flush=True)


def check_interruption(weir):
    """Ctrl-C while encoding and at other moments: the folder is there whole or not at all."""
    text = weir.folder / "book.txt"
    write_text(text, 40_000_000)
    whole = stopped = 0
    for delay in (0, 0.05, 0.1, 0.2, 0.3):
        out = weir.folder / "interrupted"
        process = subprocess.Popen(
            weir.command("prepare", "files", "--train", text, "--tokenizer",
                         weir.folder / "data" / "wikitext-2" / "tokenizer.model", "--out", out),
            cwd=weir.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.readline()  # it has begun
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        process.communicate()
        code = process.returncode
        check(code in (0, STOPPED), f"Ctrl-C after {delay} s: code {code}")
        check(out.exists() == (code == 0), f"Ctrl-C after {delay} s: code {code}, and the folder says otherwise")
        check(leftovers(weir.folder) == [], f"Ctrl-C after {delay} s leaves {leftovers(weir.folder)}")
        whole, stopped = whole + (code == 0), stopped + (code == STOPPED)
        shutil.rmtree(out, ignore_errors=True)
    check(stopped > 0, "no Ctrl-C came in time")
    text.unlink()
    print(f"ok: Ctrl-C at five moments: {stopped} stopped, {whole} finished before", flush=True)


def main():
    with setup() as weir:
        text = weir.succeed("prepare", "--help")
        if "--mirror" not in text or "packed or not" not in text:
            print("skipped: this build lacks libcurl, OpenSSL, libarchive or zlib", flush=True)
            sys.exit(77)
        archive = check_wikitext(weir)
        check_published(weir)
        check_layout(weir)
        check_bytes(weir)
        shards = pes2o_shards()
        expected = check_documents(weir, shards)
        check_files(weir)
        check_bad_arguments(weir, archive)
        check_advice(weir)
        check_bad_inputs(weir, archive)
        check_foreseen_size(weir)
        check_full_disk(weir)
        check_interruption(weir)
        check_downloads(weir, shards, expected)


main()
