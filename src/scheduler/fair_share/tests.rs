use proptest::prelude::*;

use super::*;

fn origin(number: u8) -> CanonicalUrl {
    CanonicalUrl::parse(&format!("http://origin-{number}/")).unwrap()
}

fn client(number: u8) -> ClientAddress {
    ClientAddress::of([10, 0, 0, number].into())
}

fn fetch(of: u8, by: u8) -> Claim {
    Claim { purpose: Purpose::Fetch { origin: origin(of), cap: None }, client: Some(client(by)) }
}

fn transfer(of: u8, by: u8) -> Claim {
    Claim { purpose: Purpose::Transfer { origin: Some(origin(of)) }, client: Some(client(by)) }
}

fn handled(by: u8) -> Claim {
    Claim { purpose: Purpose::Any, client: Some(client(by)) }
}

/// Starts as many jobs as possible.
fn fill(share: &mut FairShare, claim: &Claim) -> Vec<Grant> {
    std::iter::from_fn(|| share.start(claim, Instant::now())).collect()
}

#[test]
fn an_unresponsive_origin_takes_half_and_a_second_one_half_of_the_rest() {
    let mut share = FairShare::new(1024);
    assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
    assert_eq!(fill(&mut share, &fetch(2, 2)).len(), 256);
    assert_eq!(fill(&mut share, &fetch(3, 1)).len(), 0, "the client occupies twice as many as are free");
    assert_eq!(fill(&mut share, &fetch(3, 3)).len(), 128);
    assert_eq!(fill(&mut share, &fetch(4, 4)).len(), 1, "the last eighth is for idle clients and origins");
}

#[test]
fn one_client_cannot_fill_the_pool_with_unresponsive_origins() {
    for max in [8, 64, 512, 1024] {
        for claim in [fetch, transfer] {
            let mut share = FairShare::new(max);
            let started: usize = (0..20).map(|name| fill(&mut share, &claim(name, 1)).len()).sum();
            assert!(started <= max * 2 / 3 + 1, "{started} of {max}");
            assert!(share.has_room_for(&fetch(99, 2)) && share.has_room_for(&transfer(99, 2)));
        }
    }
}

#[test]
fn one_client_cannot_occupy_all_threads_of_a_handler() {
    for max in [2, 8, 64, 1024] {
        let mut share = FairShare::new(max);
        let started = fill(&mut share, &handled(1)).len();
        assert!(started <= max * 2 / 3 + 1 && share.has_room_for(&handled(2)), "{started} of {max}");
        let mut share = FairShare::new(max);
        assert_eq!(fill(&mut share, &Claim { client: None, ..handled(1) }).len(), max);
    }
}

#[test]
fn a_client_without_a_job_may_start_one_regardless_of_other_clients() {
    let mut share = FairShare::new(1024);
    assert_eq!(fill(&mut share, &fetch(1, 1)).len(), 512);
    assert!(!share.has_room_for(&Claim { client: None, ..fetch(1, 1) }));
    let second = share.start(&fetch(1, 2), Instant::now()).unwrap();
    assert!(!share.has_room_for(&fetch(1, 2)), "the client now has a running job");
    assert!(share.has_room_for(&transfer(1, 3)) && !share.has_room_for(&transfer(1, 2)));
    share.finish(&second);
    let others = (2..=255).filter_map(|by| share.start(&fetch(1, by), Instant::now())).count();
    assert_eq!(others, 254);
    let more = (0..=255).map(|by| ClientAddress::of([10, 0, 1, by].into()));
    let more = more.filter_map(|by| share.start(&Claim { client: Some(by), ..fetch(1, 1) }, Instant::now()));
    assert_eq!((more.count(), share.free()), (130, 128), "the last eighth is reserved");
    let capped = Purpose::Fetch { origin: origin(2), cap: Some(0) };
    assert!(!share.has_room_for(&Claim { purpose: capped, client: Some(client(9)) }));
}

#[test]
fn a_transfer_may_use_the_last_thread() {
    let mut share = FairShare::new(16);
    let running: Vec<Grant> =
        (0..14).filter_map(|number| share.start(&fetch(number, number), Instant::now())).collect();
    assert_eq!((running.len(), share.free()), (14, 2));
    assert!(!share.has_room_for(&fetch(1, 99)) && share.has_room_for(&transfer(99, 1)));
    assert!(share.start(&transfer(99, 98), Instant::now()).is_some());
    assert!(share.start(&transfer(98, 99), Instant::now()).is_some());
    assert_eq!(share.free(), 0);
}

#[test]
fn a_small_pool_serves_all_kinds_of_jobs() {
    for max in 1..8 {
        let mut share = FairShare::new(max);
        for claim in [handled(1), transfer(1, 1), fetch(1, 1)] {
            let grant = share.start(&claim, Instant::now()).unwrap();
            share.finish(&grant);
        }
    }
}

#[test]
fn streams_do_not_limit_their_origin_and_are_limited_themselves() {
    let mut share = FairShare::new(16);
    let mut streams: Vec<Grant> =
        (0..8).filter_map(|by| share.start(&fetch(1, by), Instant::now())).collect();
    assert_eq!(streams.len(), 8);
    assert!(streams.iter_mut().all(|stream| share.move_to_streams(stream)));
    assert!(!share.move_to_streams(&mut streams[0]), "the job is already a stream");
    let mut more = fill(&mut share, &fetch(1, 9));
    assert_eq!((more.len(), share.streams()), (4, 8));
    assert!(!share.move_to_streams(&mut more[0]), "half of the pool are streams already");
    streams.iter().chain(&more).for_each(|grant| share.finish(grant));
    assert_eq!((share.running(), share.streams(), share.origins.len(), share.clients.len()), (0, 0, 0, 0));
}

#[test]
fn one_client_may_have_a_quarter_of_the_streams() {
    let mut share = FairShare::new(64);
    let mut running = fill(&mut share, &fetch(1, 1));
    running.extend(fill(&mut share, &transfer(2, 1)));
    let streams = running.iter_mut().filter_map(|grant| share.move_to_streams(grant).then_some(())).count();
    assert_eq!((streams, share.client_usage(client(1)).running), (8, running.len() - 8));
    let mut other = share.start(&transfer(1, 2), Instant::now()).unwrap();
    assert!(share.move_to_streams(&mut other));
}

#[test]
fn a_job_that_runs_for_long_becomes_a_stream() {
    let (mut share, start) = (FairShare::new(8), Instant::now());
    let mut grant = share.start(&fetch(1, 1), start).unwrap();
    assert!(!share.move_to_streams_if_long(&mut grant, start + STREAM_AFTER - Duration::from_secs(1)));
    assert!(share.move_to_streams_if_long(&mut grant, start + STREAM_AFTER));
}

#[test]
fn a_cap_includes_streams_and_two_refreshes_of_an_origin_run_at_a_time() {
    let mut share = FairShare::new(64);
    let capped = Claim { purpose: Purpose::Fetch { origin: origin(1), cap: Some(3) }, client: None };
    let mut grant = fill(&mut share, &capped);
    assert!(share.move_to_streams(&mut grant[0]));
    assert_eq!((grant.len(), share.has_room_for(&capped)), (3, false));
    let refresh = Claim { purpose: Purpose::Refresh { origin: origin(2), cap: None }, client: None };
    assert_eq!(fill(&mut share, &refresh).len(), MAX_REFRESHES);
}

proptest! {
    /// Compares the counts with a list of the running jobs, after any sequence of starts, ends and moves.
    #[test]
    fn the_counts_are_those_of_the_running_jobs(
        max in 1_usize..40,
        steps in prop::collection::vec((0_u8..6, 0_u8..5, 0_u8..5, any::<prop::sample::Index>()), 0..200),
    ) {
        let mut share = FairShare::new(max);
        let mut running: Vec<Grant> = Vec::new();
        for (what, of, by, which) in steps {
            match what {
                0 | 1 => running.extend(share.start(&fetch(of, by), Instant::now())),
                2 => running.extend(share.start(&transfer(of, by), Instant::now())),
                3 => running.extend(share.start(&handled(by), Instant::now())),
                4 if !running.is_empty() => {
                    let ended = running.swap_remove(which.index(running.len()));
                    share.finish(&ended);
                }
                _ if !running.is_empty() => {
                    let at = which.index(running.len());
                    share.move_to_streams(&mut running[at]);
                }
                _ => {}
            }
            prop_assert!(running.len() <= max && share.running() == running.len());
            let streams = running.iter().filter(|grant| grant.is_stream).count();
            prop_assert!(share.streams() == streams && streams <= max / 2);
            for number in 0..5 {
                let short = |grant: &&Grant| !grant.is_stream;
                let origin_usage = running.iter().filter(short)
                    .filter(|grant| grant.claim.purpose.origin() == Some(&origin(number))).count();
                prop_assert_eq!(share.origin_usage(&origin(number)).running, origin_usage);
                let client_usage = running.iter().filter(short)
                    .filter(|grant| grant.claim.client == Some(client(number))).count();
                let of_it = share.client_usage(client(number));
                prop_assert_eq!(of_it.running, client_usage);
                let client_usage = running.iter().filter(|grant| grant.is_stream)
                    .filter(|grant| grant.claim.client == Some(client(number))).count();
                prop_assert!(of_it.streams == client_usage && client_usage <= (max / 8).max(1));
            }
        }
    }

    /// Regardless of one client's jobs, another client gets a thread for another origin.
    #[test]
    fn there_is_room_for_another_client(
        max in 3_usize..300,
        steps in prop::collection::vec((0_u8..30, 0_u8..8, any::<prop::sample::Index>()), 0..600),
    ) {
        let mut share = FairShare::new(max);
        let mut running: Vec<Grant> = Vec::new();
        for (of, what, which) in steps {
            match what {
                0 if !running.is_empty() => {
                    let ended = running.swap_remove(which.index(running.len()));
                    share.finish(&ended);
                }
                1 if !running.is_empty() => {
                    let at = which.index(running.len());
                    share.move_to_streams(&mut running[at]);
                }
                2 | 3 => running.extend(share.start(&transfer(of, 1), Instant::now())),
                4 => running.extend(share.start(&handled(1), Instant::now())),
                _ => running.extend(share.start(&fetch(of, 1), Instant::now())),
            }
            prop_assert!(share.has_room_for(&transfer(99, 2)) && share.has_room_for(&handled(2)));
            prop_assert!(share.has_room_for(&fetch(99, 2)));
        }
    }
}
