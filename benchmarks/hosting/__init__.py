"""An application in a process and a Ray cluster of its own, as `forecast-grpc serve` runs the real one."""

import signal
import tempfile
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path

# The very functions that start the real service, so that nothing but the application can differ.
from forecast_grpc.cli._cluster import SERVICERS, _set_environment, _start_ray
from forecast_grpc.cli._endpoints import Endpoints, IngressMode
from forecast_grpc.cli._ports import free_port
from forecast_grpc.cli._processes import children, end
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME


def host(module: str, grpc_port: int, ingress: IngressMode, http_port: int) -> None:
    """Serves `module.app` until SIGINT or SIGTERM, then stops all that it started.

    Its methods are registered as ours are, unless the module has `SERVICERS` of its own.
    """
    endpoints = Endpoints(
        host="127.0.0.1", grpc_port=grpc_port, http_port=http_port, metrics_port=free_port()
    )
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        # A short name: Ray puts a socket far below it, and the path of a socket is limited.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        _set_environment(ingress, folder)
        stack.callback(lambda: end(children()))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stack.callback(_start_ray(Settings.model_validate({}), endpoints))
        # Ray has put its own handler in place, which dies without cleaning up.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _start(module, endpoints)
        print("ready", flush=True)
        signal.pause()


def _start(module: str, endpoints: Endpoints) -> None:
    # Ray Serve reads its environment when it is imported.
    from ray import serve  # noqa: PLC0415
    from ray.serve.config import HTTPOptions, gRPCOptions  # noqa: PLC0415

    hosted = import_module(module)
    servicers = getattr(hosted, "SERVICERS", SERVICERS)
    serve.start(
        http_options=HTTPOptions(host=endpoints.host, port=endpoints.http_port),
        grpc_options=gRPCOptions(port=endpoints.grpc_port, grpc_servicer_functions=list(servicers)),
    )
    serve.run(hosted.app, name=APPLICATION_NAME)
