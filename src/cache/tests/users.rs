//! Several users of one cache: a response for one user never reaches another user unless RFC 9111 allows it
//! to be shared.

use proptest::prelude::*;

use super::*;

/// The caching fields of the origin's responses, one policy for each path.
const POLICIES: [&[(&str, &str)]; 15] = [
    &[("cache-control", "max-age=60")],
    &[("cache-control", "public, max-age=60")],
    &[("cache-control", "private, max-age=60")],
    &[("cache-control", "no-store")],
    &[("cache-control", "s-maxage=60")],
    &[("cache-control", "max-age=60, must-revalidate")],
    &[("cache-control", "public, max-age=60"), ("vary", "cookie")],
    &[("cache-control", "public, max-age=60"), ("vary", "authorization")],
    &[("cache-control", "public, max-age=60"), ("vary", "x-session-token")],
    &[("cache-control", "private, max-age=60"), ("vary", "cookie")],
    &[("cache-control", "public, max-age=60"), ("vary", "*")],
    &[("cache-control", "public, max-age=60, private=\"x-own\"")],
    &[("cache-control", "public, max-age=60, no-cache=\"x-own\"")],
    &[("cache-control", "max-age=60, private=\"x-own, set-cookie\", no-cache=\"x-unknown\"")],
    &[("cache-control", "public, max-age=60, private=\"vary\""), ("vary", "cookie")],
];

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    authorization: Option<&'static str>,
    cookie: Option<&'static str>,
    session: Option<&'static str>,
    proxy_authorization: Option<&'static str>,
}

impl User {
    fn fields(&self) -> Vec<(&'static str, &'static str)> {
        [
            ("authorization", self.authorization),
            ("cookie", self.cookie),
            ("x-session-token", self.session),
            ("proxy-authorization", self.proxy_authorization),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
    }

    /// Returns the request fields that the origin sees.
    fn seen(&self) -> String {
        let seen = |value: Option<&str>| value.unwrap_or("-").to_owned();
        [seen(self.authorization), seen(self.cookie), seen(self.session)].join(" ")
    }

    fn of_seen(text: &str) -> [Option<String>; 3] {
        let parts: Vec<_> = text.split(' ').map(|part| (part != "-").then(|| part.to_owned())).collect();
        parts.try_into().expect("an origin tells three things")
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A user requests a path. The body of the fetch does not arrive yet.
    Ask(User, usize),
    /// The oldest body in transit ends.
    Finish,
    /// This many seconds pass.
    Pass(u64),
}

fn user() -> impl Strategy<Value = User> {
    let one = |values: [&'static str; 2]| {
        prop_oneof![Just(None), Just(Some(values[0])), Just(Some(values[1]))].boxed()
    };
    (one(["anna", "bert"]), one(["c=1", "c=2"]), one(["s1", "s2"]), one(["p1", "p2"])).prop_map(
        |(authorization, cookie, session, proxy_authorization)| User {
            authorization,
            cookie,
            session,
            proxy_authorization,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (user(), 0..POLICIES.len()).prop_map(|(user, path)| Step::Ask(user, path)),
        3 => Just(Step::Finish),
        1 => (1..90_u64).prop_map(Step::Pass),
    ]
}

/// Whether the origin marks the field `x-own` as private to one user.
fn has_own_field(path: usize) -> bool {
    POLICIES[path].iter().any(|(_, value)| value.contains("x-own"))
}

/// Whether the response for one user may be sent to the other (RFC 9111 sections 3, 3.5, 4.1 and 5.2.2).
fn may_be_shared(mode: Mode, path: usize, made_for: &User, asker: &User) -> bool {
    let control = |value: &'static str| {
        // Directives that list fields restrict those fields only, not the response.
        let about_fields = |part: &&str| !part.contains("x-own") && !part.contains("x-unknown");
        value.split(", ").filter(about_fields).collect::<Vec<_>>().join(", ")
    };
    let says = |word: &str| {
        POLICIES[path].iter().any(|(name, value)| *name == "cache-control" && control(value).contains(word))
    };
    let vary = POLICIES[path].iter().find(|(name, _)| *name == "vary").map(|(_, value)| *value);
    let selects = match vary {
        Some("cookie") => made_for.cookie == asker.cookie,
        Some("authorization") => made_for.authorization == asker.authorization,
        Some("x-session-token") => made_for.session == asker.session,
        Some(_) => false,
        None => true,
    };
    let is_theirs = match mode {
        Mode::Shared => {
            !says("private")
                && (made_for.authorization.is_none()
                    || says("public")
                    || says("s-maxage")
                    || says("must-revalidate"))
        }
        // Each credential has a private cache, and so has each cookie for private responses.
        Mode::Private => {
            made_for.authorization == asker.authorization
                && (!says("private") || made_for.cookie == asker.cookie)
        }
    };
    selects && is_theirs && !says("no-store")
}

type Sender = mpsc::Sender<io::Result<&'static [u8]>>;

/// An origin whose responses name the user that they are for, and whose bodies arrive on command.
struct Telling {
    waiting: Arc<Mutex<VecDeque<Sender>>>,
}

impl RoundTrip for Telling {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let field = |name: &str| {
            let value = request.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or("-").to_owned()
        };
        assert_eq!(field("proxy-authorization"), "-", "the field is for the peer only");
        let path: usize = request.uri().path()[1..].parse().unwrap();
        let made_for = [field("authorization"), field("cookie"), field("x-session-token")].join(" ");
        let mut response =
            Response::builder().header("x-made-for", &made_for).header("etag", "\"one-for-all\"");
        response = response.header("x-own", &made_for);
        for (name, value) in POLICIES[path] {
            response = response.header(*name, *value);
        }
        let (send, pipe) = pipe();
        self.waiting.lock().unwrap().push_back(send);
        let body = io::Cursor::new(made_for.into_bytes()).chain(pipe);
        Ok(response.body(Body::from_reader(body, None)).unwrap())
    }
}

fn check(mode: Mode, path: usize, asker: &User, made_for: &str) -> Result<(), TestCaseError> {
    if made_for == asker.seen() {
        return Ok(());
    }
    let [authorization, cookie, session] = User::of_seen(made_for);
    let known = |value: Option<String>, values: [&'static str; 2]| {
        value.map(|value| values.into_iter().find(|known| *known == value).expect("it is one of ours"))
    };
    let made_for = User {
        authorization: known(authorization, ["anna", "bert"]),
        cookie: known(cookie, ["c=1", "c=2"]),
        session: known(session, ["s1", "s2"]),
        proxy_authorization: None,
    };
    prop_assert!(
        may_be_shared(mode, path, &made_for, asker),
        "{mode:?} {:?}: {asker:?} was given what was made for {made_for:?}",
        POLICIES[path]
    );
    Ok(())
}

/// Checks that a private field reaches only its user. In private mode, the same cookie means the same user.
fn check_own_field(mode: Mode, path: usize, asker: &User, own: Option<&str>) -> Result<(), TestCaseError> {
    let Some(own) = own.filter(|own| has_own_field(path) && *own != asker.seen()) else { return Ok(()) };
    let [authorization, cookie, _] = User::of_seen(own);
    let is_same_user = authorization.as_deref() == asker.authorization && cookie.as_deref() == asker.cookie;
    prop_assert!(mode == Mode::Private && is_same_user, "{mode:?} {asker:?} was given {own}");
    Ok(())
}

fn run(mode: Mode, steps: Vec<Step>) -> Result<usize, TestCaseError> {
    let waiting = Arc::new(Mutex::new(VecDeque::new()));
    let clock = Arc::new(ManualClock::at_unix_seconds(1_000_000_000));
    let cache = HttpCache::builder()
        .origin(Telling { waiting: Arc::clone(&waiting) })
        .store(MemoryStore::new(1 << 20))
        .clock(Arc::clone(&clock))
        .rules(Rules::new(mode))
        .build()
        .unwrap();
    let mut answers = Vec::new();
    for step in steps {
        match step {
            Step::Ask(user, path) => {
                let mut request = Request::get(format!("http://example.com/{path}"));
                for (name, value) in user.fields() {
                    request = request.header(name, value);
                }
                let response = cache.round_trip(request.body(Body::empty()).unwrap()).unwrap();
                answers.push((user, path, response));
            }
            Step::Finish => drop(waiting.lock().unwrap().pop_front()),
            Step::Pass(seconds) => clock.advance(Duration::from_secs(seconds)),
        }
    }
    waiting.lock().unwrap().clear();
    let mut shared = 0;
    for (asker, path, response) in answers {
        let head = response.headers()["x-made-for"].to_str().unwrap().to_owned();
        let own = response.headers().get("x-own").map(|own| own.to_str().unwrap().to_owned());
        let body = response.into_body().into_text().unwrap();
        check(mode, path, &asker, &head)?;
        check(mode, path, &asker, &body)?;
        check_own_field(mode, path, &asker, own.as_deref())?;
        prop_assert_eq!(&head, &body, "the head and the body belong to different responses");
        shared += usize::from(body != asker.seen());
    }
    Ok(shared)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_users_response_never_reaches_another_user(
        steps in prop::collection::vec(step(), 1..60),
        mode in prop_oneof![Just(Mode::Private), Just(Mode::Shared)],
    ) {
        run(mode, steps)?;
    }
}

#[test]
fn shareable_responses_are_shared() {
    let asks =
        |authorization, cookie| User { authorization, cookie, session: None, proxy_authorization: None };
    for (mode, shared) in [(Mode::Private, 0), (Mode::Shared, 1)] {
        let steps = vec![
            Step::Ask(asks(Some("anna"), Some("c=1")), 1),
            Step::Ask(asks(Some("bert"), Some("c=2")), 1),
            Step::Finish,
            Step::Ask(asks(Some("bert"), Some("c=2")), 1),
        ];
        let found = run(mode, steps).unwrap();
        assert!(found >= shared && (shared > 0 || found == 0), "{mode:?}: {found}");
    }
}
