use super::*;

#[test]
fn connections_leave_files_for_origins() {
    for (files, threads, most) in [
        (usize::MAX, 1024, usize::MAX - 2048 - 64),
        (65_536, 4096, 65_536 - 4096 - 64),
        (1024, 512, 448),
        (256, 8, 128),
        (40, 20, 10),
        (2, 9, 1),
    ] {
        assert_eq!(max_connections(files, threads), most, "{files} files, {threads} threads");
    }
}

#[test]
fn both_limits_hold_and_a_closed_connection_makes_room() {
    let stats = Arc::new(ServerStats::default());
    let admission = Admission::new(3, 2, Arc::clone(&stats));
    let [one, other, third] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap());
    let admit = |address| admission.admit(Some(address));
    let first = admit(one).unwrap();
    let second = admit("::ffff:10.0.0.1".parse().unwrap()).unwrap();
    assert!(admit(one).is_none());
    let last = admit(other).unwrap();
    assert!(admit(third).is_none());
    assert_eq!((stats.accepted(), stats.open()), (3, 3));
    assert_eq!(stats.connection_refusals()[..2], [("too_many", 1), ("too_many_from_address", 1)]);
    drop(first);
    drop(admit(third).unwrap());
    drop((second, last));
    assert!(admission.counts.lock().by_client.is_empty());
    assert_eq!((stats.accepted(), stats.open()), (4, 0));
}

#[test]
fn the_addresses_of_an_ipv6_network_share_one_limit() {
    let admission = Admission::new(9, 2, Arc::default());
    let admit = |text: &str| admission.admit(Some(text.parse().unwrap()));
    let held = [admit("2001:db8::1"), admit("2001:db8::2:0:0:1")];
    assert!(held.iter().all(Option::is_some) && admit("2001:db8::3").is_none());
    assert!(admit("2001:db8:0:1::1").is_some());
}

#[test]
fn connections_of_a_proxy_count_for_their_clients() {
    let stats = Arc::new(ServerStats::default());
    let admission = Admission::new(9, 1, Arc::clone(&stats));
    let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
    let mut permits: Vec<_> = (0..3).map(|_| admission.admit(None).unwrap()).collect();
    let assigned = permits.iter_mut().zip([one, one, other]).map(|(permit, client)| permit.assign(client));
    assert_eq!(assigned.collect::<Vec<_>>(), [true, false, true]);
    assert!(admission.admit(Some(one)).is_none());
    drop(permits);
    assert!(admission.counts.lock().by_client.is_empty());
    assert_eq!(stats.open(), 0);
}
