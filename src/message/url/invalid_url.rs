//! Errors of the URL parser.

use std::fmt;

use crate::base::error::{Error, ErrorKind};

/// The reason why a text is not a URL that can be fetched.
///
/// The message has one line and quotes no part of the URL, which may contain secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// The text is empty.
    Empty,
    /// The text is not an absolute `http` or `https` URL.
    NotAbsolute,
    /// The URL has no host.
    NoHost,
    /// The host is neither a DNS name nor an IP address in its usual form.
    BadHost,
    /// The host has characters outside ASCII.
    HostNotAscii,
    /// The URL has a user name or a password.
    UserInfo,
    /// The port is not a number from 1 to 65535.
    BadPort,
    /// The URL, as given or in its canonical form, is longer than 8 KiB.
    TooLong,
    /// The URL contains a space or a control character.
    BadByte,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the URL is empty",
            Self::NotAbsolute => "the URL is not an absolute http or https URL, such as http://host/",
            Self::NoHost => "the URL names no host",
            Self::BadHost => "the host of the URL is neither a name nor an IP address",
            Self::HostNotAscii => "the host of the URL is not ASCII: write it in punycode (xn--)",
            Self::UserInfo => "the URL has a user name or a password",
            Self::BadPort => "the port of the URL is not a number from 1 to 65535",
            Self::TooLong => "the URL is longer than 8 KiB",
            Self::BadByte => "the URL has a space or a control character",
        })
    }
}

impl std::error::Error for InvalidUrl {}

impl From<InvalidUrl> for Error {
    fn from(bad: InvalidUrl) -> Self {
        Self::new(ErrorKind::BadUrl, bad.to_string())
    }
}
