use super::*;

fn network(text: &str) -> Network {
    Network::parse(text).unwrap().unwrap()
}

#[test]
fn network_contains_exactly_its_range() {
    for (text, within, without) in [
        ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 ::ffff:10.0.0.1 ::10.0.0.1"),
        ("192.0.2.6", "192.0.2.6", "192.0.2.5 192.0.2.7"),
        ("192.0.2.6/31", "192.0.2.6 192.0.2.7", "192.0.2.5 192.0.2.8"),
        ("0.0.0.0/0", "0.0.0.0 255.255.255.255", "::"),
        ("::/0", ":: ffff::1 ::ffff:1.2.3.4", "1.2.3.4"),
        ("fc00::/7", "fc00:: fdff::1", "fbff::1 fe00::"),
        ("::1", "::1", "::2 0.0.0.1"),
    ] {
        let network = network(text);
        for address in within.split(' ') {
            assert!(network.contains(address.parse().unwrap()), "{text} {address}");
        }
        for address in without.split(' ') {
            assert!(!network.contains(address.parse().unwrap()), "{text} {address}");
        }
    }
}

#[test]
fn invalid_networks_are_rejected() {
    for text in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/x", "::1/64"] {
        assert!(Network::parse(text).unwrap().is_err(), "{text}");
    }
    for text in ["10/8", "10.0/16", "host", "host/8", "010.0.0.0/8", ""] {
        assert!(Network::parse(text).is_none(), "{text}");
    }
}

#[test]
fn wide_network_does_not_name_restricted_addresses() {
    for (text, address, named) in [
        ("0.0.0.0/0", "169.254.1.1", false),
        ("169.0.0.0/8", "169.254.1.1", false),
        ("169.254.0.0/16", "169.254.1.1", true),
        ("169.254.0.0/16", "169.254.169.254", false),
        ("169.254.169.254", "169.254.169.254", true),
        ("169.254.169.254", "169.254.169.253", false),
        ("fe80::/10", "fe80::1", true),
        ("fe80::/10", "fe80::a9fe:a9fe", false),
        ("fe00::/9", "fe80::1", false),
        ("100.64.0.0/10", "100.100.100.200", false),
        ("fd00:ec2::/32", "fd00:ec2::254", false),
        ("fd00:ec2::254", "fd00:ec2::254", true),
        ("::ffff:169.254.0.0/112", "::ffff:169.254.1.1", false),
        ("::ffff:169.254.1.1", "::ffff:169.254.1.1", true),
    ] {
        assert_eq!(network(text).names_specifically(address.parse().unwrap()), named, "{text} {address}");
    }
}
