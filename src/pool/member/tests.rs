use super::*;
use crate::message::url::InvalidUrl;

fn weight(weight: u32) -> NonZeroU32 {
    NonZeroU32::new(weight).unwrap()
}

#[test]
fn the_text_form_parses_to_the_same_member() {
    for (text, url, expected, shown) in [
        ("http://h:1", "http://h:1", 1, "http://h:1"),
        (" HTTP://H:1/\t weight=3\r\n", "http://h:1", 3, "http://h:1 weight=3"),
        ("http://h:1 weight=1", "http://h:1", 1, "http://h:1"),
        ("http://h:1/a weight=007", "http://h:1/a", 7, "http://h:1/a weight=7"),
        ("http://h:1 weight=1000", "http://h:1", 1000, "http://h:1 weight=1000"),
    ] {
        let member = Member::parse(text).unwrap();
        assert_eq!(member.url().as_str(), url);
        assert_eq!(member.weight(), weight(expected));
        assert_eq!(member.to_string(), shown);
        assert_eq!(shown.parse(), Ok(member));
    }
}

#[test]
fn invalid_members_are_refused() {
    for (text, expected) in [
        ("", InvalidMember::Url(InvalidPeerUrl::Url(InvalidUrl::Empty))),
        ("weight=3", InvalidMember::Url(InvalidPeerUrl::Url(InvalidUrl::NotAbsolute))),
        ("http://h:1?weight=3", InvalidMember::Url(InvalidPeerUrl::Query)),
        ("http://h:1 weight=", InvalidMember::Weight),
        ("http://h:1 weight=0", InvalidMember::Weight),
        ("http://h:1 weight=+3", InvalidMember::Weight),
        ("http://h:1 weight=-3", InvalidMember::Weight),
        ("http://h:1 weight=1.5", InvalidMember::Weight),
        ("http://h:1 weight=1001", InvalidMember::Weight),
        ("http://h:1 weight=4294967297", InvalidMember::Weight),
        ("http://h:1 weight", InvalidMember::Option),
        ("http://h:1 Weight=3", InvalidMember::Option),
        ("http://h:1 http://h:2", InvalidMember::Option),
        ("http://h:1 weight=3 weight=3", InvalidMember::Option),
        ("http://h:1 weight=3 # three", InvalidMember::Option),
    ] {
        assert_eq!(Member::parse(text), Err(expected), "{text}");
        assert_eq!(Error::from(expected).kind(), ErrorKind::BadPeer);
        assert!(!expected.to_string().contains('\n'));
    }
}

#[test]
fn a_weight_has_a_maximum() {
    let member = Member::new(PeerUrl::parse("http://h:1").unwrap());
    assert_eq!(member.weight(), NonZeroU32::MIN);
    assert_eq!(member.clone().with_weight(weight(1001)), Err(InvalidMember::Weight));
    assert_eq!(member.with_weight(Member::MAX_WEIGHT).unwrap().weight(), weight(1000));
}
