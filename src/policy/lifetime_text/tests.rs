use super::*;

#[test]
fn all_words_are_parsed() {
    let hour = Duration::from_secs(3600);
    for (text, expected) in [
        ("exactly=0", LifetimeRule::new(Lifetime::Exactly(Duration::ZERO))),
        ("at-most=60m", LifetimeRule::new(Lifetime::AtMost(hour))),
        ("at-least=3600s host=a.ex:8443", LifetimeRule::new(Lifetime::AtLeast(hour)).host("a.ex:8443")),
        ("host=[::1]:80 at-least=1h", LifetimeRule::new(Lifetime::AtLeast(hour)).host("[::1]:80")),
        ("host=::1 at-least=1h", LifetimeRule::new(Lifetime::AtLeast(hour)).host("::1")),
        (
            "  at-least=1h  status=404,410 status=200 override=no-store,private ",
            LifetimeRule::new(Lifetime::AtLeast(hour))
                .status(404)
                .status(410)
                .status(200)
                .override_no_store()
                .override_private(),
        ),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}

#[test]
fn each_kind_of_invalid_text_has_its_error() {
    for (text, expected) in [
        ("", "the lifetime is missing"),
        ("host=a.ex", "the lifetime is missing"),
        ("1h", "is not of the form NAME=VALUE"),
        ("method=GET at-least=1h", "unknown word \"method\""),
        ("at-least=1h at-most=2h", "give only one of"),
        ("at-least=1h at-least=1h", "give only one of"),
        ("host=a host=b at-least=1h", "host is given twice"),
        ("host= at-least=1h", "give a host"),
        ("host=http://a.ex at-least=1h", "without scheme"),
        ("host=a.ex:http at-least=1h", "the port is not a number"),
        ("host=a.ex:0 at-least=1h", "the port is not a number"),
        ("host=a.ex:70000 at-least=1h", "the port is not a number"),
        ("host=:80 at-least=1h", "the port is not a number"),
        ("path=v1 at-least=1h", "a path must begin with /"),
        ("path=/v1?a at-least=1h", "remove the query"),
        ("status=2xx at-least=1h", "a status must be a number"),
        ("status=99 at-least=1h", "a status must be a number"),
        ("at-least=", "a time must be a whole number"),
        ("at-least=1.5h", "a time must be a whole number"),
        ("at-least=-1h", "a time must be a whole number"),
        ("at-least=1y", "a time must be a whole number"),
        ("at-least=9999999999999w", "a time must be a whole number"),
        ("at-least=1h override=no-cache", "only no-store and private"),
    ] {
        let error = text.parse::<LifetimeRule>().unwrap_err().to_string();
        assert!(error.contains(expected) && error.lines().count() == 1, "{text:?}: {error}");
    }
}
