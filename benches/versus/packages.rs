//! The programs that are measured against, and the one that measures: installed where they are missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::processes::is_root;

/// Programs with the Debian package each is in.
const NEEDED: [(&str, &str); 4] =
    [("nginx", "nginx-light"), ("varnishd", "varnish"), ("squid", "squid"), ("wrk", "wrk")];

/// Where Debian keeps them; the path of an ordinary user does not lead to all of it.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The whole path of an installed program.
pub(crate) fn path_of(program: &str) -> Result<PathBuf> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed").into())
}

/// Installs what is missing, or says what to install.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(program, _)| path_of(program).is_err())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root() || !Path::new("/usr/bin/apt-get").is_file() {
        return Err(format!("install these Debian packages first: {names}").into());
    }
    eprintln!("installing {names}");
    let _nothing_starts = NothingStarts::from_now_on()?;
    // A list of packages that is old, or not there, is the usual reason for a failure.
    if apt_get("install", &missing).is_err() {
        apt_get("update", &[])?;
        apt_get("install", &missing)?;
    }
    NEEDED.iter().try_for_each(|(program, _)| path_of(program).map(drop))
}

fn apt_get(verb: &str, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-y", "-qq", "--no-install-recommends", verb]).args(packages);
    let output = command.env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        return Err(format!("apt-get {verb} {}: {complaints}", packages.join(" ")).into());
    }
    Ok(())
}

/// The packages start their servers once installed, which would then run beside those that are measured.
/// While this lives, Debian's policy is that nothing is started.
struct NothingStarts {
    policy: Option<PathBuf>,
}

impl NothingStarts {
    fn from_now_on() -> Result<Self> {
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        // What is there already is the policy of whoever set up the machine.
        if path.exists() {
            return Ok(Self { policy: None });
        }
        fs::write(&path, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { policy: Some(path) })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if let Some(path) = &self.policy {
            let _ = fs::remove_file(path);
        }
    }
}

/// What each program says of its version, in the first line that has a digit.
pub(crate) fn versions() -> Vec<(&'static str, String)> {
    let asked = [("nginx", "-v"), ("varnishd", "-V"), ("squid", "-v"), ("wrk", "-v")];
    asked.into_iter().map(|(program, flag)| (program, version(program, flag).unwrap_or_default())).collect()
}

fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(path_of(program).ok()?).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    // "nginx/1.22.1", "(varnish-7.1.1 revision …", "Version 5.7", "debian/4.1.0-3": the first word of
    // digits and points.
    let mut words = text.split(|sign: char| !(sign.is_ascii_digit() || sign == '.'));
    words.find(|word| is_number(word) && word.contains('.')).map(str::to_owned)
}
