"""`forecast-grpc forecast`, against a real gRPC server."""

import datetime
import ipaddress
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cli.conftest import RunCommand
from tests.cli.fake_service import FakeService, serving


def test_json(run: RunCommand, service: FakeService) -> None:
    """With --json the answer is one object: the HTTP body's fields, with the trailing metadata beside them."""
    done = run("forecast", "alpha", "1,2,3", "--quantiles", "0.5", "--json", "--address", service.address)
    assert done.code == 0
    (answer,) = done.objects
    sha256 = answer["model"].pop("sha256")
    assert len(sha256) == 64
    assert answer == {
        "customer_id": "alpha",
        "forecast": [6.0, 9.0, 12.0],
        "quantiles": [{"level": 0.5, "values": [6.0, 9.0, 12.0]}],
        "model": {"version": 3, "family": "trend", "trained_time": "2026-01-02T03:04:05Z"},
        "request_id": "request-1",
        "forecast-replica": "fake-1",
        "forecast-cache": "cold",
    }


def test_table(run: RunCommand, service: FakeService) -> None:
    """For people there is a row a step, and a line on standard error that says where it came from."""
    done = run("forecast", "alpha", "1,2,3", "--quantiles", "0.1,0.9", "--address", service.address)
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["step", "forecast", "quantile", "0.1", "quantile", "0.9"]
    assert [line[:2] for line in lines[1:]] == [["1", "6"], ["2", "9"], ["3", "12"]]
    assert all(float(low) < float(point) < float(high) for _, point, low, high in lines[1:])
    assert "version 3, trend" in done.err
    assert "request-1" in done.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [103.0, 106.0, 109.0]),
        (("--horizon", "1"), [103.0]),
        (("--version", "1"), [101.0, 102.0, 103.0]),
        (("5",), [8.0, 11.0, 14.0]),
    ],
)
def test_options(
    run: RunCommand, service: FakeService, arguments: tuple[str, ...], expected: list[float]
) -> None:
    """Horizon and version are passed on; without VALUES the forecast goes on from the end of training."""
    done = run("forecast", "alpha", *arguments, "--json", "--address", service.address)
    assert done.objects[0]["forecast"] == expected


@pytest.mark.parametrize("separator", [(), ("--",)])
@pytest.mark.parametrize(("values", "first"), [("-1,2,-3", 0.0), ("-1e1", -7.0), ("-.5", 2.5), ("-1", 2.0)])
def test_negative_numbers(
    run: RunCommand, service: FakeService, separator: tuple[str, ...], values: str, first: float
) -> None:
    """A sequence may start with a negative number, with `--` before it or without."""
    done = run("forecast", "--json", "--address", service.address, "alpha", *separator, values)
    assert done.objects[0]["forecast"][0] == first


@pytest.mark.parametrize("values", ["1,nan,3", "1,,3", " 1, NaN ,3"])
def test_missing_values(run: RunCommand, service: FakeService, values: str) -> None:
    """Nothing between two commas, or nan, is a missing observation."""
    done = run("forecast", "alpha", values, "--json", "--address", service.address)
    assert done.objects[0]["forecast"][0] == 6.0


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("1,2,7", ()),
        ("1\n2\n7\n", ()),
        ("sales\n1\n2\n7\n", ()),
        ("\ufeffsales\r\n1\r\n\r\n7\r\n\r\n", ()),
        ("day,sales\n1,5\n2,6\n3,7\n", ("--column", "sales")),
    ],
)
def test_values_from_a_file(
    run: RunCommand, service: FakeService, tmp_path: Path, text: str, options: tuple[str, ...]
) -> None:
    """VALUES come from a file, or from standard input: one line, one column, or the column named."""
    path = tmp_path / "values.csv"
    path.write_text(text)
    for done in (
        run("forecast", "alpha", f"@{path}", *options, "--json", "--address", service.address),
        run("forecast", "alpha", "-", *options, "--json", "--address", service.address, stdin=text),
    ):
        assert done.objects[0]["forecast"][0] == 10.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("alpha", "1,two,3"), "value 2 is not a number: two"),
        (("alpha", "@nowhere.csv"), "nowhere.csv cannot be read: No such file or directory."),
        (("alpha", "@two.csv"), "two.csv has several columns: name one with --column."),
        (("alpha", "@two.csv", "--column", "c"), "two.csv has no column c. There are: a, b."),
        (("alpha", "1", "--quantiles", "high"), "--quantiles is not a number: high"),
        (("alpha", "--horizn=3"), "There is no option --horizn."),
        (("../alpha", "1"), "A customer is named by 1 to 128 characters"),
        (("alpha", "1", "--token", "secret"), "A token is sent over TLS only: add --tls."),
        (("alpha", "1", "--horizon", "99999999999"), "The request cannot be sent"),
        (("alpha", "1", "--plot-file", "a.gif"), "A picture goes into a .png or .svg file"),
    ],
)
def test_wrong_usage(
    run: RunCommand, service: FakeService, in_folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """What cannot be meant is said in a sentence, before any call is made."""
    (in_folder / "two.csv").write_text("a,b\n1,2\n3,4\n")
    done = run("forecast", *arguments, "--address", service.address)
    assert done.code == (1 if "cannot be read" in sentence else 2)
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
    assert service.seen == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nobody", "1"), 3, ["NOT_FOUND", "MODEL_NOT_FOUND"]),
        (("alpha", "1", "--version", "9"), 3, ["NOT_FOUND", "MODEL_VERSION_NOT_FOUND"]),
        (("corrupt", "1"), 1, ["DATA_LOSS", "MODEL_CORRUPT"]),
        (("alpha", "1", "--horizon", "0"), 2, ["INVALID_ARGUMENT", "REQUEST_INVALID", "horizon"]),
        (("alpha", "1,inf"), 2, ["INVALID_ARGUMENT", "sequence_data[1]"]),
        (("alpha", "1", "--quantiles", "0.5,2"), 2, ["quantile_levels[1]"]),
    ],
)
def test_refusals(
    run: RunCommand, service: FakeService, arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    """A refusal is one sentence with status, reason, fields and request id, and ends with the code of its kind."""
    done = run("forecast", *arguments, "--address", service.address)
    assert done.code == code
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    for word in [*words, "request_id request-1"]:
        assert word in done.err


def test_store_is_gone(run: RunCommand, service: FakeService, store: Path) -> None:
    """A service that cannot reach its store is another failure than none at all; a retry is suggested."""
    store.rename(store.with_name("moved"))
    done = run("forecast", "alpha", "1", "--address", service.address)
    assert done.code == 4
    assert "STORE_UNAVAILABLE" in done.err
    assert "retry after 1 s" in done.err


def test_no_service(run: RunCommand) -> None:
    """Where nothing listens, the sentence names the address and how to start a service."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("forecast", "alpha", "1", "--address", address)
    assert done.code == 4
    assert done.err.startswith(
        f"Error: No service answers gRPC at {address}: start one with `forecast-grpc serve`"
    )


def test_silent_service(run: RunCommand) -> None:
    """Where something listens and says nothing, the command gives up after --timeout."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = run("forecast", "alpha", "1", "--address", address, "--timeout", "0.5")
    assert done.code == 4
    assert done.err == f"Error: No answer from {address} within 0.5 s.\n"


def test_address_from_the_environment(
    run: RunCommand, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORECAST_GRPC_ADDRESS says where the service is."""
    monkeypatch.setenv("FORECAST_GRPC_ADDRESS", service.address)
    assert run("forecast", "beta", "5", "--json").objects[0]["forecast"] == [4.0, 3.0, 2.0]


def certificate(folder: Path) -> tuple[Path, grpc.ServerCredentials]:
    """A certificate for 127.0.0.1: the file to trust, and the credentials of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "trusted.pem"
    path.write_bytes(signed)
    return path, grpc.ssl_server_credentials([(private, signed)])


def test_tls_and_token(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS the token goes along as a bearer token, and the application by its name."""
    trusted, credentials = certificate(tmp_path)
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(trusted))
    monkeypatch.setenv("FORECAST_GRPC_TOKEN", "secret")
    with serving(store, credentials) as service:
        # A process of its own: gRPC reads the trusted certificates once.
        command = ["forecast", "beta", "5", "--json", "--tls", "--application", "default"]
        program = "from forecast_grpc.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *command, "--address", service.address],
            capture_output=True,
            text=True,
            check=True,
        )
    assert '"forecast": [4.0, 3.0, 2.0]' in done.stdout
    assert service.seen[0]["authorization"] == "Bearer secret"
    assert service.seen[0]["application"] == "default"


def test_plain_caller_of_a_tls_service(run: RunCommand, store: Path, tmp_path: Path) -> None:
    """A wrong guess about TLS ends in a sentence too."""
    _, credentials = certificate(tmp_path)
    with serving(store, credentials) as service:
        done = run("forecast", "beta", "5", "--address", service.address)
    assert done.code == 4
    assert "No service answers gRPC" in done.err


def test_plot(run: RunCommand, service: FakeService) -> None:
    """The picture in the terminal has a title, both axes, a legend, and an interval that nobody had to ask for."""
    done = run("forecast", "alpha", "1,2,nan,4", "--plot", "--address", service.address)
    assert done.code == 0
    for words in (
        "alpha: trend, version 3",
        "steps from the last observation",
        "history",
        "80 % interval",
        "░",
    ):
        assert words in done.out
    assert "\x1b" not in done.out


def test_plot_keeps_json_clean(run: RunCommand, service: FakeService, tmp_path: Path) -> None:
    """With --json pictures go to their file and to standard error; standard output stays one object a line."""
    path = tmp_path / "a.png"
    options = ("--json", "--plot", "--plot-file", path)
    done = run("forecast", "alpha", "1,2", *options, "--address", service.address)
    assert len(done.objects) == 1
    assert "80 % interval" in done.err
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plot_file_svg(run: RunCommand, service: FakeService, tmp_path: Path) -> None:
    """An SVG file is well-formed and says what it shows."""
    path = tmp_path / "a.svg"
    levels = "0.025,0.1,0.9,0.975,0.7"
    done = run(
        "forecast", "alpha", "1,2", "--plot-file", path, "--quantiles", levels, "--address", service.address
    )
    assert done.code == 0
    text = path.read_text()
    ET.fromstring(text)  # noqa: S314 - it is our own.
    for words in ("95 % interval", "80 % interval", "quantile 0.7", "forecast", "history"):
        assert f"<!-- {words} -->" in text


def test_plot_file_that_cannot_be_written(run: RunCommand, service: FakeService, tmp_path: Path) -> None:
    """A picture that has no folder to go to ends the command in a sentence."""
    done = run(
        "forecast", "alpha", "1", "--plot-file", tmp_path / "no" / "a.png", "--address", service.address
    )
    assert done.code == 1
    assert "cannot be written: No such file or directory." in done.err


@pytest.mark.parametrize(("library", "option"), [("matplotlib", "--plot-file=a.png"), ("plotext", "--plot")])
def test_plot_without_its_library(
    run: RunCommand, service: FakeService, monkeypatch: pytest.MonkeyPatch, library: str, option: str
) -> None:
    """Where the extra is not installed, the sentence says how to install it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    done = run("forecast", "alpha", "1", option, "--address", service.address)
    assert done.code == 1
    assert done.err.endswith(f"Error: A picture needs {library}: pip install 'forecast-grpc[plot]'.\n")


def test_an_address_with_a_scheme(run: RunCommand) -> None:
    """A URL is refused with the form that an address has."""
    done = run("forecast", "alpha", "1,2,3", "--address", "http://127.0.0.1:9000")
    assert done.code == 2
    assert done.err == "Error: An address is HOST:PORT, not http://127.0.0.1:9000.\n"
