"""Completions and man pages."""

import re

from support import BINARY, clean_environment, run


def check_completions(folder):
    scripts = {}
    for shell, name in (("bash", "forwardcache"), ("zsh", "_forwardcache"), ("fish", "forwardcache.fish")):
        (folder / shell).mkdir(parents=True)
        scripts[shell] = folder / shell / name
        scripts[shell].write_text(run(BINARY, "completions", shell).stdout)
    bash = f"""source {scripts["bash"]}; complete -p forwardcache; COMP_WORDS=(forwardcache serve --memo); COMP_CWORD=2
        _forwardcache forwardcache --memo serve; echo "${{COMPREPLY[@]}}" """
    printed = run("bash", "--norc", "-uc", bash).stdout.splitlines()
    assert "-F _forwardcache" in printed[0] and printed[1:] == ["--memory"], printed
    fish = f"source {scripts['fish']}; complete -C 'forwardcache serve --memo'"
    assert run("fish", "--no-config", "-c", fish).stdout.startswith("--memory\t")
    zsh = f"fpath=({scripts['zsh'].parent} $fpath); autoload -U compinit; compinit -u -D; " \
        "print $_comps[forwardcache]; autoload +X _forwardcache && print loaded"
    assert run("zsh", "-fc", zsh).stdout.split() == ["_forwardcache", "loaded"]


def check_man_pages(folder):
    run(BINARY, "man", folder)
    pages = {path.name for path in folder.iterdir()}
    commands = re.findall(r"^  ([a-z]+) ", run(BINARY, "--help").stdout, re.MULTILINE)
    commands.remove("help")
    assert len(commands) > 10
    expected = {f"forwardcache-{command}.1" for command in commands} | {"forwardcache.1", "forwardcache-store-ls.1"}
    assert expected <= pages, expected - pages
    for page in folder.iterdir():
        shown = run("man", "--warnings", "-l", page, env=clean_environment(LC_ALL="C.UTF-8", MANWIDTH="80"))
        assert "NAME" in shown.stdout and shown.stderr == "", f"{page}: {shown.stderr}"
