//! The limit of open files: each connection needs one.

/// Raises the soft limit of open files to the hard limit, which needs no privileges.
#[cfg(unix)]
pub(super) fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let display = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            log::info!("raised the limit of open files from {} to {}", display(current), display(maximum));
        }
        Err(error) => log::warn!("cannot raise the limit of {} open files: {error}", display(current)),
    }
}

#[cfg(not(unix))]
pub(super) fn raise_limit() {}
