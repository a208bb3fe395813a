"""The README of each client: its commands work as they stand, its example is short and serves for Anyscale too."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.tls_front import TOKEN, tls_front
from tests.clients.toolchains import LANGUAGES, Language, Workshop, require, shell
from tests.documents import Command, blocks, commands, matches
from tests.service import RunningService

EXAMPLES = {
    "Python": "example.py",
    "Go": "cmd/example/main.go",
    "TypeScript": "src/example.ts",
    "Java": "src/main/java/forecastgrpc/Example.java",
}
"""What each README says is to be copied."""

each_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


def shown(language: Language) -> list[Command]:
    """The commands whose output a README shows."""
    return [command for command in commands(language.readme) if command.output is not None]


@each_language
def test_an_example_is_short(language: Language) -> None:
    """At most 60 lines, and the README leads to it."""
    text = (language.readme.parent / EXAMPLES[language.name]).read_text("utf-8")
    assert len(text.splitlines()) <= 60
    assert f"({EXAMPLES[language.name]})" in language.readme.read_text("utf-8")


@each_language
def test_a_readme_builds_and_shows(language: Language) -> None:
    """Each begins with the commands that build the client, and shows what the example prints."""
    first = next(iter(blocks(language.readme)))
    assert first.language == "sh"
    assert first.text.startswith(f"cd clients/{language.folder}\n")
    assert shown(language)


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
@each_language
def test_commands_do_what_a_readme_shows(
    language: Language, workshop: Workshop, service: RunningService
) -> None:
    """From a copy of what a clone holds, with the language's ordinary toolchain."""
    require(language)
    folder = workshop.built(language)
    for command in shown(language):
        done = shell(command.text.replace("127.0.0.1:9000", service.grpc_address), folder)
        assert done.returncode == 0, done.stderr
        assert matches(command.output or (), tuple(done.stdout.splitlines())), done.stdout


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
@each_language
def test_examples_call_an_anyscale_service(
    language: Language, workshop: Workshop, service: RunningService, tmp_path: Path
) -> None:
    """With ANYSCALE_TOKEN each call goes over TLS with token and application, and gets the same answers.

    Each is refused at its first attempt, and tried again: so does the retry policy of each language.
    """
    require(language)
    folder = workshop.built(language)
    (command,) = shown(language)
    wanted = tuple(line for line in command.output or () if not line.startswith("at once"))
    with tls_front(service.grpc_address, tmp_path, refuses_first=True) as (front, endpoint, trusted):
        script = command.text.replace("127.0.0.1:9000", endpoint)
        done = shell(
            script,
            folder,
            ANYSCALE_TOKEN=TOKEN,
            ANYSCALE_APPLICATION="default",
            **trusting(language, trusted),
        )
    assert done.returncode == 0, done.stderr
    assert matches(wanted, tuple(done.stdout.splitlines())), done.stdout
    again = [seen for seen in front.seen if seen.get("grpc-previous-rpc-attempts") == "1"]
    assert (len(front.seen), len(again)) == (8, 4)
    for seen in front.seen:
        assert (seen["authorization"], seen["application"]) == (f"Bearer {TOKEN}", "default")


def trusting(language: Language, certificate: Path) -> dict[str, str]:
    """The environment that has a language's gRPC trust a certificate."""
    if language.name != "Java":
        name = {
            "Python": "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "Go": "SSL_CERT_FILE",
            "TypeScript": "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        }
        return {name[language.name]: str(certificate)}
    store = certificate.with_suffix(".p12")
    options = [
        "-importcert",
        "-noprompt",
        "-alias",
        "front",
        "-storetype",
        "PKCS12",
        "-storepass",
        "changeit",
    ]
    keytool = str(shutil.which("keytool"))
    subprocess.run(
        [keytool, *options, "-file", certificate, "-keystore", store], check=True, capture_output=True
    )
    return {
        "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
    }
