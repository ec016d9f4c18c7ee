//! How many files this process may have open: each connection is one.

/// Raises the limit to the highest that the system allows without more rights.
#[cfg(unix)]
pub(super) fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let said = |limit: Option<u64>| limit.map_or("any number of".to_owned(), |limit| limit.to_string());
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => log::info!("this process may open {} files, not {}", said(maximum), said(current)),
        Err(error) => log::warn!("this process may open no more than {} files: {error}", said(current)),
    }
}

#[cfg(not(unix))]
pub(super) fn raise() {}
