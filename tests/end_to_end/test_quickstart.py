"""tools/quickstart.sh: what it cannot do it says in its own words, and it leaves nothing of a run that did not begin."""

import os
import pathlib
import re
import shutil
import subprocess

from weir_test import check, patient, setup, write_text

USAGE, DATA = 2, 65


class QuickStart:
    """The script in a tree where everything is built: `meson` and `ninja` have nothing to do."""

    def __init__(self, weir):
        self.tree = weir.folder / "tree"
        for folder in "tools", "bin", "build/tools/weir":
            (self.tree / folder).mkdir(parents=True)
        script = pathlib.Path(__file__).resolve().parents[2] / "tools" / "quickstart.sh"
        shutil.copy(script, self.tree / "tools")
        (self.tree / "build" / "tools" / "weir" / "weir").symlink_to(weir.binary)
        for name in "meson", "ninja":
            self.built(name, "exit 0")

    def built(self, name, line):
        program = self.tree / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)

    def run(self, *arguments):
        environment = os.environ | {"PATH": f"{self.tree / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run([self.tree / "tools" / "quickstart.sh", "--no-install", *map(str, arguments)],
                              capture_output=True, text=True, cwd=self.tree, env=environment, timeout=patient(300))

    def refused(self, code, fragment, *arguments):
        result = self.run(*arguments)
        check(result.returncode == code, f"{arguments}: exits with {result.returncode}: {result.stderr}")
        check(fragment in result.stderr and result.stderr.count("\n") == 1, f"{arguments}: says {result.stderr!r}")
        check(not (self.tree / "runs" / "quickstart").exists(), f"{arguments}: a folder is left")


def check_refusals(weir, start):
    tiny, latin = weir.folder / "tiny.txt", weir.folder / "latin.txt"
    write_text(tiny, 4095)
    latin.write_bytes(1000 * b"caf\xe9 ")
    (weir.folder / "empty.txt").touch()
    start.refused(USAGE, "tiny.txt: 4095 bytes are too little text to learn from; name one of 4096 or more with --data",
                  "--data", tiny)
    start.refused(DATA, "or give --encoding bytes to take its bytes as they are", "--data", latin)
    start.refused(DATA, "the file is empty", "--data", weir.folder / "empty.txt")
    mine = weir.folder / "mine"
    mine.mkdir()
    (mine / "train.txt").write_text("mine")
    start.built("ninja", "echo 'nothing is built for a mistake' >&2; exit 1")
    for fragment, words in (("there is no such file", ("--data", weir.folder / "nothing.txt")),
                            ("there is no such file", ("--data", weir.folder)),
                            ("it takes utf-8 or bytes", ("--encoding", "latin1")),
                            ("it takes a number, such as 1.5", ("--minutes", "two")),
                            ("learns nothing in no time", ("--minutes", "0.0")),
                            ("choose a new folder with --run", ("--run", mine))):
        start.refused(USAGE, fragment, *words)
    start.built("ninja", "exit 0")
    check((mine / "train.txt").read_text() == "mine", "a file of the user is written over")
    print("ok: what the quick start cannot do it says in its own words", flush=True)


def check_shortest(weir, start):
    text = weir.folder / "it's short.txt"
    write_text(text, 4096)
    for name in "quickstart", "quickstart-2":
        result = start.run("--data", text, "--minutes", "0.02")
        check(result.returncode == 0, f"the shortest text: {result.returncode}: {result.stdout} {result.stderr}")
        check((start.tree / "runs" / name / "config.toml").is_file(), f"{name} is no run")
    generate, = re.findall(r"^  (build/\S+ generate .*)$", result.stdout, re.MULTILINE)
    result = subprocess.run(["sh", "-c", generate + " --tokens 3"], capture_output=True, text=True, cwd=start.tree)
    check(result.returncode == 0, f"{generate}: {result.stderr}")
    print("ok: the shortest text that it takes, twice, and a command that it names", flush=True)


def main():
    with setup() as weir:
        start = QuickStart(weir)
        check_refusals(weir, start)
        check_shortest(weir, start)


main()
