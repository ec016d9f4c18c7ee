"""The image, and the examples for Docker Compose and Kubernetes."""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import tomllib
import urllib.parse

import yaml

from support import (BINARY, PACKAGING, ROOT, TIMEOUT, Service, clean_environment, free_port, origin, proxied, request,
                     run)

TOKEN = "a-token-for-these-tests"
# The directory of the store in the image.
STORE = "/var/cache/forwardcache"
# Libraries of gcr.io/distroless/cc-debian12.
IMAGE_LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def instructions():
    """Returns the instructions of the Dockerfile, each with its arguments, and the stages that they belong to."""
    text = (PACKAGING / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found, stage = [], None
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            words = rest.split()
            stage = words[2] if words[1:2] == ["AS"] else "last"
        found.append((stage, name, " ".join(rest.split())))
    return found


def only(found, stage, name):
    values = [rest for at, instruction, rest in found if (at, instruction) == (stage, name)]
    assert len(values) == 1, (name, values)
    return values[0]


def image_command(found):
    """Returns the entry point and command of the image, its environment, and the command of its health check."""
    entry, default = (yaml.safe_load(only(found, "last", name)) for name in ("ENTRYPOINT", "CMD"))
    environment = dict(word.split("=", 1) for word in shlex.split(only(found, "last", "ENV")))
    health = yaml.safe_load(only(found, "last", "HEALTHCHECK").partition("CMD ")[2])
    return entry, default, environment, health


def check_dockerfile(folder):
    found = instructions()
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {name for _, name, _ in found} <= known
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    version = re.match(r"rust:([0-9.]+)-slim-bookworm AS build$", only(found, "build", "FROM"))
    as_numbers = lambda text: [int(part) for part in text.split(".")]
    assert as_numbers(version[1]) >= as_numbers(manifest["package"]["rust-version"])

    # The context has everything that Cargo and the sources read.
    ignored, *allowed = (PACKAGING / "Dockerfile.dockerignore").read_text().split()
    assert ignored == "*" and all(line.startswith("!") for line in allowed)
    context = folder / "context"
    context.mkdir()
    for name in (line[1:] for line in allowed):
        assert (ROOT / name).exists(), name
        (context / name).symlink_to(ROOT / name)
    for source in (ROOT / "src").rglob("*.rs"):
        # Macros that include a file have it as their only or second argument.
        for name in re.findall(r'!\((?:\w+, )?"([^"\n]+)"\)', source.read_text()):
            if (source.parent / name).is_file():
                assert (context / os.path.relpath(source.parent / name, ROOT)).exists(), f"{source}: {name}"
    words = shlex.split(only(found, "build", "RUN"))
    assert set(words[words.index("--features") + 1].split(",")) <= manifest["features"].keys()
    assert words[words.index("--profile") + 1] in manifest["profile"]
    # Reads the manifest as a build does, and compiles a small dependency.
    run("cargo", "check", "--locked", "--offline", "--quiet", "--package", "httpdate", "--manifest-path",
        context / "Cargo.toml", "--target-dir", folder / "target")

    # Runs the instruction with a cargo that only provides the binary.
    stubs, image = folder / "stubs", folder / "image"
    stubs.mkdir()
    script = only(found, "build", "RUN").replace("/image", str(image))
    script = re.sub(r"--mount=\S+ ", "", script)
    profile = words[words.index("--profile") + 1]
    (stubs / "cargo").write_text(f'#!/bin/sh\n[ "$1" = build ] && mkdir -p target/{profile} && cp {BINARY} target/{profile}/forwardcache\n')
    (stubs / "cargo").chmod(0o755)
    work = folder / "src"
    work.mkdir()
    run("sh", "-ec", script, cwd=work, env=clean_environment(PATH=f"{stubs}:{os.environ['PATH']}"))
    copied = {}
    for rest in (rest for stage, name, rest in found if (stage, name) == ("last", "COPY")):
        options = [word for word in rest.split() if word.startswith("--")]
        source, target = rest.split()[len(options):]
        assert "--from=build" in options and (folder / source.lstrip("/")).exists(), rest
        copied[target] = options
    entry, default, environment, health = image_command(found)
    assert entry[0] in copied and health[0] in copied and default == ["serve"]
    owner = only(found, "last", "USER")
    user, _, group = owner.partition(":")
    assert int(user) > 0 and int(group) > 0
    assert f"--chown={owner}" in copied[STORE]
    assert environment["FORWARDCACHE_LISTEN"].endswith(":" + only(found, "last", "EXPOSE"))
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "--dynamic", BINARY).stdout))
    assert needed <= IMAGE_LIBRARIES, needed
    return default, environment, health


def check_configuration(variables):
    checked = run(BINARY, "config", "check", env=clean_environment(**variables))
    assert checked.stdout == "the configuration is valid\n" and checked.stderr == "", checked


def check_pool(folder, image, peers, probes, files):
    """Runs peers as containers would: with these variables, but at other addresses and with a local origin.

    `files` are the paths in the container that the pool reads, with their content.
    """
    default, image_environment, health = image
    addresses, running, environments = {}, {}, {}
    for variables in peers:
        addresses[urllib.parse.urlsplit(variables["FORWARDCACHE_SELF_URL"]).netloc] = free_port()
    assert len(addresses) == len(peers) == 3

    def placed(text, place):
        for authority, port in addresses.items():
            text = text.replace(authority, f"127.0.0.1:{port}")
        return text.replace(STORE, f"{place}/store").replace("/etc/forwardcache", f"{place}/etc")

    with origin() as (base, paths), contextlib.ExitStack() as stack:
        for number, variables in enumerate(peers):
            place = folder / str(number)
            (place / "etc").mkdir(parents=True)
            for path, content in files.items():
                pathlib.Path(placed(path, place)).write_text(placed(content, place))
            in_place = {name: placed(text, place) for name, text in (image_environment | variables).items()}
            # As the container does, except for the addresses of its own and the origins.
            check_configuration(in_place)
            port = addresses[urllib.parse.urlsplit(variables["FORWARDCACHE_SELF_URL"]).netloc]
            in_place |= {"FORWARDCACHE_LISTEN": f"127.0.0.1:{port}", "FORWARDCACHE_ORIGINS": "any",
                         "FORWARDCACHE_ADMIN": f"127.0.0.1:{free_port()}", "FORWARDCACHE_DRAIN_TIME": "0"}
            service = stack.enter_context(Service(folder, [BINARY, *default], variables=in_place))
            running[port], environments[port] = service, in_place
        for service in running.values():
            service.wait_for("READY=1")
            assert "one of a pool of 3" in service.output(), service.output()
        credential = {"Proxy_Authorization": f"Bearer {TOKEN}"}
        for port in running:
            assert request(port, proxied(f"{base}/a"))[0] == 407
            assert request(port, f"/fetch/{base}/a", **credential)[0] == 200
            for path in probes:
                assert request(port, path, Host="10.0.0.1:3000")[0] == 200, path
        assert paths == ["/a"], "the pool is one cache"

        def health_of(port, code):
            command = [word.replace(":3000", f":{port}") for word in health]
            run(BINARY, *command[1:], code=code, env=clean_environment(**environments[port]))

        stopped, *others = running
        health_of(stopped, 0)
        running[stopped].process.kill()
        running[stopped].process.wait()
        health_of(stopped, 1)
        for port in others:
            assert request(port, f"/fetch/{base}/b", **credential)[0] == 200
            running[port].process.send_signal(signal.SIGTERM)
            assert running[port].process.wait(TIMEOUT) == 0, running[port].output()


def check_compose(folder, image):
    compose = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
    peers = []
    for name, service in compose["services"].items():
        build = service["build"]
        assert ((PACKAGING / build["context"]).resolve(), ROOT / build["dockerfile"]) == (ROOT, PACKAGING / "Dockerfile")
        volume, mounted = service["volumes"][0].split(":")
        assert volume in compose["volumes"] and service["environment"]["FORWARDCACHE_STORE"] == mounted == STORE
        address, _, inner = service["ports"][0].split(":")
        assert address == "127.0.0.1" and image[1]["FORWARDCACHE_LISTEN"].endswith(f":{inner}")
        variables = service["environment"]
        assert all(isinstance(value, str) for value in variables.values()), variables
        variables = {key: re.sub(r"\$\{FORWARDCACHE_TOKEN:\?[^}]*\}", TOKEN, value) for key, value in variables.items()}
        assert f"//{name}:" in variables["FORWARDCACHE_SELF_URL"]
        check_configuration(image[1] | variables)
        peers.append(variables)
    assert len({service["volumes"][0] for service in compose["services"].values()}) == len(peers)
    check_pool(folder, image, peers, [], {})


def check_kubernetes(folder, image):
    objects = {}
    for item in yaml.safe_load_all((PACKAGING / "kubernetes.yaml").read_text()):
        objects.setdefault((item["apiVersion"], item["kind"]), []).append(item)
    assert set(objects) == {("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "StatefulSet"), ("policy/v1", "PodDisruptionBudget")}
    configuration, = objects["v1", "ConfigMap"]
    pool, = objects["apps/v1", "StatefulSet"]
    budget, = objects["policy/v1", "PodDisruptionBudget"]
    spec, template = pool["spec"], pool["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    container, = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = {service["metadata"]["name"]: service["spec"] for service in objects["v1", "Service"]}
    for selector in [spec["selector"]["matchLabels"], budget["spec"]["selector"]["matchLabels"]] + \
            [service["selector"] for service in services.values()]:
        assert selector.items() <= labels.items(), selector
    assert all(port["targetPort"] in ports for service in services.values() for port in service["ports"])
    headless = services[spec["serviceName"]]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert probes["livenessProbe"]["path"] == "/healthz" and probes["readinessProbe"]["path"] == "/readyz"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert set(mounts) == volumes | claims
    assert pod["volumes"][0]["configMap"]["name"] == configuration["metadata"]["name"]
    assert container["args"] == image[0]
    assert image[1]["FORWARDCACHE_LISTEN"].endswith(f":{ports['http']}")
    files = {f"{mounts['peers']}/{name}": text for name, text in configuration["data"].items()}
    peers = []
    for number in range(spec["replicas"]):
        variables = {}
        for variable in container["env"]:
            assert variable["name"] not in variables
            if "value" in variable:
                # Earlier variables are replaced, as Kubernetes does.
                value = re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], variable["value"])
            elif "secretKeyRef" in variable["valueFrom"]:
                value = TOKEN
            else:
                assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
                value = f"{pool['metadata']['name']}-{number}"
            variables[variable["name"]] = value
        name = f"{pool['metadata']['name']}-{number}.{spec['serviceName']}:{ports['http']}"
        assert variables["FORWARDCACHE_SELF_URL"] == f"http://{name}"
        assert variables["FORWARDCACHE_PEERS_FILE"] in files
        assert mounts["store"] == STORE and variables["FORWARDCACHE_STORE"].startswith(f"{STORE}/")
        assert variables["FORWARDCACHE_ADMIN"].endswith(f":{ports['admin']}")
        assert int(variables["FORWARDCACHE_DRAIN_TIME"]) + 10 < pod["terminationGracePeriodSeconds"]
        peers.append(variables)
    check_pool(folder, image, peers, [probe["path"] for probe in probes.values()], files)
