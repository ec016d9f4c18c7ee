"""The Debian package: its files, its service, its upgrade and its removal."""

import os
import re
import shlex
import shutil
import signal
import stat
import tomllib

from support import (BINARY, PACKAGING, ROOT, TIMEOUT, Service, clean_environment, free_port, origin, proxied, request, run,
                     wait_until)


def dpkg(root, *arguments):
    command = [] if os.geteuid() == 0 else ["fakeroot"]
    # The maintainer scripts run outside of the root, with DPKG_ROOT; the dependencies are checked by apt-get.
    return run(*command, "dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends", "--force-not-root",
               "--force-unsafe-io", "--path-include=*", *arguments)


def unit_settings(path):
    """Returns the values of each setting of a unit."""
    settings = {}
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def find(root, name):
    found = [path for path in root.rglob(name) if path.parent.name == "system" and path.parent.parent.name == "systemd"]
    assert len(found) == 1, found
    return found[0]


def check_installed(root):
    modes = {
        "usr/bin/forwardcache": 0o755,
        "etc/forwardcache": 0o755,
        "etc/forwardcache/forwardcache.toml": 0o644,
        "etc/logrotate.d/forwardcache": 0o644,
        "usr/lib/sysusers.d/forwardcache.conf": 0o644,
        "usr/share/bash-completion/completions/forwardcache": 0o644,
        "usr/share/fish/vendor_completions.d/forwardcache.fish": 0o644,
        "usr/share/zsh/vendor-completions/_forwardcache": 0o644,
        "usr/share/man/man1/forwardcache-serve.1.gz": 0o644,
        "usr/share/doc/forwardcache/docs/packages.md": 0o644,
        "usr/share/doc/forwardcache/copyright": 0o644,
    }
    for name, mode in modes.items():
        status = (root / name).lstat()
        assert stat.S_IMODE(status.st_mode) == mode and status.st_uid == os.geteuid(), f"{name}: {status}"
    users = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    user = next(user for user in users if user[0] == "forwardcache")
    assert user[6].endswith("nologin") and 0 < int(user[2]) < 1000, user
    assert (root / "etc/systemd/system/multi-user.target.wants/forwardcache.service").is_symlink()
    assert not (root / "etc/systemd/system/sockets.target.wants/forwardcache.socket").is_symlink()
    return int(user[2])


def check_units(root, folder):
    service, listening = find(root, "forwardcache.service"), find(root, "forwardcache.socket")
    # The units of the system are needed too, so the command is the only thing that gets another path.
    text = service.read_text()
    assert text.count("=/usr/bin/forwardcache ") == 2
    (folder / service.name).write_text(text.replace("=/usr/bin/forwardcache ", f"={root}/usr/bin/forwardcache "))
    shutil.copy(listening, folder)
    verified = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / service.name,
                   folder / listening.name, env=clean_environment(SYSTEMD_UNIT_PATH=f"{folder}:"))
    assert verified.stderr == "", verified.stderr
    run("systemd-analyze", "security", "--offline=true", "--threshold=16", folder / service.name)
    configuration = tomllib.loads((root / "etc/forwardcache/forwardcache.toml").read_text())
    assert unit_settings(listening)["ListenStream"] == [configuration["listen"]]
    settings = unit_settings(service)
    assert settings["Type"] == ["notify"] and settings["User"] == ["forwardcache"], settings
    return settings


def check_example_options(root, folder):
    """Each option that the configuration shows in a comment exists and has a valid value."""
    lines = (root / "etc/forwardcache/forwardcache.toml").read_text().splitlines()
    # The comments have another address.
    lines = [re.sub("^#(?=[a-z-]+ = )", "", line) for line in lines if not line.startswith("listen = ")]
    everything = folder / "all.toml"
    everything.write_text("\n".join(lines))
    shown = run(BINARY, "config", "show", "--config", everything, env=clean_environment()).stdout
    assert shown.count("\n") == sum(" = " in line and not line.startswith("#") for line in lines) > 12, shown
    for example in re.findall(r"```toml\n(.*?)```", (ROOT / "docs/packages.md").read_text(), re.DOTALL):
        everything.write_text(example)
        run(BINARY, "config", "show", "--config", everything, env=clean_environment())


def check_service(root, folder, settings, user):
    """Runs the service with the command lines of its unit, as its user, in directories with its modes."""
    identity = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    for kind, place in (("Cache", "cache"), ("State", "lib"), ("Logs", "log")):
        directory = folder / "var" / place / settings[f"{kind}Directory"][0]
        directory.mkdir(parents=True)
        directory.chmod(int(settings[f"{kind}DirectoryMode"][0], 8))
        if identity:
            os.chown(directory, user, user)
    port, admin = free_port(), free_port()
    text = (root / "etc/forwardcache/forwardcache.toml").read_text()
    for old, new in (("#access-log = ", "access-log = "), ('"/var/', f'"{folder}/var/'),
                     ('"127.0.0.1:3000"', f'"127.0.0.1:{port}"'), ('"127.0.0.1:3001"', f'"127.0.0.1:{admin}"')):
        assert old in text, old
        text = text.replace(old, new)
    configuration = folder / "forwardcache.toml"
    configuration.write_text(text)

    def command(line):
        program, *words = shlex.split(line.replace("/etc/forwardcache/forwardcache.toml", str(configuration)))
        return [f"{root}{program}" if program == "/usr/bin/forwardcache" else program, *words]

    def start(*before):
        return Service(folder, [*before, *command(settings["ExecStart"][0])], int(settings["LimitNOFILE"][0]),
                       umask=int(settings["UMask"][0], 8), **identity)

    def reload(service, code=0):
        check, kill = settings["ExecReload"]
        run(*command(check), code=code, env=clean_environment(), **identity)
        if code == 0:
            run(*(word.replace("$MAINPID", str(service.process.pid)) for word in command(kill)))

    with origin() as (base, paths):
        with start() as service:
            service.wait_for("READY=1")
            assert request(port, "/readyz")[0] == request(admin, "/metrics")[0] == 200
            # The default serves the public internet only.
            assert request(port, proxied(f"{base}/a"))[0] == 403 and paths == []
            valid = text.replace('origins = "public"', 'origins = "any"')
            configuration.write_text(valid)
            reload(service)
            wait_until(lambda: request(port, proxied(f"{base}/a"))[0] == 200, "the reload changes nothing")
            configuration.write_text(valid + "no-such-option = 1\n")
            reload(service, code=int(settings["RestartPreventExitStatus"][0]))
            configuration.write_text(valid)
            check_logrotate(root, folder, port, service.process.pid)
            service.process.send_signal(signal.SIGTERM)
            service.wait_for("STOPPING=1")
            assert service.process.wait(TIMEOUT) == 0, service.output()
        with start() as service:
            service.wait_for("READY=1")
            assert request(port, proxied(f"{base}/a"))[1]["X-From-Cache"] == "1", "the store is empty"
        # With the socket unit, the service manager listens. It has the name that systemd gives it.
        with start("systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=forwardcache.socket") as service:
            wait_until(lambda: "Listening on" in service.output(), "no socket")
            assert request(port, proxied(f"{base}/a"))[1]["X-From-Cache"] == "1"
        assert paths == ["/a"], paths


def check_logrotate(root, folder, port, process):
    """Rotates the log of the process, with a systemctl that sends the signal."""
    log = folder / "var/log/forwardcache/access.log"
    wait_until(lambda: log.exists() and log.read_text(), "no access log")
    stubs = folder / "stubs"
    stubs.mkdir()
    stub = stubs / "systemctl"
    stub.write_text('#!/bin/sh\n[ "$*" = "kill --kill-who=main --signal=SIGUSR1 forwardcache.service" ] '
                    f"&& kill -USR1 {process}\n")
    stub.chmod(0o755)
    text = (root / "etc/logrotate.d/forwardcache").read_text()
    # Only the root has the user, and systemd does not run here.
    for old, new in (("\tsu forwardcache forwardcache\n", ""), ("/var/log/", f"{folder}/var/log/"),
                     ("/run/systemd/system", str(stubs))):
        assert old in text, old
        text = text.replace(old, new)
    rules = folder / "logrotate.conf"
    rules.write_text(text)
    rules.chmod(0o644)
    run("logrotate", "--force", "--state", folder / "logrotate.state", rules,
        env=clean_environment(PATH=f"{stubs}:{os.environ['PATH']}"))
    rotated = log.with_name("access.log.1")
    assert rotated.exists()
    wait_until(log.exists, "SIGUSR1 does not reopen the log")
    request(port, proxied("http://127.0.0.1:1/after-rotation"))
    wait_until(lambda: "after-rotation" in log.read_text(), "the log continues in the previous file")
    assert "after-rotation" not in rotated.read_text()


def next_version(package, folder):
    """Returns a later version of the package, with a change in a conffile."""
    tree = folder / "next"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+next", control.read_text(), flags=re.MULTILINE))
    for name in ("etc/logrotate.d/forwardcache", "usr/share/doc/forwardcache/README.md"):
        path = tree / name
        path.write_text("# The next version\n" + path.read_text())
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "next.deb")
    return folder / "next.deb"


def check_upgrade_and_removal(root, package, folder):
    configuration = root / "etc/forwardcache/forwardcache.toml"
    changed = configuration.read_text() + "# changed by the operator\n"
    configuration.write_text(changed)
    peers = configuration.with_name("peers.txt")
    peers.write_text("http://10.0.0.1:3000\n")
    state = [root / f"var/{place}/forwardcache" for place in ("cache", "lib", "log")]
    for directory in state:
        directory.mkdir(parents=True)
        (directory / "file").touch()
    dpkg(root, "--install", next_version(package, folder))
    assert "The next version" in (root / "etc/logrotate.d/forwardcache").read_text()
    assert "The next version" in (root / "usr/share/doc/forwardcache/README.md").read_text()
    assert configuration.read_text() == changed
    dpkg(root, "--remove", "forwardcache")
    assert not (root / "usr/bin/forwardcache").exists()
    assert configuration.read_text() == changed and all((directory / "file").exists() for directory in state)
    dpkg(root, "--purge", "forwardcache")
    assert not configuration.exists() and peers.exists()
    assert not any(directory.exists() for directory in state)
    assert not list(root.rglob("forwardcache.service"))


def check_debian_package(folder):
    run(PACKAGING / "build", BINARY, folder)
    package, = folder.glob("forwardcache_*.deb")
    run("apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=true", "install", package)
    root = folder / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    for name in ("updates", "info", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir()
    (root / "var/lib/dpkg/status").touch()
    (root / "etc").mkdir()
    dpkg(root, "--install", package)
    user = check_installed(root)
    units = folder / "units"
    units.mkdir()
    settings = check_units(root, units)
    check_example_options(root, folder)
    check_service(root, folder, settings, user)
    check_upgrade_and_removal(root, package, folder)
