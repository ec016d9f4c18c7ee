use proptest::prelude::*;

use super::*;

#[test]
fn escaping_matches_the_go_package() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/ring.json")).unwrap();
    let forms = vectors["url_forms"].as_array().unwrap();
    assert!(!forms.is_empty());
    for form in forms {
        assert_eq!(query_escape(form["hash_key"].as_str().unwrap()), form["q_escaped"].as_str().unwrap());
    }
    assert_eq!(query_escape("a b-._~"), "a+b-._~");
}

#[test]
fn first_value_of_a_name_is_returned() {
    let value = |query: &str| query_value(Some(query), "q").unwrap();
    assert_eq!(value("q=a"), Some("a".to_owned()));
    assert_eq!(value("p=b&q=a&q=c"), Some("a".to_owned()));
    assert_eq!(value("q=a=b+c%2Bd%3d"), Some("a=b c+d=".to_owned()));
    assert_eq!(value("%71=%C3%BC"), Some("ü".to_owned()));
    assert_eq!(value("q"), Some(String::new()));
    assert_eq!(value("qq=a&Q=b&"), None);
    assert_eq!(value("%zz=1&p=%&q=2"), Some("2".to_owned()));
    assert_eq!(query_value(None, "q"), Ok(None));
    assert_eq!(query_value(Some(""), "q"), Ok(None));
}

#[test]
fn unreadable_values_are_errors() {
    for query in ["q=%", "q=%4", "q=%zz", "q=a%2", "q=%+1"] {
        assert_eq!(query_value(Some(query), "q"), Err(BAD_ESCAPE), "{query}");
    }
    assert_eq!(query_value(Some("q=%FF"), "q"), Err(NOT_UTF8));
    // Only the first value counts; a valid second one does not replace it.
    assert_eq!(query_value(Some("q=%&q=a"), "q"), Err(BAD_ESCAPE));
}

proptest! {
    #[test]
    fn escaped_values_read_back(name in "[^=&+%]{1,8}", value in any::<String>()) {
        let query = format!("x=1&{}={}&y", query_escape(&name), query_escape(&value));
        prop_assume!(name != "x");
        prop_assert_eq!(query_value(Some(&query), &name), Ok(Some(value)));
    }
}
