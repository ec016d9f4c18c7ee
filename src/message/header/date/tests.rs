use proptest::prelude::*;

use super::*;

#[test]
fn three_forms_parse_in_any_case_and_with_any_weekday() {
    let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "SUN, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gMT",
        "sunday, 06-nov-94 08:49:37 gmt",
        "Thu, 06 Nov 1994 08:49:37 GMT",
        "Thursday, 06-Nov-94 08:49:37 GMT",
        "Thu Nov 06 08:49:37 1994",
        " Sun, 06 Nov 1994 08:49:37 GMT ",
    ] {
        assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
    }
    for text in [
        "0",
        "-1",
        "",
        "Sun, 06 Nov 1994 08:49:37 EST",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0200",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov  1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Abc, 06 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Abc 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "\u{e9}",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
    let later = |text: &str| parse(text.as_bytes()).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(later("Thu Aug  8 02:01:18 2050"), 2_543_536_878);
    assert_eq!(later("Thursday, 18-Aug-50 02:01:18 GMT"), 2_544_400_878);
    assert_eq!(later("Sat, 31 Dec 2016 23:59:60 GMT"), 1_483_228_800);
    assert_eq!(value(moment), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn different_lines_are_not_a_date() {
    let mut headers = HeaderMap::new();
    headers.append("expires", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    headers.append("expires", HeaderValue::from_static("Sun Nov  6 08:49:37 1994"));
    assert!(of(&headers, &http::header::EXPIRES).is_some());
    headers.append("expires", HeaderValue::from_static("Sun Nov  6 08:49:38 1994"));
    assert_eq!(of(&headers, &http::header::EXPIRES), None);
}

proptest! {
    /// `httpdate` is an independent reference.
    #[test]
    fn formatted_dates_parse_as_httpdate_parses_them(seconds in 0_u64..253_402_300_800) {
        let moment = UNIX_EPOCH + Duration::from_secs(seconds);
        let text = value(moment);
        prop_assert_eq!(parse(text.as_bytes()), Some(moment));
        prop_assert_eq!(httpdate::parse_http_date(text.to_str().unwrap()).ok(), Some(moment));
    }

    #[test]
    fn parser_never_panics(text in "[a-zA-Z0-9:, -]{0,40}") {
        let _ = parse(text.as_bytes());
    }
}
