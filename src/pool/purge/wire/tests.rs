use super::*;

#[test]
fn a_query_parses_to_the_purge_that_wrote_it() {
    for (purge, query) in [
        (Purge::url("http://a.ex/?a=1&all"), "q=http%3A%2F%2Fa.ex%2F%3Fa%3D1%26all"),
        (Purge::prefix("http://a.ex/%20b"), "prefix=http%3A%2F%2Fa.ex%2F%2520b"),
        (Purge::group("https://a.ex", "a &=b"), "group=a+%26%3Db&origin=https%3A%2F%2Fa.ex"),
        (Ok(Purge::all()), "all"),
    ] {
        let purge = purge.unwrap();
        assert_eq!(purge.query(), query);
        assert_eq!(Purge::from_query(Some(query)), Ok(purge));
    }
    assert_eq!(Purge::from_query(Some("all=")), Ok(Purge::all()));
    assert!(Purge::from_query(Some("origin=http://h&group=a")).is_ok());
}

#[test]
fn a_query_without_exactly_one_purge_is_refused() {
    for query in [
        "",
        "&",
        "a=b",
        "q=",
        "q=foo",
        "q=http://h/?a=1&b=2",
        "q=http://h/?a&all",
        "q=http://h/?a&group=b&origin=http://h",
        "q=http://h/&q=http://i/",
        "prefix=http://h",
        "prefix=http://h/?a&b",
        "group=a",
        "group=a&origin=http://h/b",
        "group=a&q=http://h",
        "origin=http://h",
        "all=1",
        "all&all",
        "ALL",
        "q=%",
        "q=%FF",
    ] {
        let refused = Purge::from_query(Some(query)).unwrap_err();
        assert_eq!(refused.lines().count(), 1, "{query}");
    }
    assert!(Purge::from_query(None).is_err());
}
