//! The pages of the documentation agree with the command, with each other, and with the files that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const SUBCOMMANDS: [&str; 15] = [
    "serve",
    "gateway",
    "config",
    "get",
    "warm",
    "store ls",
    "store stat",
    "store rm",
    "store export",
    "owner",
    "why",
    "purge",
    "ring",
    "status",
    "top",
];

/// All pages in Markdown, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
        .map(|name| root().join(name))
        .into();
    let docs = fs::read_dir(root().join("docs")).expect("docs can be read");
    let docs = docs.map(|entry| entry.expect("the entry can be read").path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let after_dashes = text.match_indices("--").filter(|(at, _)| !text[..*at].ends_with(is_part));
    let names =
        after_dashes.map(|(at, _)| text[at..].chars().take_while(|letter| is_part(*letter)).collect());
    names.filter(|flag: &String| flag.len() > 3 && !flag[2..].starts_with('-')).collect()
}

/// The help text of a subcommand.
fn help(subcommand: &str) -> String {
    let command =
        Command::new(env!("CARGO_BIN_EXE_forwardcache")).args(subcommand.split(' ')).arg("--help").output();
    let output = command.expect("the command can be run");
    assert!(output.status.success(), "{subcommand} --help failed");
    String::from_utf8(output.stdout).expect("help is text")
}

#[test]
fn guide_lists_every_flag() {
    let guide = flags(&read(&root().join("docs/guide.md")));
    for subcommand in SUBCOMMANDS {
        let missing: Vec<_> =
            flags(&help(subcommand)).into_iter().filter(|flag| !guide.contains(flag)).collect();
        let missing: Vec<_> = missing.iter().filter(|flag| *flag != "--help").collect();
        assert!(missing.is_empty(), "docs/guide.md does not list these flags of {subcommand}: {missing:?}");
    }
}

#[test]
fn guide_lists_no_flag_that_does_not_exist() {
    let known = SUBCOMMANDS.iter().flat_map(|name| flags(&help(name)));
    // Those of cargo and curl.
    let known: BTreeSet<_> = known
        .chain(["--path", "--features", "--get", "--data-urlencode", "--unix-socket"].map(str::to_owned))
        .collect();
    let unknown: Vec<_> = flags(&read(&root().join("docs/guide.md")))
        .into_iter()
        .filter(|flag| !known.contains(flag))
        .collect();
    assert!(unknown.is_empty(), "docs/guide.md lists flags that do not exist: {unknown:?}");
}

#[test]
fn links_lead_to_files_that_exist() {
    for (page, text) in pages() {
        let folder = page.parent().expect("a page is in a folder");
        // Links in the text, and definitions of references.
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
        let definitions =
            text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split("]: ").nth(1));
        for link in links.chain(definitions) {
            let file = link.split('#').next().unwrap_or_default();
            if file.contains("://") || file.is_empty() {
                continue;
            }
            assert!(folder.join(file).exists(), "{}: {link} does not exist", page.display());
        }
    }
}

#[test]
fn rustdoc_has_every_page() {
    let guide = read(&root().join("src/guide.rs"));
    for entry in fs::read_dir(root().join("docs")).expect("docs can be read") {
        let name = entry.expect("the entry can be read").file_name();
        let name = name.to_string_lossy();
        assert!(
            !name.ends_with(".md") || guide.contains(&format!("\"../docs/{name}\"")),
            "src/guide.rs does not include docs/{name}"
        );
    }
}

#[test]
fn readme_stays_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= 200, "README.md has {lines} lines: move details to docs/");
}

#[test]
fn examples_are_listed() {
    let list = read(&root().join("examples/README.md"));
    for entry in fs::read_dir(root().join("examples")).expect("examples can be read") {
        let path = entry.expect("the entry can be read").path();
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        assert!(name == "README" || list.contains(&format!("[`{name}`]")), "examples/README.md lacks {name}");
    }
}

#[test]
fn architecture_names_every_module() {
    let page = read(&root().join("docs/architecture.md"));
    for entry in fs::read_dir(root().join("src")).expect("src can be read") {
        let path = entry.expect("the entry can be read").path();
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let is_exempt = ["lib", "guide", "fuzzing"].contains(&name.as_str());
        assert!(is_exempt || page.contains(&format!("`{name}`")), "docs/architecture.md lacks `{name}`");
    }
}
