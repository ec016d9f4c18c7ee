use super::*;

fn text(status: CacheStatus<'_>) -> String {
    status.value().to_str().unwrap().to_owned()
}

#[test]
fn field_describes_the_outcome() {
    let second = Duration::from_secs(1);
    for (status, expected) in [
        (
            CacheStatus::new(Outcome::Hit).time_to_live(second * 30, Duration::ZERO),
            "forwardcache; hit; ttl=30",
        ),
        (
            CacheStatus::new(Outcome::StaleAccepted).time_to_live(Duration::ZERO, second * 5),
            "forwardcache; hit; ttl=-5; detail=stale-accepted",
        ),
        (
            CacheStatus::new(Outcome::Miss(Forward::UriMiss)).forward_status(StatusCode::OK).stored(),
            "forwardcache; fwd=uri-miss; fwd-status=200; stored",
        ),
        (
            CacheStatus::new(Outcome::Miss(Forward::UriMiss)).detail("no-store"),
            "forwardcache; fwd=uri-miss; detail=no-store",
        ),
        (CacheStatus::new(Outcome::Collapsed(Forward::UriMiss)), "forwardcache; fwd=uri-miss; collapsed"),
        (
            CacheStatus::new(Outcome::Revalidated(Forward::Stale)).forward_status(StatusCode::NOT_MODIFIED),
            "forwardcache; fwd=stale; fwd-status=304; detail=revalidated",
        ),
        (CacheStatus::new(Outcome::OnlyIfCached), "forwardcache; detail=only-if-cached"),
        (CacheStatus::new(Outcome::Hit).key("a\"b\\c"), "forwardcache; hit; key=\"a\\\"b\\\\c\""),
        (CacheStatus::new(Outcome::Hit).key("\u{e9}\n"), "forwardcache; hit"),
    ] {
        assert_eq!(text(status), expected);
    }
}

#[test]
fn ttl_is_read_only_from_the_last_member() {
    for (members, expected) in [
        (&["forwardcache; hit; ttl=30"][..], Some(30)),
        (&["forwardcache; fwd=uri-miss; collapsed; ttl=1"], Some(1)),
        (&["OriginCache; hit; ttl=1100, forwardcache; hit; ttl=30"], Some(30)),
        (&["OriginCache; hit; ttl=1100", "forwardcache; fwd=uri-miss; fwd-status=200; stored"], None),
        (&["forwardcache; hit; ttl=30", "OriginCache; hit; ttl=1100"], None),
        (&["forwardcache; hit; ttl=30", "forwardcache-near; hit; ttl=5"], None),
        (&["forwardcache; hit; ttl=0"], None),
        (&["forwardcache; hit; ttl=-5; detail=stale-while-revalidate"], None),
        (&["forwardcache; hit; ttl=x"], None),
        (&["forwardcache; hit; key=\"; ttl=30\""], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for member in members {
            headers.append(&CACHE_STATUS, HeaderValue::from_static(member));
        }
        assert_eq!(time_to_live(&headers), expected.map(Duration::from_secs), "{members:?}");
    }
}

#[test]
fn near_cache_has_its_own_name() {
    let status = CacheStatus::new(Outcome::Revalidated(Forward::Stale)).near();
    assert_eq!(text(status), "forwardcache-near; fwd=stale; detail=revalidated");
    let mut headers = HeaderMap::new();
    status.append_to(&mut headers);
    assert_eq!(Outcome::of(&headers), Some(Outcome::Revalidated(Forward::Stale)));
}

#[test]
fn every_outcome_parses_back() {
    let mut outcomes =
        vec![Outcome::Hit, Outcome::StaleAccepted, Outcome::StaleWhileRevalidate, Outcome::OnlyIfCached];
    for forward in Forward::ALL {
        outcomes.extend([
            Outcome::Miss(forward),
            Outcome::Collapsed(forward),
            Outcome::Revalidated(forward),
            Outcome::StaleIfError(forward),
            Outcome::StaleOnDeadline(forward),
            Outcome::Passed(forward),
            Outcome::Failed(forward),
        ]);
    }
    for expected in outcomes {
        let mut headers = HeaderMap::new();
        headers.append(&CACHE_STATUS, HeaderValue::from_static("OriginCache; hit; ttl=1100"));
        CacheStatus::new(expected).append_to(&mut headers);
        assert_eq!(Outcome::of(&headers), Some(expected));
    }
    let mut headers = HeaderMap::new();
    assert_eq!(Outcome::of(&headers), None);
    headers.append(&CACHE_STATUS, HeaderValue::from_static("OriginCache; hit"));
    assert_eq!(Outcome::of(&headers), None);
}

#[test]
fn storing_is_read_from_the_last_member() {
    let member = |text: &'static str| {
        let mut headers = HeaderMap::new();
        headers.append(&CACHE_STATUS, HeaderValue::from_static(text));
        LastMember::of(&headers).map(|member| (member.is_stored, member.detail.map(str::to_owned)))
    };
    for (text, expected) in [
        ("forwardcache; fwd=uri-miss; fwd-status=200; stored", Some((true, None))),
        ("forwardcache; fwd=uri-miss; detail=no-store", Some((false, Some("no-store")))),
        ("forwardcache; fwd=bypass; detail=passed", Some((false, None))),
        ("forwardcache; hit; ttl=30", Some((false, None))),
        ("forwardcache; fwd=uri-miss; stored, forwardcache; fwd=uri-miss", Some((false, None))),
        ("forwardcache; fwd=uri-miss; stored, Other; hit", None),
    ] {
        let expected = expected.map(|(stored, detail)| (stored, detail.map(str::to_owned)));
        assert_eq!(member(text), expected, "{text}");
    }
}
