"""The Python package that tokens are compared with, in a virtual environment of its own."""

import subprocess
import sys

import samples

PACKAGE = "tokenizers==0.23.3"


def python_with_package(folder):
    """The Python of the virtual environment; it is made where it is not there yet."""
    python = folder / "bin" / "python"
    works = [str(python), "-c", f"import tokenizers; assert '=='+tokenizers.__version__ == {PACKAGE[len('tokenizers'):]!r}"]
    if python.exists() and subprocess.run(works, capture_output=True).returncode == 0:
        return str(python)
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)],
                    [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE], works):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            last = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
            samples.skip(f"the package {PACKAGE} cannot be had: {last}")
    return str(python)
