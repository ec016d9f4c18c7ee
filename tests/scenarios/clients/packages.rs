//! Package managers: pip, npm, cargo, apt.

use std::fs;
use std::path::{Path, PathBuf};

use super::program::{check_through_pool, output, program};
use super::site::{Files, OTHER_HOST};
use crate::support::origin::Origin;

/// Returns the options of a gateway that mirrors an origin and its other host under this name.
fn mirror(name: &str, origin: &Origin) -> String {
    let port = origin.address().port();
    format!("{name}={} rewrite=localhost:{port} ignore-client-cache-control", origin.url("/"))
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn sha256(home: &Path, file: &Path) -> String {
    output(program("sha256sum", home).arg(file)).split(' ').next().unwrap().to_owned()
}

/// Packs a folder below `home`.
fn tar(home: &Path, file: &str, folder: &str) -> Vec<u8> {
    output(program("tar", home).args(["-czf", file, folder]));
    fs::read(home.join(file)).unwrap()
}

#[test]
fn pip_installs_from_a_mirrored_index_with_files_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
import zipfile
with zipfile.ZipFile('demo.whl', 'w') as wheel:
    info = 'demo-1.0.dist-info/'
    wheel.writestr('demo.py', 'answer = 42')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', f'demo.py,,\\n{info}METADATA,,\\n{info}WHEEL,,\\n{info}RECORD,,\\n')
";
    output(program("python3", folder.path()).args(["-c", script]));
    let wheel = folder.path().join("demo.whl");
    let name = "demo-1.0-py3-none-any.whl";
    let digest = sha256(folder.path(), &wheel);
    let page = format!("<!DOCTYPE html><a href=\"{OTHER_HOST}/files/{name}#sha256={digest}\">{name}</a>");
    let origin = Files::default()
        .add("/simple/demo/", "text/html", page)
        .add(&format!("/files/{name}"), "application/octet-stream", fs::read(wheel).unwrap())
        .serve();
    let mirror = mirror("pypi", &origin);
    check_through_pool(origin, &["--mirror", &mirror], |home, gateway| {
        let index = format!("{gateway}/mirror/pypi/simple/");
        let options =
            ["-m", "pip", "--isolated", "--disable-pip-version-check", "install", "-q", "--no-cache-dir"];
        let install = ["--retries", "0", "--target", "packages", "--index-url", &index, "demo"];
        output(program("python3", home).args(options).args(install));
        assert_eq!(fs::read_to_string(home.join("packages/demo.py")).unwrap(), "answer = 42");
    });
}

#[test]
fn npm_installs_from_a_mirrored_registry_with_files_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = r#"{"name":"demo","version":"1.0.0","main":"index.js"}"#;
    write(folder.path().join("package/package.json"), manifest);
    write(folder.path().join("package/index.js"), "module.exports = 42\n");
    let package = tar(folder.path(), "demo.tgz", "package");
    let index = format!(
        r#"{{"name":"demo","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":{{"name":"demo","version":"1.0.0",
        "dist":{{"tarball":"{OTHER_HOST}/files/demo-1.0.0.tgz"}}}}}}}}"#
    );
    let origin = Files::default()
        .add("/demo", "application/json", index)
        .add("/files/demo-1.0.0.tgz", "application/octet-stream", package)
        .serve();
    let mirror = mirror("npm", &origin);
    check_through_pool(origin, &["--mirror", &mirror], |home, gateway| {
        let registry = format!("--registry={gateway}/mirror/npm/");
        let quiet =
            ["--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0", "--loglevel=error"];
        let mut npm = program("npm", home);
        npm.args(["install", "--replace-registry-host=never", &registry, "--cache=cache"]).args(quiet);
        output(npm.arg("demo"));
        let installed = fs::read_to_string(home.join("node_modules/demo/index.js")).unwrap();
        assert_eq!(installed, "module.exports = 42\n");
        let lock = fs::read_to_string(home.join("package-lock.json")).unwrap();
        assert!(lock.contains(&format!("{gateway}/fetch/http://localhost:")), "{lock}");
    });
}

#[test]
fn cargo_fetches_from_a_mirrored_sparse_index_with_files_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"demo\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    write(folder.path().join("demo-1.0.0/Cargo.toml"), manifest);
    write(folder.path().join("demo-1.0.0/src/lib.rs"), "pub const ANSWER: u8 = 42;\n");
    let package = tar(folder.path(), "demo.crate", "demo-1.0.0");
    let digest = sha256(folder.path(), &folder.path().join("demo.crate"));
    let index = format!(
        r#"{{"name":"demo","vers":"1.0.0","deps":[],"cksum":"{digest}","features":{{}},"yanked":false}}"#
    );
    let config = format!(r#"{{"dl":"{OTHER_HOST}/crates"}}"#);
    let origin = Files::default()
        .add("/config.json", "text/plain", config)
        .add("/de/mo/demo", "text/plain", format!("{index}\n"))
        .add("/crates/demo/1.0.0/download", "application/gzip", package)
        .serve();
    let mirror = mirror("crates", &origin);
    check_through_pool(origin, &["--mirror", &mirror], |home, gateway| {
        let project = "[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\ndemo = \"1\"\n";
        write(home.join("user/Cargo.toml"), project);
        write(home.join("user/src/lib.rs"), "");
        let config = format!(
            "[source.crates-io]\nreplace-with = \"pool\"\n[source.pool]\nregistry = \"sparse+{gateway}/mirror/crates/\"\n"
        );
        write(home.join("user/.cargo/config.toml"), config);
        let mut cargo = program(env!("CARGO"), home);
        cargo
            .current_dir(home.join("user"))
            .env("CARGO_HOME", home.join("cargo"))
            .env("CARGO_NET_RETRY", "0");
        // The toolchain does not depend on HOME then.
        cargo.env("RUSTC", std::env::var_os("RUSTC").unwrap_or_else(|| rustc().into()));
        output(cargo.args(["fetch", "-q"]));
        let unpacked = home.join("cargo/registry/src");
        let source = fs::read_dir(unpacked).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(source.join("demo-1.0.0/src/lib.rs")).unwrap();
        assert_eq!(text, "pub const ANSWER: u8 = 42;\n");
    });
}

/// Returns the compiler beside the cargo that built this test.
fn rustc() -> PathBuf {
    Path::new(env!("CARGO")).with_file_name("rustc")
}

#[test]
fn apt_updates_and_downloads_from_a_signed_repository() {
    let folder = tempfile::Builder::new().prefix("apt-").tempdir().unwrap();
    let home = folder.path();
    let control =
        "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: demo\n";
    write(home.join("demo/DEBIAN/control"), control);
    output(program("dpkg-deb", home).args(["--root-owner-group", "--build", "demo", "demo_1.0_all.deb"]));
    let package = home.join("demo_1.0_all.deb");
    let (digest, size) = (sha256(home, &package), fs::metadata(&package).unwrap().len());
    let packages = format!("{control}Filename: ./demo_1.0_all.deb\nSize: {size}\nSHA256: {digest}\n");
    let packages = write(home.join("Packages"), packages);
    let (digest, size) = (sha256(home, &packages), fs::metadata(&packages).unwrap().len());
    let date = output(program("date", home).args(["-u", "-R"])).replace("+0000", "UTC");
    let release = format!("Suite: stable\nDate: {date}SHA256:\n {digest} {size} Packages\n");
    write(home.join("Release"), release);
    let gpg = |arguments: &[&str]| {
        let quiet = ["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""];
        output(program("gpg", home).env("GNUPGHOME", home).args(quiet).args(arguments))
    };
    gpg(&["--quick-generate-key", "a@b.example", "rsa2048", "sign", "never"]);
    gpg(&["--armor", "--output", "key.asc", "--export", "a@b.example"]);
    gpg(&["--output", "InRelease", "--clearsign", "Release"]);
    // Ends the agent that gpg has started.
    output(program("gpgconf", home).env("GNUPGHOME", home).args(["--kill", "all"]));
    let read = |name: &str| fs::read(home.join(name)).unwrap();
    let (key, in_release, packages, package) =
        (read("key.asc"), read("InRelease"), read("Packages"), fs::read(&package).unwrap());
    let origin = Files::default()
        .add("/InRelease", "text/plain", in_release)
        .add("/Packages", "text/plain", packages)
        .add("/demo_1.0_all.deb", "application/octet-stream", package.clone())
        .serve();
    let mirror = format!("debian={} ignore-client-cache-control", origin.url("/"));
    check_through_pool(origin, &["--mirror", &mirror], |home, gateway| {
        let key = write(home.join("key.asc"), &key);
        let folder = home.display();
        for name in ["state/lists/partial", "cache/archives/partial", "log", "none"] {
            fs::create_dir_all(home.join(name)).unwrap();
        }
        write(home.join("status"), "");
        let source = format!("deb [signed-by={}] {gateway}/mirror/debian/ ./\n", key.display());
        write(home.join("sources.list"), source);
        let config = format!(
            "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"{folder}/none\";\n\
             Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"{folder}/none\";\n\
             Dir::Etc::preferencesparts \"{folder}/none\";\nDir::Etc::trustedparts \"{folder}/none\";\n\
             Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
             Dir::Log \"{folder}/log\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n\
             Acquire::Retries \"0\";\nAPT::Architecture \"amd64\";\n"
        );
        let config = write(home.join("apt.conf"), config);
        let apt =
            |arguments: &[&str]| output(program("apt-get", home).env("APT_CONFIG", &config).args(arguments));
        apt(&["-q", "update"]);
        apt(&["-q", "download", "demo"]);
        assert_eq!(fs::read(home.join("demo_1.0_all.deb")).unwrap(), package);
    });
}
