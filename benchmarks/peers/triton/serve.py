"""`python -m benchmarks.peers.triton.serve PORT HTTP_PORT METRICS_PORT`: Triton with its Python backend.

The server comes in the package nvidia-pytriton. It is started without pytriton's own layer, whose callables are
one process further away than a model of the Python backend.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.peers import waiting

SITE = Path(sysconfig.get_path("purelib"))
SERVER = SITE / "pytriton" / "tritonserver"
REPOSITORY = Path(__file__).parent / "repository"


def prepare(folder: Path) -> Path:
    """The backend with the stub of this Python beside it, where Triton looks for it."""
    backends = folder / "backends"
    shutil.copytree(SERVER / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(SERVER / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    return backends


def main(grpc_port: str, http_port: str, metrics_port: str) -> None:
    """Serves until SIGINT."""
    libraries = [str(SITE / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        waiting.say_when_open(int(grpc_port))
        command = [
            str(SERVER / "bin" / "tritonserver"),
            f"--model-repository={REPOSITORY}",
            f"--backend-directory={prepare(Path(folder))}",
            f"--grpc-port={grpc_port}",
            f"--http-port={http_port}",
            f"--metrics-port={metrics_port}",
        ]
        environment = os.environ | {
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PATH": path,
            "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(SITE)]),
        }
        with subprocess.Popen(command, env=environment) as server:
            try:
                server.wait()
            except KeyboardInterrupt:
                server.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
