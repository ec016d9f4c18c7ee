//! Installs the other servers and wrk if they are missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::processes::is_root;

/// The programs and their Debian packages.
const PROGRAMS: [(&str, &str); 4] =
    [("nginx", "nginx-light"), ("varnishd", "varnish"), ("squid", "squid"), ("wrk", "wrk")];

/// The folders in which Debian installs them; not all are in the PATH of ordinary users.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Returns the path of an installed program.
pub(crate) fn path_of(program: &str) -> Result<PathBuf> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed").into())
}

/// Installs the missing programs, or returns an error that lists them.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
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
    let _service_start_block = ServiceStartBlock::install()?;
    // The usual reason for a failure is a missing or outdated package list.
    if apt_get("install", &missing).is_err() {
        apt_get("update", &[])?;
        apt_get("install", &missing)?;
    }
    PROGRAMS.iter().try_for_each(|(program, _)| path_of(program).map(drop))
}

fn apt_get(verb: &str, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-y", "-qq", "--no-install-recommends", verb]).args(packages);
    let output = command.env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("apt-get {verb} {}: {stderr}", packages.join(" ")).into());
    }
    Ok(())
}

/// Prevents the packages from starting their servers, which would disturb the measurement, by means of Debian's
/// `policy-rc.d`.
struct ServiceStartBlock {
    policy: Option<PathBuf>,
}

impl ServiceStartBlock {
    fn install() -> Result<Self> {
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        // Keep an existing policy of the administrator.
        if path.exists() {
            return Ok(Self { policy: None });
        }
        fs::write(&path, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { policy: Some(path) })
    }
}

impl Drop for ServiceStartBlock {
    fn drop(&mut self) {
        if let Some(path) = &self.policy {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns the version of each program: the first number with a point in its output.
pub(crate) fn versions() -> Vec<(&'static str, String)> {
    let asked = [("nginx", "-v"), ("varnishd", "-V"), ("squid", "-v"), ("wrk", "-v")];
    asked.into_iter().map(|(program, flag)| (program, version(program, flag).unwrap_or_default())).collect()
}

fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(path_of(program).ok()?).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    // Examples: "nginx/1.22.1", "(varnish-7.1.1 revision …", "Version 5.7", "debian/4.1.0-3".
    let mut words = text.split(|sign: char| !(sign.is_ascii_digit() || sign == '.'));
    words.find(|word| is_number(word) && word.contains('.')).map(str::to_owned)
}
