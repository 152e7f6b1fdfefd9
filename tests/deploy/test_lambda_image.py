"""The image of a service as Lambda takes it, of stand-ins for service and adapter: neither is run."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

SERVICE = """\
FROM scratch
ENV BENTOML_HOME=/state OMP_NUM_THREADS=1
USER 65532
ENTRYPOINT ["bentoml", "serve", "/bento"]
"""
ADAPTER = """\
FROM scratch
COPY lambda-adapter /lambda-adapter
"""


def _buildah(folder: Path, *arguments: str) -> str:
    store = ["--root", str(folder / "root"), "--runroot", str(folder / "runroot"), "--storage-driver", "vfs"]
    done = subprocess.run(["buildah", *store, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_adapter_is_where_lambda_starts_it(tmp_path: Path) -> None:
    for name, text in (("service", SERVICE), ("adapter", ADAPTER)):
        context = tmp_path / name
        context.mkdir()
        (context / "Dockerfile").write_text(text)
        (context / "lambda-adapter").write_text("the adapter")
        _buildah(tmp_path, "build", "--quiet", "--tag", f"localhost/{name}", str(context))
    given = (f"--build-arg={name.upper()}=localhost/{name}" for name in ("service", "adapter"))
    _buildah(tmp_path, "build", "--file", "deploy/lambda.Dockerfile", *given, "--tag", "variant", "deploy")
    described: dict[str, Any] = json.loads(_buildah(tmp_path, "inspect", "--type", "image", "variant"))
    settings = described["OCIv1"]["config"]
    assert settings["Entrypoint"] == ["bentoml", "serve", "/bento"]
    assert settings["User"] == "65532"
    environment = dict(entry.split("=", 1) for entry in settings["Env"])
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["BENTOML_HOME"].startswith("/tmp/")
    assert environment["AWS_LWA_PORT"] == "3000"
    container = _buildah(tmp_path, "from", "--pull-never", "variant").strip()
    mounted = Path(_buildah(tmp_path, "mount", container).strip())
    assert (mounted / "opt" / "extensions" / "lambda-adapter").read_text() == "the adapter"
    _buildah(tmp_path, "umount", container)
