//! Which clients may use the forms for programs that do not know the pool: prefix form, mirrors, the forward proxy and
//! `CONNECT`.
//!
//! | the peer has | clients that may use these forms |
//! |---|---|
//! | tokens | clients with one of them in `Proxy-Authorization`, as a bearer token or as the password in the scheme `Basic`; in prefix form also in `Authorization`, because a program that takes the peer for the origin sends no other credential |
//! | no tokens, but it requires client certificates | all clients |
//! | neither | programs on this machine, whatever the address of the peer |

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};

use super::access::{AccessRules, Fields};
use crate::server::Sender;

/// What a program takes the peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The origin: prefix form and mirrors.
    Origin,
    /// Its proxy: a target in absolute form, and `CONNECT`.
    Proxy,
}

/// Why a client may use a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    /// `Authorization` contains a token of this peer, so it must not reach the origin.
    GrantedByAuthorization,
}

/// Why a client may not use a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The request lacks a valid token.
    NoToken,
    /// The peer requires no token, and the client runs on another machine.
    NotLocal,
}

impl AccessRules {
    /// Decides whether a client may use the forms of this role.
    pub(super) fn may_forward(
        &self,
        role: Role,
        fields: &impl Fields,
        sender: Option<&Sender>,
    ) -> Result<Permission, Denial> {
        if self.is_open() {
            let is_trusted = |sender: &Sender| sender.shows_certificate || sender.is_local();
            return sender.is_some_and(is_trusted).then_some(Permission::Granted).ok_or(Denial::NotLocal);
        }
        if self.has_token(fields, &PROXY_AUTHORIZATION) {
            return Ok(Permission::Granted);
        }
        if role == Role::Origin && self.has_token(fields, &AUTHORIZATION) {
            return Ok(Permission::GrantedByAuthorization);
        }
        Err(Denial::NoToken)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::base::token::Tokens;
    use crate::origin::access::OriginRules;
    use crate::peer::endpoint::Rights;

    const TOKEN: &str = "correct-horse-battery";

    fn sender(address: &str, shows_certificate: bool) -> Sender {
        Sender {
            address: address.parse().unwrap(),
            shows_certificate,
            is_tls: false,
            is_http_proxy: true,
            is_behind_proxies: false,
        }
    }

    fn fields(lines: &[(&'static str, String)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().unwrap());
        }
        fields
    }

    fn basic(text: &str) -> String {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }

    #[test]
    fn without_tokens_only_local_programs_and_holders_of_certificates_pass() {
        let access = AccessRules::new(Rights::default(), OriginRules::any());
        let may = |sender: Option<Sender>| {
            let fields = fields(&[("proxy-authorization", basic(&format!("x:{TOKEN}")))]);
            access.may_forward(Role::Proxy, &fields, sender.as_ref())
        };
        for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(may(Some(sender(local, false))), Ok(Permission::Granted), "{local}");
        }
        for other in ["10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1", "0.0.0.0:1"] {
            assert_eq!(may(Some(sender(other, false))), Err(Denial::NotLocal), "{other}");
            assert_eq!(may(Some(sender(other, true))), Ok(Permission::Granted), "{other}");
        }
        let behind_proxies = Sender { is_behind_proxies: true, ..sender("127.0.0.1:1", false) };
        assert_eq!(may(Some(behind_proxies)), Err(Denial::NotLocal));
        assert_eq!(may(None), Err(Denial::NotLocal));
    }

    #[test]
    fn with_tokens_every_client_shows_one_where_its_role_allows() {
        let rights = Rights { tokens: Some(Tokens::new([TOKEN]).unwrap()), ..Rights::default() };
        let access = AccessRules::new(rights, OriginRules::any());
        let may = |role, lines: &[(&'static str, String)]| {
            access.may_forward(role, &fields(lines), Some(&sender("127.0.0.1:1", true)))
        };
        let (bearer, basic_of) = (format!("Bearer {TOKEN}"), |user: &str| basic(&format!("{user}:{TOKEN}")));
        for role in [Role::Origin, Role::Proxy] {
            for value in [bearer.clone(), basic_of("x"), basic_of("")] {
                let granted = may(role, &[("proxy-authorization", value.clone())]);
                assert_eq!(granted, Ok(Permission::Granted), "{value}");
            }
            for value in
                [basic(TOKEN), basic("x:wrong-horse-battery"), "Basic !".to_owned(), "Basic".to_owned()]
            {
                let denied = may(role, &[("proxy-authorization", value.clone())]);
                assert_eq!(denied, Err(Denial::NoToken), "{value}");
            }
            assert_eq!(may(role, &[]), Err(Denial::NoToken));
            let twice = [("proxy-authorization", bearer.clone()), ("proxy-authorization", bearer.clone())];
            assert_eq!(may(role, &twice), Err(Denial::NoToken));
        }
        let authorization = [("authorization", basic_of("x"))];
        assert_eq!(may(Role::Origin, &authorization), Ok(Permission::GrantedByAuthorization));
        assert_eq!(may(Role::Proxy, &authorization), Err(Denial::NoToken));
    }
}
