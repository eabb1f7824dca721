import subprocess

from conftest import PROJECT


def test_tflint_finds_nothing() -> None:
    command = ["tflint", "--chdir=terraform", "--recursive"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
    assert result.returncode == 0, result.stdout + result.stderr
