//! Tells the service manager about the state of the process: the protocol of `sd_notify(3)`.

/// Sends lines such as `READY=1` to the socket that `NOTIFY_SOCKET` names, if there is one.
pub(super) fn send(state: &str) {
    #[cfg(unix)]
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
        && let Err(error) = unix::send(&socket, state)
    {
        log::warn!("cannot notify the service manager: {error}");
    }
    #[cfg(not(unix))]
    let _ = state;
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::net::UnixDatagram;

    pub(super) fn send(to: &OsStr, state: &str) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        // The manager may be slow, and a peer must not wait for it.
        socket.set_nonblocking(true)?;
        #[cfg(target_os = "linux")]
        if let Some(name) = to.as_encoded_bytes().strip_prefix(b"@") {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            return socket.send_to_addr(state.as_bytes(), &address).map(drop);
        }
        socket.send_to(state.as_bytes(), to).map(drop)
    }
}
