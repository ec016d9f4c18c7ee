use super::*;

fn class(address: &str) -> AddressClass {
    AddressClass::of(address.parse().unwrap())
}

/// The first and the last address of every block of IANA's IPv4 and IPv6 special-purpose address
/// registries; blocks with a registry of their own, such as multicast; and the neighbours of a block that
/// belong to another class.
#[test]
fn classes_match_the_iana_registries() {
    use AddressClass::*;
    for (expected, addresses) in [
        (Unspecified, "0.0.0.0 0.255.255.255 ::"),
        (Loopback, "127.0.0.0 127.0.0.1 127.255.255.255 ::1"),
        (Private, "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255"),
        (Private, "fc00:: fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fec0:: feff:ffff::1"),
        (SharedSpace, "100.64.0.0 100.127.255.255"),
        (LinkLocal, "169.254.0.0 169.254.255.255 fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (CloudMetadata, "169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.192 168.63.129.16"),
        (CloudMetadata, "fd00:ec2::254 fd20:ce::254 fe80::a9fe:a9fe"),
        (Multicast, "224.0.0.0 239.255.255.255 ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        (Broadcast, "255.255.255.255"),
        (Documentation, "192.0.2.0 192.0.2.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255"),
        (Documentation, "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 3fff:: 3fff:fff:ffff::1"),
        (Benchmark, "198.18.0.0 198.19.255.255 2001:2:: 2001:2:0:ffff:ffff:ffff:ffff:ffff"),
        (Reserved, "192.0.0.0 192.0.0.8 192.0.0.170 192.0.0.255 192.88.99.0 192.88.99.255"),
        (Reserved, "240.0.0.0 255.255.255.254 255.255.0.0"),
        (Reserved, "100:: 100::ffff:ffff:ffff:ffff 100:0:0:1:: 5f00::1 4000:: 1fff:ffff::1 e000::1"),
        (Reserved, "2001:1::1 2001:3::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:2:1::1"),
        (Embedded, "::2 ::127.0.0.1 ::ffff:0.0.0.0 ::ffff:255.255.255.255 ::ffff:0:10.0.0.1"),
        (Embedded, "64:ff9b:: 64:ff9b::255.255.255.255 64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        (Embedded, "2002:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:: 2001:0:ffff:ffff::1"),
        (Embedded, "2600::5efe:10.0.0.1 2600::200:5efe:8.8.8.8 2600:1:2:3:200:5efe:1.2.3.4"),
        (Public, "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255"),
        (Public, "128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0"),
        (Public, "192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0"),
        (Public, "198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 192.31.196.1"),
        (Public, "192.52.193.1 192.175.48.1 168.63.129.17"),
        (Public, "2000:: 2001:200:: 2001:db7:: 2001:db9:: 2003:: 2600::1 2620:4f:8000::1 3ffe::1"),
        (Public, "3fff:1000::1 2a00:1450:4001::200e 2600::5eff:10.0.0.1"),
    ] {
        for address in addresses.split(' ') {
            assert_eq!(class(address), expected, "{address}");
        }
    }
}

#[test]
fn classes_are_parsed_from_their_names() {
    for class in AddressClass::ALL {
        assert_eq!(AddressClass::from_name(class.name()), Some(class));
    }
    assert_eq!(AddressClass::from_name("any"), None);
}

#[test]
fn embedded_metadata_addresses_are_restricted() {
    for address in [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.1.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001::5601:5601",
        "2600::5efe:169.254.169.254",
        "64:ff9b::100.100.100.200",
    ] {
        assert!(may_reach_restricted(address.parse().unwrap()), "{address}");
    }
    for address in ["127.0.0.1", "10.0.0.1", "8.8.8.8", "::ffff:10.0.0.1", "2002:808:808::1", "2600::1"] {
        assert!(!may_reach_restricted(address.parse().unwrap()), "{address}");
    }
}
