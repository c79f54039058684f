"""The chart and the plain manifests: rendered by Helm, held against Kubernetes' own schemas, and looked through for
what the schemas do not say: containers without root, references that lead nowhere, monitors that find no port."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lab_lib import install_apt, install_go, paths, proc
from lab_lib.errors import LabError
from lab_lib.progress import say, step

CHART = paths.REPOSITORY / "deploy" / "chart"
PLAIN = paths.REPOSITORY / "deploy" / "kubernetes"
RENDERED = PLAIN / "ringvault.yaml"
ALERTS = paths.REPOSITORY / "deploy" / "prometheus" / "alerts.yml"
# The oldest that the chart admits, and the newest with schemas.
KUBERNETES = ["1.29", "1.37"]
PACKAGES = ["kubernetes-validate==1.37.0", "PyYAML==6.0.4"]

_HEAD = """# Ringvault's schedulers and the workers' configuration as plain manifests: the chart (deploy/chart) with
# `clusters: [{name: orders-prod}]`. Written by `deploy/check --chart --update`; change the chart instead.
# They need the Secret ringvault-scheduler: docs/installing.md.
"""
_PLAIN_VALUES: dict[str, Any] = {"clusters": [{"name": "orders-prod", "capabilities": ["vault.delete"]}]}
# Everything at once.
_FULL_VALUES: dict[str, Any] = {
    "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
    "vault": {
        "url": "s3://b/p",
        "region": "eu-west-1",
        "endpoint": "http://store:7070",
        "pathStyle": True,
        "accessKeys": True,
        "encrypted": True,
    },
    "scheduler": {
        "replicas": 3,
        "extraConfig": '[store_price]\nper_gib_month = 0.023\ncurrency = "USD"\n',
        "logFilter": "debug",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
    },
    "oidc": {
        "issuer": "https://login.example/realms/ops",
        "baseUrl": "https://ringvault.example",
        "name": "Example",
        "groups": {"/sre": "operator"},
        "users": {"anna@example.com": "admin"},
        "settings": 'session = "8h"\n',
    },
    "clusters": [{"name": "a", "username": "ringvault", "extraConfig": "slots = 8\n"}, {"name": "b"}],
    "networkPolicy": {
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "workerMetrics": {"port": 9999},
    "podMonitor": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "namespaces": ["cassandra"],
        "selector": {"app": "cassandra"},
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
}
_ONE_RULE = """groups:
- name: ringvault
  rules:
  - alert: One
    expr: up == 0
    annotations: {summary: 'for {{ $labels.cluster }}'}
"""
# What has to be refused, each with a word of why.
_REFUSED = [
    ({"vault": {"url": "ftp://x"}}, "vault"),
    ({"schedulers": 3}, "schedulers"),
    ({"clusters": [{"name": "Not A Name"}]}, "name"),
    ({"oidc": {"issuer": "https://login.example"}}, "baseUrl"),
    ({"oidc": {"groups": {"sre": "root"}}}, "sre"),
    ({"podMonitor": {"enabled": True}, "workerMetrics": {"enabled": False}}, "workerMetrics"),
]


def check(update: bool) -> dict[str, Any]:
    """Everything about the chart; about three seconds once Helm and the schemas are there."""
    tools = _Tools()
    with step("chart: lint"):
        tools.helm("lint", "--strict", "--kube-version", f"{KUBERNETES[-1]}.0", "--quiet", str(CHART))
    with step("chart: render"):
        plain = tools.render(_PLAIN_VALUES)
        rules = ALERTS.read_text() if ALERTS.exists() else _ONE_RULE
        full = tools.render({**_FULL_VALUES, "prometheusRule": {**_FULL_VALUES["prometheusRule"], "rules": rules}})
        for values, word in _REFUSED:
            tools.refuses(values, word)
        tools.refuses(
            {"prometheusRule": {"enabled": True}}, "alerts.yml", unless=(CHART / "files" / "alerts.yml").exists()
        )
    if update:
        RENDERED.write_text(_HEAD + plain)
        say(f"wrote {RENDERED}")
    elif not RENDERED.exists() or RENDERED.read_text() != _HEAD + plain:
        raise LabError(
            f"{RENDERED.name} in deploy/kubernetes is not what the chart renders. Next: deploy/check --chart --update"
        )
    texts = {"chart, everything": full, **{path.name: path.read_text() for path in sorted(PLAIN.glob("*.yaml"))}}
    with step("manifests: schemas and references"):
        counts = tools.look_through(texts)
    return {"manifests": counts, "kubernetes": KUBERNETES}


def accepted(programs: Path) -> None:
    """The programs read the configuration files of the rendered ConfigMaps: they get as far as that nobody runs."""
    tools = _Tools()
    rules = {**_FULL_VALUES["prometheusRule"], "rules": _ONE_RULE}
    with step("chart: the programs read its configuration"), tempfile.TemporaryDirectory() as folder:
        for values in (_PLAIN_VALUES, {**_FULL_VALUES, "prometheusRule": rules}):
            files = tools.look_through({"chart": tools.render(values)}, what="configurations")
            for name, text in files.items():
                program = "ringvault-scheduler" if name.endswith("scheduler.toml") else "ringvault-worker"
                file = Path(folder) / name.replace("/", "-")
                file.write_text(text)
                command = [str(programs / program), "--config", str(file), "--probe", "live"]
                identity = {"RINGVAULT_SCHEDULER_ID": "pod-1"}
                done = subprocess.run(command, env={**os.environ, **identity}, capture_output=True, text=True)
                if not re.match("no (scheduler answers|worker runs)", done.stderr):
                    raise LabError(f"{program} does not take {name} of the chart: {done.stderr}")


class _Tools:
    """Helm, and a Python with the schemas."""

    def __init__(self) -> None:
        if install_go.needs_go("helm"):
            install_apt.ensure(["golang-go"])
        self._helm = install_go.ensure("helm")
        self._python = _schemas()

    def helm(self, *arguments: str, **options: Any) -> str:
        environment = {
            **os.environ,
            "HELM_CACHE_HOME": str(paths.CACHE / "helm"),
            "HELM_CONFIG_HOME": str(paths.CACHE / "helm"),
        }
        return proc.run([str(self._helm), *arguments], f"helm {arguments[0]}", env=environment, **options)

    def render(self, values: dict[str, Any]) -> str:
        # JSON is YAML, so nothing here needs a YAML writer.
        file = paths.make(paths.CACHE / "helm") / "values.json"
        file.write_text(json.dumps(values))
        options = ["--kube-version", f"{KUBERNETES[-1]}.0", "--values", str(file)]
        return self.helm("template", "ringvault", str(CHART), *options)

    def refuses(self, values: dict[str, Any], word: str, unless: bool = False) -> None:
        if unless:
            return
        try:
            self.render(values)
        except LabError as error:
            if word in str(error):
                return
            raise
        raise LabError(f"the chart takes {values}")

    def look_through(self, texts: dict[str, str], what: str = "check") -> dict[str, Any]:
        script = Path(__file__).with_name("manifests.py")
        asked = {"what": what, "versions": KUBERNETES, "texts": texts}
        done = subprocess.run(
            [str(self._python), str(script)], input=json.dumps(asked), stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise LabError("the manifests are not as they must be:\n" + done.stdout)
        return json.loads(done.stdout)


def _schemas() -> Path:
    """A Python environment with the schemas of Kubernetes, made once."""
    folder = paths.CACHE / f"schemas-{sys.version_info[0]}.{sys.version_info[1]}"
    marker = folder / "ringvault-packages"
    if not marker.exists() or marker.read_text().split() != PACKAGES:
        install_apt.ensure(install_apt.python_packages())
        with step("fetching the schemas of Kubernetes (" + ", ".join(PACKAGES) + ")"):
            proc.run([sys.executable, "-m", "venv", "--clear", str(folder)], "making a Python environment")
            python = str(folder / "bin" / "python")
            proc.run(
                [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES],
                "installing Python packages",
            )
            marker.write_text("\n".join(PACKAGES) + "\n")
    return folder / "bin" / "python"
