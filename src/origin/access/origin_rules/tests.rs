use proptest::prelude::*;

use super::*;
use crate::base::error::{Error, ErrorKind};
use crate::message::url::InvalidUrl;

fn rules(text: &str) -> OriginRules {
    OriginRules::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"))
}

fn ask(text: &str, url: &str) -> Result<(), Refused> {
    rules(text).may_ask(&CanonicalUrl::parse(url).unwrap_or_else(|bad| panic!("{url}: {bad}")))
}

fn connect(text: &str, url: &str, address: &str) -> Result<(), Refused> {
    rules(text).may_connect(&CanonicalUrl::parse(url).unwrap(), address.parse().unwrap())
}

const OK: Result<(), Refused> = Ok(());
const DENIED: Result<(), Refused> = Err(Refused::Denied);
const UNLISTED: Result<(), Refused> = Err(Refused::NotListed);

fn class(class: AddressClass) -> Result<(), Refused> {
    Err(Refused::Address(class))
}

#[test]
fn urls_are_checked_by_the_rules() {
    use AddressClass::*;
    for (text, url, expected) in [
        ("any", "http://example.com/", OK),
        ("any", "http://127.0.0.1:3000/", OK),
        ("any", "http://10.0.0.1/", OK),
        ("any", "http://[fd00::1]/", OK),
        ("any", "http://169.254.169.254/latest/meta-data/", class(CloudMetadata)),
        ("any", "http://169.254.1.1/", class(LinkLocal)),
        ("any", "http://[fe80::1]/", class(LinkLocal)),
        ("any", "http://[fd00:ec2::254]/", class(CloudMetadata)),
        ("any", "http://[::ffff:169.254.169.254]/", class(Embedded)),
        ("any", "http://[64:ff9b::a9fe:a9fe]/", class(Embedded)),
        ("public", "http://example.com/", OK),
        ("public", "http://8.8.8.8/", OK),
        ("public", "http://localhost/", OK),
        ("public", "http://127.0.0.1/", class(Loopback)),
        ("public", "http://[::1]/", class(Loopback)),
        ("public", "http://[::ffff:8.8.8.8]/", class(Embedded)),
        ("listed", "http://example.com/", UNLISTED),
        ("listed", "http://8.8.8.8/", UNLISTED),
        ("allow:example.com", "http://example.com/", OK),
        ("allow:example.com", "http://example.org/", UNLISTED),
        ("allow:https://example.com", "http://example.com/", UNLISTED),
        ("allow:https://example.com", "https://example.com/", OK),
        ("allow:example.com:80", "https://example.com/", UNLISTED),
        ("allow:example.com:8000-8999", "https://example.com:8999/", OK),
        ("allow:example.com:8000-8999", "https://example.com:9000/", UNLISTED),
        // A name may resolve to an allowed address, which is checked later.
        ("allow:10.0.0.0/8", "http://example.com/", OK),
        ("allow:10.0.0.0/8:8080", "http://example.com/", UNLISTED),
        ("allow:10.0.0.0/8", "http://10.1.2.3/", OK),
        ("allow:10.0.0.0/8", "http://11.1.2.3/", UNLISTED),
        ("allow:*", "http://10.1.2.3/", class(Private)),
        ("allow:*", "http://8.8.8.8/", OK),
        ("public,deny:*.internal.example", "http://a.internal.example/", DENIED),
        ("public,deny:*.internal.example", "http://a.internal.example./", DENIED),
        ("public,deny:*.internal.example", "http://A.Internal.Example/", DENIED),
        ("public,deny:*.internal.example", "http://internal.example/", OK),
        ("any,allow:a.example,deny:*.example", "http://a.example/", OK),
        ("any,allow:a.example,deny:*.example", "http://b.example/", DENIED),
        ("any,deny:*.example,allow:a.example", "http://a.example/", DENIED),
        ("any,allow:10.0.0.0/8,deny:*", "http://a.example/", OK),
        ("any,deny:10.0.0.0/8", "http://a.example/", OK),
        ("any,deny:10.0.0.0/8", "http://10.0.0.1/", DENIED),
        ("any,deny:10.0.0.0/8", "http://[::ffff:10.0.0.1]/", DENIED),
        ("any,deny:private", "http://[64:ff9b::10.0.0.1]/", DENIED),
        ("any,deny:any:25", "http://8.8.8.8:25/", DENIED),
        ("any,deny:*:25", "http://a.example:25/", DENIED),
        ("any,deny:http://*", "http://a.example/", DENIED),
        ("any,deny:http://*", "https://a.example/", OK),
    ] {
        assert_eq!(ask(text, url), expected, "{text} {url}");
    }
}

#[test]
fn addresses_are_checked_by_the_rules() {
    use AddressClass::*;
    for (text, to, expected) in [
        ("any", "127.0.0.1", OK),
        ("any", "::ffff:10.0.0.1", OK),
        ("any", "169.254.169.254", class(CloudMetadata)),
        ("any", "::ffff:169.254.169.254", class(Embedded)),
        ("any", "100.100.100.200", class(CloudMetadata)),
        ("any", "fe80::1", class(LinkLocal)),
        ("public", "8.8.8.8", OK),
        ("public", "2600::1", OK),
        ("public", "127.0.0.1", class(Loopback)),
        ("public", "10.0.0.1", class(Private)),
        ("public", "0.0.0.0", class(Unspecified)),
        ("public", "::ffff:8.8.8.8", class(Embedded)),
        ("public", "2002:808:808::1", class(Embedded)),
        // A host that is allowed by name gets no further than any other host.
        ("public,allow:a.example", "10.0.0.1", class(Private)),
        ("public,allow:a.example", "169.254.169.254", class(CloudMetadata)),
        ("public,allow:*", "127.0.0.1", class(Loopback)),
        ("allow:a.example", "8.8.8.8", OK),
        ("allow:a.example", "10.0.0.1", class(Private)),
        ("any,allow:a.example", "10.0.0.1", OK),
        ("any,allow:a.example", "169.254.1.1", class(LinkLocal)),
        // A rule with addresses allows a host at those addresses.
        ("public,allow:a.example@private", "10.0.0.1", OK),
        ("public,allow:a.example@private", "127.0.0.1", class(Loopback)),
        ("public,allow:a.example@private", "8.8.8.8", OK),
        ("allow:a.example@private", "8.8.8.8", UNLISTED),
        ("public,allow:b.example@private", "10.0.0.1", class(Private)),
        ("public,allow:a.example@10.0.0.0/8:80", "10.0.0.1", OK),
        ("public,allow:a.example@10.0.0.0/8:81", "10.0.0.1", class(Private)),
        ("public,allow:10.0.0.0/8", "10.0.0.1", OK),
        ("public,allow:a.example,allow:10.0.0.0/8", "10.0.0.1", OK),
        ("public,allow:a.example@any", "127.0.0.1", OK),
        ("public,allow:a.example@any", "::ffff:127.0.0.1", OK),
        ("public,allow:loopback", "::ffff:127.0.0.1", class(Embedded)),
        ("public,allow:embedded", "::ffff:127.0.0.1", OK),
        ("public,allow:[::ffff:0:0/96]", "::ffff:127.0.0.1", OK),
        // Link-local and metadata addresses must be named.
        ("any,allow:any", "169.254.169.254", class(CloudMetadata)),
        ("any,allow:0.0.0.0/0", "169.254.169.254", class(CloudMetadata)),
        ("any,allow:0.0.0.0/0", "169.254.1.1", class(LinkLocal)),
        ("any,allow:a.example@any", "169.254.1.1", class(LinkLocal)),
        ("any,allow:link-local", "169.254.1.1", OK),
        ("any,allow:link-local", "169.254.169.254", class(CloudMetadata)),
        ("any,allow:169.254.0.0/16", "169.254.1.1", OK),
        ("any,allow:169.254.0.0/16", "169.254.169.254", class(CloudMetadata)),
        ("any,allow:169.254.169.254", "169.254.169.254", OK),
        ("any,allow:cloud-metadata", "169.254.169.254", OK),
        ("any,allow:cloud-metadata", "::ffff:169.254.169.254", class(Embedded)),
        ("any,allow:embedded", "::ffff:169.254.169.254", class(Embedded)),
        ("any,allow:[::/0]", "64:ff9b::169.254.169.254", class(Embedded)),
        ("any,allow:shared-space,allow:private", "100.100.100.200", class(CloudMetadata)),
        // The first rule that matches decides.
        ("any,deny:loopback", "127.0.0.1", DENIED),
        ("any,deny:loopback", "::ffff:127.0.0.1", DENIED),
        ("any,deny:loopback,allow:a.example", "127.0.0.1", DENIED),
        ("any,allow:a.example,deny:loopback", "127.0.0.1", OK),
        ("public,allow:a.example,deny:loopback", "127.0.0.1", DENIED),
        ("any,deny:a.example@10.0.0.0/8", "10.0.0.1", DENIED),
        ("any,deny:a.example@10.0.0.0/8", "11.0.0.1", OK),
        ("any,deny:public", "8.8.8.8", DENIED),
        ("any,deny:public", "2002:808:808::1", DENIED),
        ("any,deny:a.example", "8.8.8.8", DENIED),
        ("listed", "8.8.8.8", UNLISTED),
    ] {
        assert_eq!(connect(text, "http://a.example/", to), expected, "{text} {to}");
    }
}

/// Every spelling of a forbidden address is either not a valid URL, or is recognised as that address.
#[test]
fn every_spelling_of_a_forbidden_address_is_rejected() {
    for host in [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7F.0.0.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.1.",
        "127%2e0.0.1",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127.0.0.1%00.example",
        "127.0.0.1%20",
        "256.0.0.1",
        "0",
        "0x0",
        "[::ffff:127.0.0.1%25eth0]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[127.0.0.1]",
        "[::127.0.0.01]",
        "[v1.127]",
        "::1",
        "example.com@127.0.0.1",
        "127.0.0.1\\@example.com",
        "lo\u{ad}calhost",
    ] {
        let bad = CanonicalUrl::parse(&format!("http://{host}/")).expect_err(host);
        assert!(
            matches!(
                bad,
                InvalidUrl::BadHost | InvalidUrl::HostNotAscii | InvalidUrl::UserInfo | InvalidUrl::BadPort
            ),
            "{host}: {bad:?}"
        );
    }
    for host in [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[0000::0001]",
        "[::0.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7F00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2600::5efe:127.0.0.1]",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fc00::1]",
        "[FEC0::1]",
        "255.255.255.255",
        "[ff02::1]",
    ] {
        for url in [format!("http://{host}/"), format!("HTTPS://{host}:8443/a?b"), format!("http://{host}#c")]
        {
            assert!(matches!(ask("public", &url), Err(Refused::Address(_))), "{url}");
        }
    }
}

#[test]
fn displayed_text_can_be_parsed() {
    for (text, shown) in [
        ("any", "any"),
        ("public", "public"),
        ("listed", "listed"),
        ("allow:a", "listed,allow:a"),
        (" public , allow:a ,deny:10.0.0.0/8 ", "public,allow:a,deny:10.0.0.0/8"),
        ("any,deny:https://*.a:1-2,allow:b@private", "any,deny:https://*.a:1-2,allow:b@private"),
    ] {
        assert_eq!(rules(text).to_string(), shown);
        assert_eq!(rules(shown), rules(text));
    }
}

#[test]
fn invalid_rules_are_rejected() {
    for (text, words) in [
        ("", "public, any or listed"),
        ("public,", "public, any or listed"),
        ("private", "public, any or listed"),
        ("example.com", "public, any or listed"),
        ("https://example.com", "public, any or listed"),
        ("allow", "public, any or listed"),
        ("permit:a", "public, any or listed"),
        ("allow:a,public", "beginning"),
        ("any,public", "beginning"),
        ("allow:", "no host"),
        ("allow:10.0.0.1/8", "bits"),
    ] {
        let bad = OriginRules::parse(text).unwrap_err();
        assert!(bad.to_string().contains(words), "{text}: {bad}");
        assert_eq!(Error::from(bad).kind(), ErrorKind::BadOption);
    }
}

#[test]
fn refusal_is_one_line_without_the_rules() {
    for refused in [Refused::Denied, Refused::NotListed, Refused::Address(AddressClass::Private)] {
        let error = Error::from(refused);
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert_eq!(error.message().lines().count(), 1);
    }
}

#[test]
fn trusting_rules_allow_every_address() {
    for url in ["http://169.254.1.1/", "http://[fe80::1]/", "http://169.254.169.254/", "http://127.0.0.1/"] {
        assert_eq!(OriginRules::trusting().may_ask(&CanonicalUrl::parse(url).unwrap()), OK, "{url}");
    }
}

proptest! {
    /// Rules about names never let `public` reach an address that is not public.
    #[test]
    fn rules_about_names_open_no_address(
        address: IpAddr,
        names in prop::collection::vec("(allow|deny):(https?://)?([a-z]{1,3}|\\*)(\\.example)?(:80)?", 0..4),
    ) {
        let text = std::iter::once("public".to_owned()).chain(names).collect::<Vec<_>>().join(",");
        if AddressClass::of(address) != AddressClass::Public {
            prop_assert!(rules(&text).may_connect(&CanonicalUrl::parse("http://a.example/").unwrap(), address).is_err());
        }
    }
}
