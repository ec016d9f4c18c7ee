"""Tests the packages with a binary that Cargo has built: python3 packaging/tests target/release/forwardcache

Needs the Debian packages that tests/run installs. Everything is written below a temporary directory.
"""

import pathlib
import tempfile
import time

import containers
import debian
import shells


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        # The user of the service reads its configuration here.
        folder.chmod(0o755)

        def check(name, function, *arguments):
            began = time.monotonic()
            own = folder / name
            own.mkdir()
            result = function(own, *arguments)
            print(f"packages: {name} ({time.monotonic() - began:.1f} s)", flush=True)
            return result

        check("completions", shells.check_completions)
        check("man", shells.check_man_pages)
        check("debian", debian.check_debian_package)
        image = check("dockerfile", containers.check_dockerfile)
        check("compose", containers.check_compose, image)
        check("kubernetes", containers.check_kubernetes, image)


main()
