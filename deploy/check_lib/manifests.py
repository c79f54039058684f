"""Looks through Kubernetes manifests. Run by a Python that has the schemas: one JSON document in, one out; findings on
stdout and exit 1.

`{"what": "check", "versions": […], "texts": {name: yaml}}` gives the number of objects by name; `"what":
"configurations"` gives the files in their ConfigMaps.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import yaml

# Kinds of others: an operator's, without a schema here. What is ours in them is looked at as a pod.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "K8ssandraCluster"}
# Containers that are not ours to confine.
THEIRS = {"cassandra"}


def main() -> int:
    asked = json.load(sys.stdin)
    objects = {name: [doc for doc in yaml.safe_load_all(text) if doc] for name, text in asked["texts"].items()}
    if asked["what"] == "configurations":
        maps = [doc for docs in objects.values() for doc in docs if doc["kind"] == "ConfigMap"]
        print(
            json.dumps({f"{doc['metadata']['name']}/{key}": text for doc in maps for key, text in doc["data"].items()})
        )
        return 0
    findings = [f"{name}: {finding}" for name, docs in objects.items() for finding in look(docs, asked["versions"])]
    everything = [doc for docs in objects.values() for doc in docs]
    findings += [f"{name}: {finding}" for name, docs in objects.items() for finding in monitored(docs, everything)]
    print("\n".join(findings) if findings else json.dumps({name: len(docs) for name, docs in objects.items()}))
    return 1 if findings else 0


def look(docs: list[dict[str, Any]], versions: list[str]) -> Iterator[str]:
    """Everything wrong with one file's objects."""
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in docs]
    for twice in {name for name in names if names.count(name) > 1}:
        yield f"{twice[0]} {twice[1]} is there twice"
    for doc in docs:
        where = f"{doc['kind']} {doc['metadata']['name']}"
        for finding in (*by_schema(doc, versions), *confined(doc), *references(doc, docs)):
            yield f"{where}: {finding}"


def by_schema(doc: dict[str, Any], versions: list[str]) -> Iterator[str]:
    looked = doc
    if doc["kind"] == "K8ssandraCluster":
        looked = as_pod(doc)
    elif doc["kind"] in FOREIGN:
        return
    for version in versions:
        try:
            kubernetes_validate.validate(looked, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            path = "/".join(map(str, getattr(error, "absolute_path", [])))
            yield f"Kubernetes {version}: {path}: {error.message}"


def as_pod(doc: dict[str, Any]) -> dict[str, Any]:
    """What a K8ssandraCluster adds to its pods, as a pod; the container that is only named is the operator's own."""
    center = doc["spec"]["cassandra"]["datacenters"][0]
    ours = [container for container in center["containers"] if "image" in container]
    spec = {
        "containers": ours,
        "volumes": [*center["extraVolumes"]["volumes"], {"name": "server-data", "emptyDir": {}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-" + doc["metadata"]["name"]}, "spec": spec}


def pod_of(doc: dict[str, Any]) -> dict[str, Any] | None:
    if doc["kind"] in ("Deployment", "StatefulSet"):
        return doc["spec"]["template"]["spec"]
    return as_pod(doc)["spec"] if doc["kind"] == "K8ssandraCluster" else None


def confined(doc: dict[str, Any]) -> Iterator[str]:
    """Ours run without root, rights, a writable root, and within limits; and something looks whether they live."""
    pod = pod_of(doc)
    if pod is None:
        return
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        if container["name"] in THEIRS:
            continue
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        rules = {
            "runs as another than root": context.get("runAsNonRoot") is True,
            "has a root that is read-only": context.get("readOnlyRootFilesystem") is True,
            "gains no privileges": context.get("allowPrivilegeEscalation") is False,
            "has no capabilities": context.get("capabilities") == {"drop": ["ALL"]},
            "has a seccomp profile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "has requests and a limit of memory": {"requests", "limits"} <= set(container.get("resources", {})),
            "is looked after": container in pod.get("initContainers", []) or "livenessProbe" in container,
        }
        yield from (f"not so: container {container['name']} {rule}" for rule, holds in rules.items() if not holds)


def references(doc: dict[str, Any], docs: list[dict[str, Any]]) -> Iterator[str]:
    """Mounts have volumes, selectors have pods, monitors and policies name ports that are there."""
    pod = pod_of(doc)
    if pod is not None:
        claims = [claim["metadata"]["name"] for claim in doc["spec"].get("volumeClaimTemplates", [])]
        there = {volume["name"] for volume in pod.get("volumes", [])} | set(claims)
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in there:
                    yield f"container {container['name']} mounts {mount['name']}, which is no volume"
    pods = [other["spec"]["template"] for other in docs if other["kind"] in ("Deployment", "StatefulSet")]
    selector = doc["spec"].get("selector") if doc["kind"] == "Service" else None
    if doc["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
        selector = doc["spec"]["selector"]["matchLabels"]
    if doc["kind"] == "NetworkPolicy":
        selector = doc["spec"]["podSelector"]["matchLabels"]
    if selector and not any(selector.items() <= template["metadata"]["labels"].items() for template in pods):
        yield f"its selector {selector} fits no pod"
    if doc["kind"] == "ServiceMonitor":
        wanted = doc["spec"]["selector"]["matchLabels"]
        services = [
            other
            for other in docs
            if other["kind"] == "Service" and wanted.items() <= other["metadata"]["labels"].items()
        ]
        ports = {port["name"] for service in services for port in service["spec"]["ports"]}
        yield from (
            f"no service has the port {end['port']}" for end in doc["spec"]["endpoints"] if end["port"] not in ports
        )
    if doc["kind"] == "PrometheusRule":
        for group in doc["spec"]["groups"]:
            bad = [rule for rule in group["rules"] if "expr" not in rule or not ({"alert", "record"} & set(rule))]
            yield from (f"group {group['name']} has a rule without a name or an expression: {rule}" for rule in bad)


def monitored(docs: list[dict[str, Any]], everything: list[dict[str, Any]]) -> Iterator[str]:
    """A PodMonitor names a port that every worker's container has, by the number that workers listen on by default."""
    workers = [
        container
        for pod in map(pod_of, everything)
        for container in (pod or {}).get("containers", [])
        if container["name"] == "ringvault-worker"
    ]
    for doc in docs:
        if doc["kind"] == "PodMonitor":
            for end in doc["spec"]["podMetricsEndpoints"]:
                if not workers or any(end["port"] not in ports_of(worker) for worker in workers):
                    yield f"PodMonitor {doc['metadata']['name']}: not every worker has the port {end['port']}"
        if doc["kind"] == "ConfigMap" and doc["metadata"]["name"] == "ringvault-worker-orders-prod":
            for worker in workers:
                for number in ports_of(worker).values():
                    if f'listen = "0.0.0.0:{number}"' not in doc["data"]["worker.toml"]:
                        yield f"ConfigMap {doc['metadata']['name']}: nothing listens on the sidecar's port {number}"


def ports_of(container: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


if __name__ == "__main__":
    sys.exit(main())
