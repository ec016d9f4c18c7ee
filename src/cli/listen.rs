//! The addresses of `--listen` and `--admin`, and the sockets on which the process listens.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use forwardcache::server::Listener;

use super::failure::Failure;

/// The address of `--listen` of `serve` if there is neither a flag nor a socket that was handed over.
pub(super) const SERVE_DEFAULT: &str = "127.0.0.1:3000";

/// The same for `gateway`.
pub(super) const GATEWAY_DEFAULT: &str = "127.0.0.1:3128";

/// The mode of the file of a Unix socket: only this user may connect.
const DEFAULT_MODE: u32 = 0o600;

/// Where to listen.
#[derive(Debug)]
pub(super) enum Place {
    /// At least one address.
    Tcp(Vec<SocketAddr>),
    Unix {
        path: PathBuf,
        mode: u32,
    },
}

impl Place {
    /// Parses and resolves the value of a flag: `HOST:PORT`, or `unix:PATH`, optionally with `,mode=MODE`.
    pub(super) fn parse(flag: &str, value: &str) -> Result<Self, Failure> {
        let usage = |problem: &dyn fmt::Display| {
            Failure::Usage(format!(
                "{flag} {value:?}: {problem}: specify HOST:PORT, such as 127.0.0.1:3000, or unix:PATH"
            ))
        };
        let Some(unix) = value.strip_prefix("unix:") else {
            let resolved: Vec<SocketAddr> = value.to_socket_addrs().map_err(|error| usage(&error))?.collect();
            return if resolved.is_empty() {
                Err(usage(&"the name has no address"))
            } else {
                Ok(Self::Tcp(resolved))
            };
        };
        if !cfg!(unix) {
            return Err(usage(&"this system has no Unix sockets"));
        }
        let (path, mode) = match unix.split_once(",mode=") {
            None => (unix, Some(DEFAULT_MODE)),
            Some((path, mode)) => (path, u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777)),
        };
        let mode = mode.ok_or_else(|| usage(&"the mode is not an octal number up to 777"))?;
        if path.is_empty() {
            return Err(usage(&"the path is empty"));
        }
        Ok(Self::Unix { path: path.into(), mode })
    }

    /// Returns the first TCP address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addresses) => addresses.first().copied(),
            Self::Unix { .. } => None,
        }
    }

    /// Returns whether the socket listens here; port 0 stands for any port.
    fn is_place_of(&self, listener: &Listener) -> bool {
        match (self, listener.local_addr()) {
            (Self::Tcp(addresses), Some(bound)) => addresses.iter().any(|address| {
                address.ip() == bound.ip() && (address.port() == bound.port() || address.port() == 0)
            }),
            (Self::Unix { path, .. }, None) => listener.path().as_ref() == Some(path),
            _ => false,
        }
    }

    fn bind(&self) -> Result<Listener, Failure> {
        Ok(match self {
            Self::Tcp(addresses) => Listener::bind(&addresses[..])?,
            #[cfg(unix)]
            Self::Unix { path, mode } => Listener::bind_unix(path, *mode)?,
            #[cfg(not(unix))]
            Self::Unix { .. } => return Err(Failure::failed("this system has no Unix sockets")),
        })
    }
}

/// The places of `--listen`.
pub(super) fn places(values: &[String]) -> Result<Vec<Place>, Failure> {
    values.iter().map(|value| Place::parse("--listen", value)).collect()
}

/// The places of `--listen`, or the default if no other socket was handed over.
pub(super) fn places_or_default(values: &[String], default: &str) -> Result<Vec<Place>, Failure> {
    let places = places(values)?;
    if places.is_empty() { Ok(vec![Place::parse("--listen", default)?]) } else { Ok(places) }
}

/// Returns the socket as text for people.
pub(super) fn shown(socket: &Listener, scheme: &str) -> String {
    socket.local_addr().map_or_else(|| socket.to_string(), |address| format!("{scheme}://{address}"))
}

/// Returns the name of the sockets of a flag in `LISTEN_FDNAMES`.
pub(super) fn name_of(flag: &str) -> &str {
    flag.trim_start_matches('-')
}

/// Listening sockets that the service manager or a previous process handed over (`LISTEN_FDS`), with their names.
#[derive(Debug)]
pub(super) struct Inherited(Vec<(String, Listener)>);

impl Inherited {
    /// Takes the sockets over. To be called once, before other threads start.
    pub(super) fn take() -> Result<Self, Failure> {
        #[cfg(not(unix))]
        return Ok(Self(Vec::new()));
        #[cfg(unix)]
        {
            let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
            let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
            let mut passed = listenfd::ListenFd::from_env();
            let sockets = (0..passed.len()).zip(names).map(|(at, name)| {
                let tcp = passed.take_tcp_listener(at).map(|socket| socket.map(Listener::from));
                let either =
                    tcp.or_else(|_| passed.take_unix_listener(at).map(|socket| socket.map(Listener::from)));
                let text = format_args!("socket {at} of LISTEN_FDS is not a stream socket");
                let socket = either.map_err(|error| Failure::io(text, &error))?;
                socket.map(|socket| (name, socket.shared())).ok_or_else(|| Failure::failed(text))
            });
            sockets.collect::<Result<_, _>>().map(Self)
        }
    }

    fn take_first(&mut self, is_wanted: impl Fn(&str, &Listener) -> bool) -> Option<Listener> {
        let at = self.0.iter().position(|(name, socket)| is_wanted(name, socket))?;
        Some(self.0.remove(at).1)
    }

    /// Returns the socket of a flag for one socket: one that was handed over, or a new one.
    pub(super) fn open_for(&mut self, flag: &str, value: &str) -> Result<Listener, Failure> {
        let place = Place::parse(flag, value)?;
        let has_own_port = place.address().is_none_or(|address| address.port() != 0);
        let named = self.take_first(|name, _| name == name_of(flag));
        let found = named.or_else(|| self.take_first(|_, socket| has_own_port && place.is_place_of(socket)));
        found.map_or_else(|| place.bind(), Ok)
    }

    /// Returns the sockets of `--listen`: those that were handed over, and new ones for the other places.
    pub(super) fn open_all(mut self, values: &[String], default: &str) -> Result<Vec<Listener>, Failure> {
        let places = if self.0.is_empty() { places_or_default(values, default)? } else { places(values)? };
        let open = |place: &Place| {
            let found = self.take_first(|_, socket| place.is_place_of(socket));
            found.map_or_else(|| place.bind(), Ok)
        };
        let mut listeners = places.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        listeners.extend(self.0.into_iter().map(|(_, socket)| socket));
        Ok(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_addresses_or_unix_sockets() {
        let parse = |value: &str| Place::parse("--listen", value);
        assert_eq!(parse("127.0.0.1:80").unwrap().address(), Some("127.0.0.1:80".parse().unwrap()));
        let unix = |value: &str| match parse(value).unwrap() {
            Place::Unix { path, mode } => (path.display().to_string(), mode),
            Place::Tcp(_) => panic!("{value} is a Unix socket"),
        };
        assert_eq!(unix("unix:/run/peer.sock"), ("/run/peer.sock".to_owned(), 0o600));
        assert_eq!(unix("unix:peer,1.sock,mode=660"), ("peer,1.sock".to_owned(), 0o660));
        for bad in [
            "",
            "3000",
            "localhost",
            "unix:",
            "unix:,mode=600",
            "unix:/a,mode=",
            "unix:/a,mode=9",
            "unix:/a,mode=1777",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(
                error.contains(&format!("--listen {bad:?}")) && error.contains("specify HOST:PORT"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_socket_that_was_handed_over_is_not_bound_again() {
        let sockets: Vec<_> = (0..3).map(|_| Listener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let names = ["", "admin", "other"].map(str::to_owned);
        let mut inherited = Inherited(names.into_iter().zip(sockets).collect());
        assert_eq!(inherited.open_for("--admin", "127.0.0.1:0").unwrap().local_addr(), Some(addresses[1]));
        let new = inherited.open_for("--admin", "127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!addresses.contains(&new), "no other socket stands for the one of operators");
        let admin = inherited.open_for("--admin", &addresses[2].to_string()).unwrap();
        assert_eq!(admin.local_addr(), Some(addresses[2]));
        inherited.0.push(("other".to_owned(), admin));
        let listeners = inherited.open_all(&[addresses[2].to_string()], SERVE_DEFAULT).unwrap();
        let opened: Vec<_> = listeners.iter().filter_map(Listener::local_addr).collect();
        assert_eq!(opened, [addresses[2], addresses[0]]);
    }
}
