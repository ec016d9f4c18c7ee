use super::super::failure::Failure;
use super::options::{Form, Options};
use super::setting::{Setting, Source, Value};
use super::{environment, file, sources};

fn serve() -> Options {
    Options::of("serve").expect("serve is a subcommand")
}

fn from_file(text: &str) -> Result<Vec<Setting>, String> {
    file::parse("test.toml", text, &serve()).map_err(|failure: Failure| failure.to_string())
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Vec<Setting>, String> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment::read(owned, &serve()).map(|(settings, _)| settings).map_err(|failure| failure.to_string())
}

fn arguments(settings: &[Setting]) -> Vec<String> {
    settings.iter().flat_map(Setting::arguments).collect()
}

#[test]
fn every_option_can_be_set_in_the_file_and_in_the_environment() {
    let options = serve();
    let mut count = 0;
    for option in options.names() {
        let (value, text) = match options.form(option).expect("the option exists") {
            Form::Switch => ("true", "true"),
            Form::One | Form::Optional => ("\"value\"", "value"),
            Form::List => ("[\"one\", \"two\"]", "[\"one\", \"two\"]"),
        };
        let from_file = from_file(&format!("{option} = {value}")).expect(option);
        let variable = format!("FORWARDCACHE_{}", option.to_uppercase().replace('-', "_"));
        let from_variable = from_variables(&[(&variable, text)]).expect(option);
        assert_eq!(arguments(&from_file), arguments(&from_variable), "{option}");
        assert!(!from_file.is_empty(), "{option}");
        count += 1;
    }
    assert!(count > 50, "only {count} options");
}

#[test]
fn options_that_only_the_command_line_has_are_unknown() {
    for option in ["config", "help"] {
        assert!(from_file(&format!("{option} = \"x\"")).unwrap_err().contains("unknown option"), "{option}");
    }
}

#[test]
fn values_become_arguments_of_the_flag() {
    let text = "memory = \"1GiB\"\nworkers = 12\norigin-rate = 0.5\npause-origins = true\noffline = false\n\
                peer = [\"http://a:1\", \"http://b:2 weight=2\"]\nadmin = true";
    let expected = [
        "--admin",
        "--memory=1GiB",
        "--origin-rate=0.5",
        "--pause-origins",
        "--peer=http://a:1",
        "--peer=http://b:2 weight=2",
        "--workers=12",
    ];
    let mut arguments = arguments(&from_file(text).unwrap());
    arguments.sort();
    assert_eq!(arguments, expected);
}

#[test]
fn error_names_file_line_and_nearest_option() {
    for (text, expected) in [
        (
            "memory = \"1GiB\"\nmax-conections = 3",
            "test.toml:2: unknown option max-conections: did you mean max-connections?",
        ),
        ("\nzzz = 1", "test.toml:2: unknown option zzz"),
        ("memory = [\"1GiB\", \"2GiB\"]", "test.toml:1: memory has one value, not a list"),
        ("memory = true", "test.toml:1: memory needs a value"),
        ("pause-origins = \"yes\"", "test.toml:1: pause-origins is true or false"),
        ("[serve]\nmemory = 1", "test.toml:1: sections are not supported: write each option as name = value"),
        (
            "memory = 1979-05-27",
            "test.toml:1: a value is a string, a decimal number, true, false, or a list of strings",
        ),
    ] {
        assert_eq!(from_file(text).unwrap_err(), expected, "{text}");
    }
    assert!(from_file("memory = \"1GiB\"\nworkers = ").unwrap_err().starts_with("test.toml:2: "));
    assert!(from_file("memory = 1\nmemory = 2").unwrap_err().starts_with("test.toml:2: "));
}

#[test]
fn error_names_the_variable() {
    let error = from_variables(&[("FORWARDCACHE_PAUSE_ORIGINS", "yes")]).unwrap_err();
    assert_eq!(error, "FORWARDCACHE_PAUSE_ORIGINS: pause-origins is true or false");
}

#[test]
fn variables_that_are_not_options_are_reported_and_not_errors() {
    let variables = ["FORWARDCACHE_TOKEN", "FORWARDCACHE_SERVICE_HOST", "FORWARDCACHE_PORT_3000_TCP", "HOME"];
    let variables = variables.into_iter().chain(["FORWARDCACHE_MEMROY"]);
    let variables = variables.map(|name| (name.to_owned(), "x".to_owned()));
    let (settings, unknown) = environment::read(variables, &serve()).unwrap();
    assert_eq!((settings.len(), unknown), (0, vec!["FORWARDCACHE_MEMROY".to_owned()]));
}

#[test]
fn later_source_replaces_the_same_option_and_those_that_it_excludes() {
    let setting = |option: &str, source: Source| Setting {
        option: option.to_owned(),
        value: Value::Values(vec!["x".to_owned()]),
        source,
    };
    let file = |option: &str| setting(option, Source::File { name: "f".to_owned(), line: 1 });
    let variable = |option: &str| setting(option, Source::Environment(option.to_owned()));
    let names = |settings: Vec<Setting>| settings.into_iter().map(|one| one.option).collect::<Vec<_>>();

    let all = || vec![file("memory"), file("workers"), file("peers-file")];
    assert_eq!(names(sources::combine(all(), vec![], &[], &serve())), ["memory", "workers", "peers-file"]);
    let result = sources::combine(all(), vec![variable("memory")], &["workers"], &serve());
    assert_eq!(result, [file("peers-file"), variable("memory")]);
    assert_eq!(names(sources::combine(all(), vec![], &["peer"], &serve())), ["memory", "workers"]);
    assert_eq!(
        names(sources::combine(vec![file("allow-anyone")], vec![], &["token-file"], &serve())),
        [""; 0]
    );
}
